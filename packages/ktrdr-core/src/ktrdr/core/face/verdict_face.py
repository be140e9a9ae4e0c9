"""Verdicts from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.data.python_words import python_messages
from ktrdr.core.errors import CancelledError
from ktrdr.core.face.arguments import DayLike, SymbolsLike, settings_of
from ktrdr.core.face.result_frames import paths_frame
from ktrdr.core.face.result_html import card_row, line_picture, paragraph, result_block, warning_list
from ktrdr.core.face.strategy_face import Strategy, load_strategy
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.report.page import Card
from ktrdr.core.verdicts import verdict_parts as in_memory
from ktrdr.core.verdicts.verdict_result import Condition, VerdictFacts, Word
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.watching import watched

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

__all__ = ["Verdict", "verdict"]

_TONES: Mapping[Word, str] = {"EDGE": "good", "NOT PROVEN": "", "NONE": "bad", "INVALID": "bad"}


class Verdict:
    """A stored verdict on a strategy. :func:`ktrdr.core.verdict` and :func:`ktrdr.core.verdicts.load` make it.

    Times are aware, UTC; a bar is labelled by its open. Sharpe ratios are annual and after costs.

    Example:
        >>> import ktrdr.core as kt
        >>> verdict = kt.verdicts.load("neuro_mean_reversion/1")
        >>> verdict.word in ("EDGE", "NOT PROVEN", "NONE", "INVALID")
        True
        >>> verdict.conditions.columns.tolist()
        ['title', 'met', 'found', 'needed', 'sentence', 'change']
    """

    def __init__(self, verdict: in_memory.Verdict, server: str | None = None) -> None:
        self._verdict = verdict
        self.server = server
        """Address of the server that ran it; ``None`` for this machine."""

    @property
    def facts(self) -> VerdictFacts:
        """Everything but the curves, as one object with typed fields."""
        return self._verdict.facts

    @property
    def verdict(self) -> str:
        """Name of the stored verdict, ``name/3``: what :func:`ktrdr.core.verdicts.load` takes."""
        return self.facts.verdict

    @property
    def word(self) -> Word:
        """The verdict: ``EDGE``, ``NOT PROVEN``, ``NONE`` or ``INVALID``."""
        return self.facts.word

    @property
    def sentence(self) -> str:
        """The verdict as one sentence."""
        return self.facts.sentence

    @property
    def evaluation(self) -> str:
        """Name of the evaluation that it rests on: what :func:`ktrdr.core.evaluations.load` takes.

        Empty if the verdict is INVALID.
        """
        return "" if self.facts.evaluation is None else self.facts.evaluation.evaluation

    @property
    def conditions(self) -> pd.DataFrame:
        """The conditions of an edge: index ``condition``; no rows if the verdict is INVALID.

        Columns: ``title``, ``met`` (boolean; missing where it cannot be told, which counts as not met), ``found`` and
        ``needed`` (figures as text, empty where there is none), ``sentence`` (what was found) and ``change`` (what
        would change it; empty if it is met).
        """
        return _conditions_frame(self.facts.conditions)

    @property
    def reasons(self) -> pd.DataFrame:
        """Why the verdict is not EDGE, as :attr:`conditions`; no rows for EDGE."""
        return _conditions_frame(self.facts.reasons)

    @property
    def validity(self) -> pd.DataFrame:
        """The checks of data and strategy: index ``check``; columns ``title``, ``clean`` (bool) and ``sentence``."""
        import pandas as pd

        rows = [own.model_dump() for own in self.facts.validity]
        frame = pd.DataFrame(rows, columns=["check", "title", "clean", "sentence"]).set_index("check")
        return frame.astype({"title": "str", "clean": "bool", "sentence": "str"})

    @property
    def nulls(self) -> pd.DataFrame:
        """The same training in worlds in which no direction can be predicted: index ``family``.

        Columns: ``observed`` (Sharpe ratio on the real bars by this training), ``mean`` and ``max`` (of the worlds),
        ``worlds`` (int64, those that failed included) and ``p``; all others float64.
        """
        import pandas as pd

        worlds = self.worlds
        nulls = self.facts.nulls
        frame = pd.DataFrame(
            {
                "observed": [own.observed for own in nulls],
                "mean": [worlds[own.family].mean() for own in nulls],
                "max": [worlds[own.family].max() for own in nulls],
                "worlds": [len(own.values) for own in nulls],
                "p": [own.p for own in nulls],
            },
            index=pd.Index([own.family for own in nulls], name="family", dtype="str"),
        )
        return frame.astype(dict.fromkeys(("observed", "mean", "max", "p"), "float64") | {"worlds": "int64"})

    @property
    def worlds(self) -> pd.DataFrame:
        """Sharpe ratio of the training in each world: index ``world`` from 0, one column for each kind, float64.

        ``sign_flips`` and ``garch`` have nothing to predict; ``random_phases`` and ``block_bootstrap`` keep the
        autocorrelation, so that a linear edge is found there again. NaN where a training failed, or a kind has fewer
        worlds.
        """
        import pandas as pd

        values: dict[str, tuple[float | None, ...]] = {own.family: own.values for own in self.facts.nulls}
        values |= {own.kind: own.values for own in self.facts.linear}
        frame = pd.DataFrame({name: pd.Series(own, dtype="float64") for name, own in values.items()})
        frame.index.name = "world"
        return frame

    @property
    def paths(self) -> pd.DataFrame:
        """The accounts of the evaluation: rows ``path`` and ``seed``; one column per metric, float64.

        No rows if the verdict is INVALID.
        """
        return paths_frame(() if self.facts.evaluation is None else self.facts.evaluation.paths)

    @property
    def equity(self) -> pd.DataFrame:
        """Equity of the accounts of the evaluation, as a multiple of the capital: index ``time`` (aware, UTC).

        Columns, float64: levels ``path`` and ``seed``, in the order of :attr:`paths`. The rows are a few hundred bars,
        evenly spaced; the evaluation has all of them. No rows if the verdict is INVALID.
        """
        import pandas as pd

        curves, evaluation = self._verdict.curves, self.facts.evaluation
        if curves is None or evaluation is None:
            return pd.DataFrame(index=pd.DatetimeIndex([], name="time", tz="UTC"))
        columns = pd.MultiIndex.from_tuples([(own.path, own.seed) for own in evaluation.paths], names=["path", "seed"])
        time = pd.DatetimeIndex(curves.time, name="time").tz_localize("UTC")
        return pd.DataFrame(curves.accounts.T, index=time, columns=columns)

    @property
    def questions(self) -> tuple[str, ...]:
        """What only a person can answer."""
        return self.facts.questions

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the figures, one sentence each."""
        return self.facts.warnings

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the curves as JSON-ready data, as ``ktrdr verdict --json`` prints it."""
        return self.facts.model_dump(mode="json")

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report as one self-contained HTML file that needs no network.

        Args:
            path: of the file; by default ``report.html`` beside the other files of the verdict. A file that is there is
                replaced.

        Returns:
            The path.

        Raises:
            BadInputError: ``path`` is a directory.
            StoreError: the disk is full, or the place is not writable.

        Example:
            >>> import ktrdr.core as kt
            >>> kt.verdicts.load("neuro_mean_reversion/1").report("report.html").name
            'report.html'
        """
        from ktrdr.core.report.verdict_page import write_verdict_page
        from ktrdr.core.verdicts.stored_verdict import verdict_directory

        place = verdict_directory(self.verdict) / "report.html" if path is None else Path(path)
        return write_verdict_page(self._verdict, place)

    def plot(self) -> Figure:
        """Return the Sharpe ratios of the null worlds, with the mark of the strategy, as one interactive plotly figure.

        Raises:
            BadInputError: the verdict is INVALID, so that nothing was trained.
        """
        from ktrdr.core.report.verdict_plot import verdict_plot

        return verdict_plot(self._verdict)

    def _title(self) -> str:
        facts = self.facts
        shown = ", ".join(facts.symbols) if len(facts.symbols) <= 3 else f"{len(facts.symbols)} symbols"
        world = f" (synthetic: {facts.world})" if facts.world else ""
        return f"{self.verdict or facts.strategy}: {shown} {facts.timeframe}{world}"

    def __repr__(self) -> str:
        return f"<Verdict {self._title()}, {self.word}>"

    def _repr_html_(self) -> str:
        facts, curves = self.facts, self._verdict.curves
        picture = ""
        if facts.evaluation is not None and curves is not None:
            accounts = [(own.path, own.seed) for own in facts.evaluation.paths]
            lines = {
                "median account": curves.accounts[accounts.index(facts.evaluation.median_path)],
                "buy and hold": curves.buy_and_hold,
            }
            picture = line_picture(curves.time, lines, "Equity, times the capital")
        return result_block(
            f"{self.word} - {self._title()}",
            paragraph(facts.sentence),
            warning_list([_reason(own) for own in facts.reasons]),
            card_row(_cards(facts)),
            warning_list(facts.warnings),
            picture,
        )


def _reason(found: Condition) -> str:
    return f"{found.sentence}; {found.change}" if found.change else found.sentence


def _cards(facts: VerdictFacts) -> list[Card]:
    cards = [Card("Verdict", facts.word, _TONES[facts.word], "quick form" if facts.quick else "")]
    if (found := facts.deflation) is not None:
        cards.append(Card("Sharpe ratio", f"{found.sharpe:.2f}", "", f"{found.low:.2f} to {found.high:.2f}"))
        trials = f"{found.trials:,} trial{'' if found.trials == 1 else 's'}"
        cards.append(Card("Deflated", f"{found.probability:.1%}", "", trials))
    names = {"sign_flips": "sign flips", "garch": "GARCH"}
    cards += [Card("p", f"{own.p:.3f}", "", f"{len(own.values):,} worlds, {names[own.family]}") for own in facts.nulls]
    return cards


def _conditions_frame(conditions: tuple[Condition, ...]) -> pd.DataFrame:
    import pandas as pd

    texts = ("title", "found", "needed", "sentence", "change")
    rows = [own.model_dump() for own in conditions]
    frame = pd.DataFrame(rows, columns=["name", "title", "met", "found", "needed", "sentence", "change"])
    frame = frame.set_index(frame.pop("name").astype("str").rename("condition"))
    return frame.astype({**dict.fromkeys(texts, "str"), "met": "boolean"})


def verdict(
    strategy: Strategy | str | os.PathLike[str] | Mapping[str, Any],
    *,
    symbols: SymbolsLike = None,
    start: DayLike = None,
    end: DayLike = None,
    seed: int | None = None,
    seeds: int | None = None,
    quick: bool = False,
    epochs: int | None = None,
    capital: float = 10_000.0,
    commission: float = 0.0,
    slippage: float = 0.0,
    trials: int | None = None,
    reserve: bool = False,
    device: str = "auto",
    resume: bool = False,
    server: str | None = None,
    progress: bool | Progress = True,
) -> Verdict:
    """Judge whether a strategy has an edge, and store the verdict with the evaluation that it rests on.

    Checks that nothing looks ahead and that the bars are sound, trains the strategy on copies of the bars in which no
    direction can be predicted, evaluates it on the real bars with several seeds, and counts the trials. It is recorded
    as one trial before its result is returned. Ctrl+C, or the interrupt of a kernel, stops it; ``resume=True`` then
    continues from what is trained.

    Args:
        strategy: a :class:`Strategy`, or whatever :func:`load_strategy` takes.
        symbols: one or more symbols to judge on, instead of the strategy's.
        start: first day of the data, UTC and inclusive, instead of the strategy's.
        end: last day of the data, UTC and inclusive, instead of the strategy's.
        seed: the first seed, 0 to 4,294,967,295, instead of the strategy's.
        seeds: trainings of each fold, with the seeds ``seed``, ``seed + 1`` and so on; without it 5, or 1 in
            the quick form, which takes no other number.
        quick: the quick form: one seed, and 20 null worlds of each family in place of 100.
        epochs: most passes over the training part of a fold, at least 1, instead of the strategy's.
        capital: cash of each account at the start, in the prices' currency, above 0.
        commission: share of the traded value, per side, 0 to below 1; two basis points are 0.0002.
        slippage: share of the price by which every fill is worse, 0 to below 1; two basis points are 0.0002. With no
            costs at all the verdict is not EDGE.
        trials: trials made elsewhere, which count beside those that the ledger of trials knows.
        reserve: open the reserve: trade it with models that are trained on all data before it. Each different look
            counts.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        resume: continue an interrupted verdict on the same strategy, data and settings. Without it what that has
            trained is discarded.
        server: address of a KTRDR server to run it on, such as ``http://127.0.0.1:8000``; it must have the data. The
            files of the verdict are stored on this machine too. The token is read from ``KTRDR_API_TOKEN``.
        progress: True shows a bar (in a notebook, on a terminal) or lines (elsewhere); False shows nothing; a function
            is called with every progress event.

    Returns:
        The verdict: ``.word``, ``.sentence``, and DataFrames such as ``.conditions`` and ``.worlds``.

    Raises:
        BadInputError: the strategy, the data or a setting does not allow it; nothing is stored.
        CancelledError: it was interrupted; ``error.checkpoint`` is the path of what is kept, if anything is.
        KtrdrError: it cannot be recorded or stored, or failed on the server.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> asked = {"end": "2017-03-31", "epochs": 1, "commission": 0.0001}
        >>> verdict = kt.verdict(kt.example_strategy(), quick=True, **asked, progress=False)
        >>> verdict.verdict, verdict.evaluation, verdict.word == "EDGE"
        ('neuro_mean_reversion/1', 'neuro_mean_reversion/1', False)
        >>> verdict.worlds.shape
        (20, 2)
    """
    from ktrdr.core.verdicts.stored_verdict import store_verdict
    from ktrdr.core.workflows.run_verdict import judge

    loaded = strategy if isinstance(strategy, Strategy) else load_strategy(strategy)
    settings = settings_of(
        VerdictSettings,
        symbols,
        start,
        end,
        seed=seed,
        seeds=seeds,
        quick=quick,
        epochs=epochs,
        capital=capital,
        commission=commission,
        slippage=slippage,
        trials=trials,
        reserve=reserve,
        device=device,
    )
    try:
        if server is not None:
            from ktrdr.core.face.server_runs import running_on

            with running_on(server, progress) as runs:
                result = runs.judge(loaded.text, settings, resume=resume)
        else:
            with python_messages(), watched(progress) as (receive, cancellation):
                result = judge(loaded.loaded, settings, resume=resume, progress=receive, cancellation=cancellation)
    except CancelledError as error:
        raise _cancelled(error, server) from None
    return Verdict(store_verdict(result), server)


def _cancelled(error: CancelledError, server: str | None) -> CancelledError:
    if error.checkpoint is None and server is None:
        return CancelledError("the verdict was cancelled; nothing is kept that could be resumed")
    again = CancelledError(
        "the verdict was cancelled; call verdict with the same arguments and resume=True to go on from what it has"
        " trained"
    )
    again.checkpoint = error.checkpoint
    return again

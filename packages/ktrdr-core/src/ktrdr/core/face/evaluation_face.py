"""Evaluation over time from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.times import last_day
from ktrdr.core.errors import CancelledError
from ktrdr.core.face.arguments import DayLike, SymbolsLike, settings_of
from ktrdr.core.face.result_frames import paths_frame
from ktrdr.core.face.result_html import card_row, line_picture, paragraph, result_block, warning_list
from ktrdr.core.face.strategy_face import Strategy, load_strategy
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.report.page import Card
from ktrdr.core.validation import evaluation_parts as in_memory
from ktrdr.core.validation.evaluation_result import EvaluationFacts, FoldResult, Interval, ReserveResult
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.watching import watched

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

__all__ = ["Evaluation", "evaluate"]

_BASELINES = {"majority": "majority class", "last_value": "last value"}


class Evaluation:
    """A stored evaluation of a strategy. :func:`ktrdr.core.evaluate` and :func:`ktrdr.core.evaluations.load` make it.

    Times are aware, UTC; a bar is labelled by its open. Every prediction is by a model that has not seen the bar.

    Example:
        >>> import ktrdr.core as kt
        >>> evaluation = kt.evaluations.load("neuro_mean_reversion/1")
        >>> evaluation.folds.shape[0], len(evaluation.paths)
        (15, 5)
        >>> evaluation.metrics.loc["all"].columns.tolist()
        ['model', 'low', 'high', 'majority class', 'last value']
    """

    def __init__(self, evaluation: in_memory.Evaluation, server: str | None = None) -> None:
        self._evaluation = evaluation
        self.server = server
        """Address of the server that ran it; ``None`` for this machine."""

    @property
    def facts(self) -> EvaluationFacts:
        """Everything but the curves, as one object with typed fields."""
        return self._evaluation.facts

    @property
    def evaluation(self) -> str:
        """Name of the stored evaluation, ``name/3``: what :func:`ktrdr.core.evaluations.load` takes."""
        return self.facts.evaluation

    @property
    def metrics(self) -> pd.DataFrame:
        """Metrics of the predictions out of sample, per fold and in all, with intervals and baselines.

        Rows: ``fold`` (``1`` and so on, then ``all``, each as text) and ``metric``; columns: ``model`` (mean over
        seeds), ``low`` and ``high`` (bounds of the 90 % interval), ``majority class`` and ``last value``; float64, NaN
        where a metric is not defined.
        """
        import pandas as pd

        facts = self.facts
        parts = {str(fold.fold): _metrics_of(fold.metrics, fold.baselines) for fold in facts.folds}
        return pd.concat(parts | {"all": _metrics_of(facts.metrics, facts.baselines)}, names=["fold"])

    @property
    def folds(self) -> pd.DataFrame:
        """The folds: index ``fold`` from 1.

        Columns: ``test_start`` and ``test_end`` (aware, UTC: open of the first bar, close of the last), ``train``,
        ``validation`` and ``test`` (samples, int64), ``best_epoch`` (median over seeds, float64).
        """
        import pandas as pd

        folds = self.facts.folds
        times = {
            "test_start": [min(part.start for part in fold.test) for fold in folds],
            "test_end": [max(part.end for part in fold.test) for fold in folds],
        }
        samples = {part: [fold.samples.get(part, 0) for fold in folds] for part in ("train", "validation", "test")}
        frame = pd.DataFrame(
            {name: pd.DatetimeIndex(values, dtype="datetime64[ns, UTC]") for name, values in times.items()}
            | samples
            | {"best_epoch": [_median_epoch(fold) for fold in folds]},
            index=pd.Index([fold.fold for fold in folds], name="fold"),
        )
        return frame.astype(dict.fromkeys(samples, "int64"))

    @property
    def paths(self) -> pd.DataFrame:
        """The accounts: rows ``path`` and ``seed``; one column per metric, float64, NaN where it is not defined."""
        return paths_frame(self.facts.paths)

    @property
    def spread(self) -> pd.DataFrame:
        """Distribution of each metric of an account over paths and seeds: index ``metric``.

        Columns, float64: ``number`` (of values), ``mean``, ``sd``, ``min``, ``low`` and ``high`` (quartiles),
        ``median``, ``max``.
        """
        import pandas as pd

        spread = self.facts.spread
        frame = pd.DataFrame([each.model_dump() for each in spread.values()], dtype=float)
        frame.index = pd.Index([*spread], name="metric")
        return frame

    @property
    def regimes(self) -> pd.DataFrame:
        """Results by kind of market: index ``regime``, in words.

        Columns: ``bars`` (int64), ``share`` of all tested bars, ``accuracy`` and ``majority`` (that of the majority
        class), ``annual_return``, ``sharpe`` and ``buy_and_hold``, float64, NaN where a value is not defined.
        """
        import pandas as pd

        rows = [row.model_dump() for row in self.facts.regimes]
        names = ["regime", "bars", "share", "accuracy", "majority", "annual_return", "sharpe", "buy_and_hold"]
        frame = pd.DataFrame(rows, columns=names).set_index("regime")
        return frame.astype("float64").astype({"bars": "int64"})

    @property
    def equity(self) -> pd.DataFrame:
        """Equity of every account at the close of each tested bar: index ``time``, the open of the bar (aware, UTC).

        Columns, float64: levels ``path`` and ``seed``, in the order of :attr:`paths`.
        """
        import pandas as pd

        curves = self._evaluation.curves
        columns = pd.MultiIndex.from_tuples(
            [(each.path, each.seed) for each in self.facts.paths], names=["path", "seed"]
        )
        time = pd.DatetimeIndex(curves.time, name="time").tz_localize("UTC")
        return pd.DataFrame(curves.equity.T, index=time, columns=columns)

    @property
    def best_epoch(self) -> int:
        """Median of the best epochs of all trainings, rounded down."""
        return self.facts.best_epoch

    @property
    def reserve(self) -> ReserveResult | None:
        """The reserve: its period, how often it was opened and, if this evaluation opened it, its results."""
        return self.facts.reserve

    @property
    def trials(self) -> int | None:
        """Trials that looked at the same bars, this one included; ``None`` if they were not counted."""
        count = self.facts.trial_count
        return None if count is None else int(str(count["number"]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the figures, one sentence each."""
        return self.facts.warnings

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the curves as JSON-ready data, as ``ktrdr evaluate --json`` prints it."""
        return self.facts.model_dump(mode="json")

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report as one self-contained HTML file that needs no network.

        Args:
            path: of the file; by default ``report.html`` beside the other files of the evaluation. A file that is there
                is replaced.

        Returns:
            The path.

        Raises:
            BadInputError: ``path`` is a directory.
            StoreError: the disk is full, or the place is not writable.

        Example:
            >>> import ktrdr.core as kt
            >>> kt.evaluations.load("neuro_mean_reversion/1").report("report.html").name
            'report.html'
        """
        from ktrdr.core.report.evaluation_page import write_evaluation_page
        from ktrdr.core.validation.stored_evaluation import evaluation_directory

        place = evaluation_directory(self.evaluation) / "report.html" if path is None else Path(path)
        return write_evaluation_page(self._evaluation, place)

    def plot(self) -> Figure:
        """Return the equity of every account beside buy and hold as one interactive plotly figure.

        The account with the median Sharpe ratio is a bold line, the others are thin.
        """
        from ktrdr.core.report.evaluation_plot import evaluation_plot

        return evaluation_plot(self._evaluation)

    def _title(self) -> str:
        facts = self.facts
        shown = ", ".join(facts.symbols) if len(facts.symbols) <= 3 else f"{len(facts.symbols)} symbols"
        world = f" (synthetic: {facts.world})" if facts.world else ""
        days = f"{facts.tested.start:%Y-%m-%d} to {last_day(facts.tested.end)}"
        return f"{self.evaluation or facts.strategy}: {shown} {facts.timeframe}{world}, {days}"

    def _counted(self) -> str:
        facts = self.facts
        folds, seeds = len(facts.folds), len(facts.seeds)
        return f"{folds} fold{'' if folds == 1 else 's'} with {seeds} seed{'' if seeds == 1 else 's'}"

    def _sharpe(self) -> str:
        spread = self.facts.spread.get("sharpe")
        if spread is None:
            return "Sharpe -"
        return f"Sharpe {spread.median:.2f} ({spread.min:.2f} to {spread.max:.2f})"

    def __repr__(self) -> str:
        return f"<Evaluation {self._title()}, {self._counted()}, {self._sharpe()}>"

    def _repr_html_(self) -> str:
        facts, curves = self.facts, self._evaluation.curves
        accounts = [(each.path, each.seed) for each in facts.paths]
        lines = {
            "median account": curves.equity[accounts.index(facts.median_path)],
            "buy and hold": curves.buy_and_hold,
        }
        cards = [
            Card(name, format_metric(metric, spread.median), _tone(spread.low, spread.high), _range(metric, spread))
            for name, metric in (("Sharpe ratio", "sharpe"), ("Total return", "total_return"))
            if (spread := facts.spread.get(metric)) is not None
        ]
        cards += [Card("Folds", str(len(facts.folds)), "", f"{len(facts.seeds)} seeds each")]
        if self.trials is not None:
            cards.append(Card("Trials", f"{self.trials:,}", "", "known to the ledger"))
        return result_block(
            f"{self._title()}",
            paragraph(f"{facts.model}, {facts.validation.type}, {self._counted()}"),
            warning_list(self.warnings),
            card_row(cards),
            line_picture(curves.time, lines, "Equity out of sample"),
        )


def _metrics_of(metrics: Mapping[str, Interval], baselines: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, list[Any]] = {
        "model": [each.value for each in metrics.values()],
        "low": [each.low for each in metrics.values()],
        "high": [each.high for each in metrics.values()],
    }
    for name, own in baselines.items():
        columns[_BASELINES.get(name, name)] = [own.get(metric) for metric in metrics]
    frame = pd.DataFrame(columns, dtype=float)
    frame.index = pd.Index([*metrics], name="metric")
    return frame


def _median_epoch(fold: FoldResult) -> float:
    import statistics

    return float(statistics.median(each.best_epoch for each in fold.seeds))


def _tone(low: float, high: float) -> str:
    """Return the tone of a figure whose quartiles lie on one side of 0."""
    return "good" if low > 0 else "bad" if high < 0 else ""


def _range(metric: str, spread: Any) -> str:
    return f"{format_metric(metric, spread.min)} to {format_metric(metric, spread.max)} over {spread.number} accounts"


def evaluate(
    strategy: Strategy | str | os.PathLike[str] | Mapping[str, Any],
    *,
    symbols: SymbolsLike = None,
    start: DayLike = None,
    end: DayLike = None,
    seed: int | None = None,
    seeds: int = 5,
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
) -> Evaluation:
    """Judge a strategy on folds of stored bars that its models have not seen, and store the result.

    Splits the data as the section ``validation`` of the strategy says, without it into six groups in time of which
    every two are tested; trains a model on each fold with several seeds; and trades what they predict out of sample,
    with costs. The evaluation is recorded as one trial before its result is returned. Ctrl+C, or the interrupt of a
    kernel, stops it; ``resume=True`` then continues from the trainings that are finished.

    Args:
        strategy: a :class:`Strategy`, or whatever :func:`load_strategy` takes.
        symbols: one or more symbols to evaluate on, instead of the strategy's.
        start: first day of the data, UTC and inclusive, instead of the strategy's.
        end: last day of the data, UTC and inclusive, instead of the strategy's.
        seed: the first seed, 0 to 4,294,967,295, instead of the strategy's.
        seeds: trainings of each fold, with the seeds ``seed``, ``seed + 1`` and so on.
        epochs: most passes over the training part of a fold, at least 1, instead of the strategy's.
        capital: cash of each account at the start, in the prices' currency, above 0.
        commission: share of the traded value, per side, 0 to below 1; two basis points are 0.0002.
        slippage: share of the price by which every fill is worse, 0 to below 1; two basis points are 0.0002.
        trials: trials made elsewhere, which count beside those that the ledger of trials knows.
        reserve: open the reserve: trade it with models that are trained on all data before it. Each different look
            counts.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        resume: continue an interrupted evaluation of the same strategy, data and settings. Without it what that has
            trained is discarded.
        server: address of a KTRDR server to run it on, such as ``http://127.0.0.1:8000``; it must have the data. The
            files of the evaluation are stored on this machine too. The token is read from ``KTRDR_API_TOKEN``.
        progress: True shows a bar (in a notebook, on a terminal) or lines (elsewhere); False shows nothing; a function
            is called with every progress event.

    Returns:
        The evaluation: ``.metrics``, ``.paths``, ``.spread`` and ``.equity`` are DataFrames.

    Raises:
        BadInputError: the strategy, the data or a setting does not allow it; nothing is stored.
        CancelledError: it was interrupted; ``error.checkpoint`` is the path of what is kept, if anything is.
        KtrdrError: it cannot be recorded or stored, or failed on the server.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> evaluation = kt.evaluate(kt.example_strategy(), seeds=1, epochs=2, progress=False)
        >>> evaluation.evaluation, evaluation.paths.shape[0], evaluation.trials
        ('neuro_mean_reversion/1', 5, 1)
        >>> evaluation.spread.columns.tolist()
        ['number', 'mean', 'sd', 'min', 'low', 'median', 'high', 'max']
    """
    from ktrdr.core.validation.stored_evaluation import store_evaluation
    from ktrdr.core.workflows.run_evaluation import evaluate as run

    loaded = strategy if isinstance(strategy, Strategy) else load_strategy(strategy)
    settings = settings_of(
        EvaluationSettings,
        symbols,
        start,
        end,
        seed=seed,
        seeds=seeds,
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
                result = runs.evaluate(loaded.text, settings, resume=resume)
        else:
            with python_messages(), watched(progress) as (receive, cancellation):
                result = run(loaded.loaded, settings, resume=resume, progress=receive, cancellation=cancellation)
    except CancelledError as error:
        raise _cancelled(error, server) from None
    return Evaluation(store_evaluation(result), server)


def _cancelled(error: CancelledError, server: str | None) -> CancelledError:
    if error.checkpoint is None and server is None:
        return CancelledError("the evaluation was cancelled; nothing is kept that could be resumed")
    again = CancelledError(
        "the evaluation was cancelled; call evaluate with the same arguments and resume=True to go on from what it has"
        " trained"
    )
    again.checkpoint = error.checkpoint
    return again

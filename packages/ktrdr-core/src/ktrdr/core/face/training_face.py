"""Training from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ktrdr.core.data.python_words import python_messages
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.face.arguments import DayLike, SymbolsLike, settings_of
from ktrdr.core.face.evaluation_face import Evaluation
from ktrdr.core.face.result_frames import metrics_frame
from ktrdr.core.face.result_html import card_row, result_block, warning_list
from ktrdr.core.face.strategy_face import Strategy, load_strategy
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_warnings import warnings_of
from ktrdr.core.plugins.contract import EpochRecord
from ktrdr.core.report.page import Card
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.watching import watched

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

__all__ = ["Training", "train"]

# The metric that tells most of a model, by the kind of its output.
_HEADLINE = {"classification": "log_loss", "regression": "rmse"}


class Training:
    """A finished training, and the model that it stored. :func:`ktrdr.core.train` makes it.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), epochs=2, progress=False)
        >>> training.samples.loc["EURUSD"].to_dict()
        {'train': 3236, 'validation': 649, 'test': 649}
        >>> training.history.index.tolist()
        [1, 2]
    """

    def __init__(self, result: TrainingResult, history: tuple[EpochRecord, ...], server: str | None = None) -> None:
        self._result = result
        self._history = history
        self.server = server
        """Address of the server that has the model; ``None`` for this machine."""

    @property
    def model(self) -> str:
        """The stored model, ``name/version``: what :func:`ktrdr.core.backtest` takes."""
        return self._result.bundle.ref

    @property
    def bundle(self) -> Bundle:
        """The stored model. Of a training on a server it has the manifest alone."""
        return self._result.bundle

    @property
    def metrics(self) -> pd.DataFrame:
        """Metrics of the model beside two baselines that use no features.

        Rows: ``part`` (``validation``, ``test``) and ``metric``; columns: ``model``; with several seeds ``mean``,
        ``sd``, ``min`` and ``max`` over them; ``majority class`` and ``last value``; float64, NaN where a metric is not
        defined.
        """
        import pandas as pd

        from ktrdr.core.models.member_spread import spread_columns

        judged, baselines = self._judged()
        parts = {}
        for part, metrics in judged.items():
            names = [name for name, value in metrics.items() if isinstance(value, int | float)]
            columns = {"model": metrics} | spread_columns(self._result.bundle.manifest.members, part)
            columns |= {_BASELINES.get(name, name): own[part] for name, own in baselines.items() if part in own}
            parts[part] = metrics_frame(columns, names)
        return pd.concat(parts, names=["part"]) if parts else metrics_frame({"model": {}}, [""]).iloc[:0]

    @property
    def history(self) -> pd.DataFrame:
        """Metrics of each epoch: index ``epoch`` from 1; columns such as ``train_loss`` and ``val_loss``, float64.

        No row for an ensemble, whose members were trained one by one: ``bundle.history(member=1)`` is the first one's.
        Of a training on a server the bundle has no histories; download the model first, as :meth:`plot` says.
        """
        import pandas as pd

        frame = pd.DataFrame([dict(record.metrics) for record in self._history])
        frame.index = pd.Index([record.epoch for record in self._history], name="epoch")
        return frame

    @property
    def members(self) -> pd.DataFrame:
        """Trainings that differ in the seed: the members of an ensemble, or all seeds of which this model is one.

        Rows: ``member``, from 1; columns: ``seed`` and ``best_epoch``, int64, then the monitored metric and the metrics
        of each part, such as ``validation_log_loss``, float64. No row for a single training.
        """
        import pandas as pd

        members = self._result.bundle.manifest.members
        rows = [
            {"seed": member.seed, "best_epoch": member.best_epoch}
            | ({} if member.monitor is None else {member.monitor: member.monitored})
            | {f"{part}_{name}": value for part, own in member.metrics.items() for name, value in own.items()}
            for member in members
        ]
        frame = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="member"), dtype=float)
        return frame.reindex(columns=frame.columns if rows else ["seed", "best_epoch"]).astype(
            {"seed": "int64", "best_epoch": "int64"}
        )

    @property
    def importance(self) -> pd.DataFrame:
        """Permutation importance: how much worse each score gets when one input is shuffled.

        Rows: fuzzy sets, raw indicators and single features, ``kind`` and ``input``; columns: mean and standard
        deviation per score, float64, in the score's own units, positive for worse. Empty where it was not computed.
        """
        import pandas as pd

        found: Any = self._result.bundle.manifest.importance
        rows = [] if found is None else [*found["groups"], *({"kind": "feature", **one} for one in found["features"])]
        scores = [] if found is None else list(found["scores"])
        index = pd.MultiIndex.from_arrays(
            [[row["kind"] for row in rows], [row["id"] for row in rows]], names=["kind", "input"]
        )
        columns = {
            f"{score}_{part}": [row[score][part] for row in rows] for score in scores for part in ("mean", "std")
        }
        return pd.DataFrame(columns, index=index, dtype=float)

    @property
    def samples(self) -> pd.DataFrame:
        """Samples of each symbol (rows) in each part (columns ``train``, ``validation``, ``test``), int64."""
        import pandas as pd

        return pd.DataFrame(self._result.samples).rename_axis("symbol").fillna(0).astype("int64")

    @property
    def best_epoch(self) -> int | None:
        """Epoch whose weights were kept, from 1; ``None`` for an ensemble, whose :attr:`members` have one each."""
        return self._result.best_epoch

    @property
    def epochs(self) -> int:
        """Epochs that were run, of an ensemble the largest number of its members."""
        return self._result.epochs

    @property
    def trials(self) -> int | None:
        """Trials that looked at the same validation and test bars, this one included; ``None`` without such bars."""
        return None if self._result.trial_count is None else self._result.trial_count.number

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the model, one sentence each."""
        return warnings_of(self._result.bundle.manifest)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready data, as ``ktrdr train --json`` prints it."""
        return self._result.to_json()

    def plot(self) -> Figure:
        """Return loss and other metrics by epoch as a plotly figure.

        Raises:
            BadInputError: the model is an ensemble, whose members have a history each.
        """
        from plotly.graph_objects import Figure

        from ktrdr.core.report.figures import training_figure

        if self.best_epoch is None:
            # Of a training on a server only the manifest is here.
            remedy = (
                "`training.bundle.history(member=1)` has those of the first"
                if self.server is None
                else f"download {self.server}/api/v1/models/{self.model}/archive, and"
                " `kt.models.import_file(FILE).history(member=1)` has those of the first"
            )
            raise BadInputError(f"model {self.model} is an ensemble, and each member has epochs of its own; {remedy}")
        records = [{"epoch": record.epoch, "metrics": record.metrics} for record in self._history]
        return Figure(training_figure(records, self.best_epoch))

    def _headline(self) -> tuple[str, str, float, float | None] | None:
        """Return part, metric, the model's value and that of the majority class, of the last part that was judged."""
        judged, baselines = self._judged()
        if not judged:
            return None
        part, metrics = list(judged.items())[-1]
        name = _HEADLINE[self._result.bundle.manifest.output]
        majority = baselines.get("majority", {}).get(part, {}).get(name)
        return part, name.replace("_", " "), metrics[name], majority

    def _judged(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return metrics by part, of the model and by baseline."""
        manifest = self._result.bundle.manifest
        return dict(manifest.metrics), dict(manifest.baselines)

    def __repr__(self) -> str:
        result, manifest = self._result, self._result.bundle.manifest
        words = manifest.strategy.model.words
        text = f"<Training {self.model}: {words} with {manifest.plugin.name} on {result.device.name}"
        text += "" if manifest.evaluation is None else f", from evaluation {manifest.evaluation.reference}"
        text += "" if result.best_epoch is None else f", epoch {result.best_epoch} of {result.epochs} kept"
        if found := self._headline():
            part, name, value, majority = found
            text += f", {part} {name} {value:.4g}" + ("" if majority is None else f" (majority class {majority:.4g})")
        return text + ">"

    def _repr_html_(self) -> str:
        result, manifest = self._result, self._result.bundle.manifest
        samples = ", ".join(f"{sum(own.values()):,} {part}" for part, own in result.samples.items() if own)
        cards = [
            Card("Members", str(len(manifest.members)), "", f"each with its best epoch of {result.epochs}")
            if result.best_epoch is None
            else Card("Epoch kept", str(result.best_epoch), "", f"of {result.epochs}"),
            Card("Samples", f"{sum(sum(own.values()) for own in result.samples.values()):,}", "", samples),
        ]
        if found := self._headline():
            part, name, value, majority = found
            # Of both headline metrics less is better.
            tone = "" if majority is None else "bad" if value > majority else "good"
            note = "" if majority is None else f"majority class {majority:.4g}"
            cards.append(Card(f"{name.capitalize()}, {part}", f"{value:.4g}", tone, note))
        if (record := manifest.evaluation) is not None and (sharpe := record.spread.get("sharpe", {}).get("median")):
            cards.append(Card("Sharpe ratio, out of sample", f"{sharpe:.2f}", "", f"evaluation {record.reference}"))
        if self.trials is not None:
            cards.append(Card("Trials", f"{self.trials:,}", "", "known to the ledger"))
        words = manifest.strategy.model.words
        title = f"{self.model}: {words} trained with {manifest.plugin.name} on {result.device.name}"
        return result_block(title, warning_list(self.warnings), card_row(cards))


_BASELINES = {"majority": "majority class", "last_value": "last value"}


def train(
    strategy: Strategy | str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    evaluation: Evaluation | str | None = None,
    symbols: SymbolsLike = None,
    start: DayLike = None,
    end: DayLike = None,
    seed: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    ensemble: bool = False,
    device: str = "auto",
    resume: bool = False,
    server: str | None = None,
    progress: bool | Progress = True,
) -> Training:
    """Train a strategy on stored bars, and store the model as the next version of the strategy's name.

    The same strategy, data, seed and kind of machine give the same weights, bit for bit. The training is recorded as a
    trial before its result is returned. Ctrl+C, or the interrupt of a kernel, stops it and leaves a checkpoint that
    ``resume=True`` continues from; the result is then the same as without the interruption.

    With ``evaluation`` in place of a strategy it trains the model to use after an evaluation: on all bars before its
    reserve, for the median of its best epochs. Such a model has no metrics of its own; ``.bundle.manifest.evaluation``
    has those of the evaluation, and :func:`backtest` of it without days trades the evaluation's out-of-sample path.

    Args:
        strategy: a :class:`Strategy`, or whatever :func:`load_strategy` takes.
        evaluation: a stored evaluation: what :func:`evaluate` returned, ``"name"`` for the latest of a strategy, or
            ``"name/3"``; with ``server``, one of its evaluations by name. Strategy, data, seed and epochs are its own.
        symbols: one or more symbols to train on, instead of the strategy's.
        start: first day of the data, UTC and inclusive, instead of the strategy's.
        end: last day of the data, UTC and inclusive, instead of the strategy's.
        seed: of every random choice, 0 to 4,294,967,295, instead of the strategy's.
        epochs: most passes over the training part, at least 1, instead of the strategy's.
        seeds: trainings with as many seeds, ``seed``, ``seed + 1`` and so on, at least 2: the model with the median
            validation is kept, and ``.metrics`` has the spread of all.
        ensemble: keep the models of all seeds, as an ensemble that averages their predictions.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        resume: continue from the checkpoint that an interrupted training of the same strategy, data and settings left.
            Without it such a checkpoint is discarded.
        server: address of a KTRDR server to train on, such as ``http://127.0.0.1:8000``; it must have the data. The
            token is read from ``KTRDR_API_TOKEN``.
        progress: True shows a bar (in a notebook, on a terminal) or lines (elsewhere); False shows nothing; a function
            is called with every progress event.

    Returns:
        The training: ``.model`` is what :func:`backtest` takes, ``.metrics`` and ``.history`` are DataFrames.

    Raises:
        BadInputError: the strategy, the data or a setting does not allow it; nothing is stored.
        CancelledError: it was interrupted; ``error.checkpoint`` is the path of the checkpoint, if there is one.
        KtrdrError: it cannot be recorded or stored, or failed on the server.

    Example:
        >>> import ktrdr.core as kt
        >>> bars = kt.data.import_sample()
        >>> training = kt.train(kt.example_strategy(), epochs=2, progress=False)
        >>> training.model
        'neuro_mean_reversion/1'
        >>> training.history.columns.tolist()
        ['train_loss', 'train_accuracy', 'val_loss', 'val_accuracy', 'learning_rate']
        >>> training.metrics.loc["validation"].columns.tolist()
        ['model', 'majority class', 'last value']
    """
    from ktrdr.core.workflows.run_training import train as run

    if (strategy is None) == (evaluation is None):
        raise BadInputError("train takes a strategy or an evaluation, as in kt.train(evaluation=...): give one of them")
    loaded = strategy if isinstance(strategy, Strategy) or strategy is None else load_strategy(strategy)
    settings = settings_of(
        TrainingSettings,
        symbols,
        start,
        end,
        seed=seed,
        epochs=epochs,
        seeds=seeds,
        ensemble=ensemble,
        device=device,
        evaluation=None if evaluation is None else _name_of(evaluation, server),
    )
    try:
        if server is not None:
            return _train_on(server, loaded, settings, resume, progress)
        with python_messages(), watched(progress) as (receive, cancellation):
            result = run(
                loaded if loaded is None else loaded.loaded,
                settings,
                resume=resume,
                progress=receive,
                cancellation=cancellation,
            )
    except CancelledError as error:
        raise _cancelled(error, server) from None
    return Training(result, result.bundle.history())


def _name_of(evaluation: Evaluation | str, server: str | None) -> str:
    """Return the name of a stored evaluation, here or on the server."""
    if isinstance(evaluation, str):
        return evaluation
    if not isinstance(evaluation, Evaluation):
        raise BadInputError(
            f"evaluation: give what kt.evaluate returned, or a name such as `name/3`, not a {type(evaluation).__name__}"
        )
    if server is not None:
        raise BadInputError(
            f"evaluation {evaluation.evaluation} is stored on this machine; with a server, give the name of one of its"
            " evaluations, such as `name/3`"
        )
    return evaluation.evaluation


def _train_on(
    server: str, strategy: Strategy | None, settings: TrainingSettings, resume: bool, progress: bool | Progress
) -> Training:
    from ktrdr.core.client import Client
    from ktrdr.core.face.server_runs import running_on
    from ktrdr.core.workflows.on_server import training_on_server

    with running_on(server, progress) as runs:
        answer = runs.train(None if strategy is None else strategy.text, settings, resume=resume)
    with Client(server) as client:
        return Training(*training_on_server(client, answer), client.url)


def _cancelled(error: CancelledError, server: str | None) -> CancelledError:
    if error.checkpoint is None and server is None:
        return CancelledError("the training was cancelled; nothing is kept that could be resumed")
    again = CancelledError(
        "the training was cancelled; call train with the same arguments and resume=True to go on from its checkpoint"
    )
    again.checkpoint = error.checkpoint
    return again

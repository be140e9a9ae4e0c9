"""The one way to train a model: the steps, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.jumps import jump_warnings
from ktrdr.core.data.loading import fingerprint
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.normalizers import normalized_columns
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.limits import MOST_NORMALIZERS
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.models.model_warnings import baseline_warnings, too_little_warnings
from ktrdr.core.plugins.contract import Device, PluginInfo, TrainedModel, TrainingData, TrainingTask
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.baselines import evaluate_baselines
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.importance import permutation_importance
from ktrdr.core.training.labelling import count_labels, label_symbol
from ktrdr.core.training.overrides import override
from ktrdr.core.training.part_evaluation import evaluate_part, judged_samples
from ktrdr.core.training.preparation import (
    calculate_indicators,
    first_rows,
    fit_normalizers,
    fuzzify,
    load_symbol,
    make_part,
    stack_symbols,
    weigh_samples,
)
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.training.run_checkpoint import default_checkpoint_root, reserve_checkpoint, run_key
from ktrdr.core.training.saving import data_reference, save_model
from ktrdr.core.training.split import PARTS, SymbolSplit, split_periods, split_rows
from ktrdr.core.training.task import create_task, detect_device, fit_model, window_of
from ktrdr.core.training.training_look import overrides_of, training_look
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps

__all__ = ["TrainingExecutor"]

_AS_THE_STRATEGY_SAYS = TrainingSettings()
_JUDGED = ("validation", "test")
_DISCARDED = "that of an interrupted run is discarded; resuming would have gone on from it"


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is to be trained, and with what."""

    plugin: PluginInfo
    device: Device
    task: TrainingTask
    window: int
    crisp: bool
    pipeline: FeaturePipeline


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """What is learned from: features of all symbols, and per symbol where they begin, labels and parts.

    ``losses`` say what missing volume costs.
    """

    features: np.ndarray
    first_row: Mapping[str, int]
    labels: Mapping[str, LabelSet]
    split: Mapping[str, SymbolSplit]
    losses: tuple[str, ...]

    def rows(self, part: str) -> dict[str, np.ndarray]:
        return {symbol: getattr(own, part) for symbol, own in self.split.items()}


class TrainingExecutor:
    """Trains a strategy and stores the model: for the command line, for workers and for tests alike.

    The same strategy, data, seed and kind of machine give the same weights, also across a kill and a resume.

    Args:
        strategy: as the loader gives it.
        text: of the strategy file as the user wrote it; kept in the bundle.
        bar_store: holds the data.
        model_store: takes the model.
        trials: records the training, before its model is stored.
        plugins: the installed backends.
        settings: what is not ``None`` stands in place of what the strategy says, also in the strategy that the bundle
            keeps.
        resume: go on from the checkpoint that an interrupted run of the very same left. Without it such a checkpoint
            is discarded.
        operation: id of the operation this is an attempt at, if any: all its attempts leave one bundle.
        checkpoint_root: below which checkpoints are kept, by default ``$KTRDR_HOME/checkpoints``.
        progress, cancellation: see :mod:`ktrdr.core.work`.

    Raises:
        BadInputError: what is to stand in place of the strategy's is wrong.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        text: str,
        bar_store: BarStore,
        model_store: ModelStore,
        plugins: PluginManager,
        trials: TrialLedger,
        settings: TrainingSettings = _AS_THE_STRATEGY_SAYS,
        resume: bool = False,
        operation: str | None = None,
        checkpoint_root: Path | None = None,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
    ) -> None:
        self.strategy = override(strategy, settings)
        self._text = text
        self._trials, self._changes = trials, overrides_of(settings)
        self._bar_store, self._model_store, self._plugins = bar_store, model_store, plugins
        self._device, self._resume, self._operation = settings.device, resume, operation
        self._checkpoint_root = checkpoint_root if checkpoint_root is not None else default_checkpoint_root()
        self._progress = progress
        self._cancellation = cancellation if cancellation is not None else Cancellation()
        self._steps = Steps(progress, self._cancellation)
        self._checkpoint: DirectoryCheckpoint | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint of this run, if there is one: what ``resume`` would go on from."""
        return None if self._checkpoint is None else self._checkpoint.latest()

    def execute(self) -> TrainingResult:
        """Train, evaluate and store the model.

        Raises:
            BadInputError: the strategy, the data or the device does not allow it; nothing is stored.
            NothingToResumeError: there is no checkpoint to go on from.
            CancelledError: on request, within a batch; a checkpoint is left if training had begun.
            TrialStoreError: the training cannot be recorded; no model is stored.
        """
        plan, bars = self._plan()
        data_print = fingerprint(part for own in bars.values() for part in own.values())
        key = run_key(self.strategy, data_print, plan.plugin, plan.device)
        with reserve_checkpoint(self._checkpoint_root, self.strategy.name, key, resume=self._resume) as checkpoint:
            self._checkpoint = checkpoint
            resumed = self._resume
            if not resumed and self.checkpoint is not None:
                checkpoint.clear()
                self._progress(ProgressEvent("checkpoint", fraction=1.0, message=_DISCARDED))
            samples = self._prepare(plan, bars)
            base = {symbol: own[plan.pipeline.timeframes[0]] for symbol, own in bars.items()}
            periods = {symbol: split_periods(own, base[symbol]) for symbol, own in samples.split.items()}
            data = data_reference(self.strategy, data_print, base, periods)
            of_data = (*jump_warnings(list(base.values())), *samples.losses)
            # They are as large as the features, and have said all they have to say.
            del bars, base
            model = self._fit(plan, samples, checkpoint)
            found = self._judge(plan, samples, model)
            warnings = (*of_data, *_too_little(plan, samples, model), *_below(plan, found))
            look = training_look(
                self.strategy, self._text, data, plain_json(found["metrics"]), changes=self._changes,
                model=self.strategy.name,
                operation=self._operation,
            )  # fmt: skip
            count = None if look is None else self._trials.judge([look])
            bundle = self._steps.run(
                "saving",
                lambda: save_model(
                    self._model_store,
                    self._plugins,
                    plan.plugin,
                    model,
                    task=plan.task,
                    window=plan.window,
                    crisp=plan.crisp,
                    strategy=self.strategy,
                    text=self._text,
                    normalizers=plan.pipeline.normalizers(),
                    data=data,
                    operation=self._operation,
                    warnings=warnings,
                    **found,
                ),
                lambda stored: stored.ref,
            )
            checkpoint.clear()
        counts = {part: {symbol: len(rows) for symbol, rows in samples.rows(part).items()} for part in PARTS}
        # Not the length of the history: a backend may report every tenth epoch only.
        epochs = max((record.epoch for record in model.history), default=0)
        return TrainingResult(
            bundle, plan.device, counts, epochs, model.best_epoch, resumed, count, look
        )  # fmt: skip

    def _plan(self) -> tuple[_Plan, dict[str, dict[str, Bars]]]:
        """Choose backend and device, create the task, and read the bars.

        These come first: that they are missing is said without importing the backend's framework.
        """
        section = self.strategy.model
        plugin, model_type = self._plugins.backend_for(section.type, section.backend)
        crisp = model_type.inputs == "crisp"
        pipeline = FeaturePipeline(self.strategy, crisp=crisp)
        self._count_normalizers(pipeline)
        bars = self._load(pipeline.timeframes)
        device = self._steps.run(
            "device", lambda: detect_device(self._plugins, plugin.name, self._device), lambda found: found.name
        )
        task = create_task(self.strategy, model_type, pipeline.columns, device)
        return _Plan(plugin, device, task, window_of(task, model_type), crisp, pipeline), bars

    def _count_normalizers(self, pipeline: FeaturePipeline) -> None:
        """Refuse now what could not be stored when it has been trained."""
        number = len(normalized_columns(pipeline.columns)) * len(self.strategy.training_data.symbols)
        if number > MOST_NORMALIZERS:
            raise BadInputError(
                f"strategy `{self.strategy.name}`: it needs {number:,} normalizers, one for each symbol and raw input, "
                f"and {MOST_NORMALIZERS:,} is the limit; leave out symbols, raw inputs or their lags"
            )

    def _load(self, timeframes: Sequence[str]) -> dict[str, dict[str, Bars]]:
        data = self.strategy.training_data
        return self._steps.each(
            "data",
            data.symbols,
            lambda symbol: load_symbol(self._bar_store, symbol, timeframes, data.date_range),
            lambda bars: f"{sum(len(part) for own in bars.values() for part in own.values()):,} bars",
        )

    def _prepare(self, plan: _Plan, bars: Mapping[str, Mapping[str, Bars]]) -> _Samples:
        """Turn bars into features, labels and parts."""
        each, pipeline, training = self._steps.each, plan.pipeline, self.strategy.training
        values = each("indicators", bars, lambda symbol: calculate_indicators(pipeline, bars[symbol]))
        # Taken out of `values` one by one: a symbol's indicators are not needed once it has its matrix.
        matrices = each("fuzzy sets", bars, lambda symbol: fuzzify(pipeline, bars[symbol], values.pop(symbol)))
        labels = each(
            "labels",
            bars,
            lambda symbol: label_symbol(training.labels, bars[symbol][pipeline.timeframes[0]]),
            _say_labels,
        )
        losses = {
            symbol: loss
            for symbol, own in bars.items()
            if (loss := pipeline.volume_loss(own, matrices[symbol])) is not None
        }
        split = each(
            "split",
            bars,
            lambda symbol: split_rows(
                symbol,
                matrices[symbol].warm,
                labels[symbol],
                training.data_split,
                embargo=training.embargo,
                window=plan.window,
                lacking=f"{losses[symbol].reason}; {losses[symbol].remedy}" if symbol in losses else "",
            ),
            _say_split,
        )
        first_row = first_rows(matrices.values())

        def engineer() -> np.ndarray:
            fit_normalizers(pipeline, matrices, {symbol: own.train for symbol, own in split.items()}, plan.window)
            return stack_symbols(pipeline, matrices)

        features = self._steps.run("features", engineer, lambda made: f"{made.shape[1]} columns, {len(made):,} rows")
        said = tuple(f"{symbol} {pipeline.timeframes[0]}: {loss.statement}" for symbol, loss in losses.items())
        return _Samples(features, first_row, labels, split, said)

    def _fit(self, plan: _Plan, samples: _Samples, checkpoint: DirectoryCheckpoint) -> TrainedModel:
        train = samples.rows("train")
        weigh = self.strategy.training.sample_weights == "uniqueness"
        weights = weigh_samples(train, samples.labels) if weigh else None
        data = TrainingData(
            samples.features,
            make_part(train, samples.labels, samples.first_row, weights),
            make_part(samples.rows("validation"), samples.labels, samples.first_row),
        )
        return fit_model(
            self._plugins.trainer(plan.plugin.name),
            plan.task,
            data,
            progress=self._progress,
            cancellation=self._cancellation,
            checkpoint=checkpoint,
        )

    def _judge(self, plan: _Plan, samples: _Samples, model: TrainedModel) -> dict[str, Any]:
        """Return metrics, baselines and importance, of parts that have samples."""
        predictor = model.predictor()
        judged = {
            part: judged_samples(samples.features, samples.first_row, samples.rows(part), samples.labels)
            for part in _JUDGED
        }
        judged = {part: own for part, own in judged.items() if own}
        metrics = self._steps.run(
            "evaluation",
            lambda: {
                part: evaluate_part(predictor, own, plan.task, self._cancellation) for part, own in judged.items()
            },
        )
        importance = None
        if judged:
            importance = permutation_importance(
                predictor.predict,
                next(iter(judged.values())),
                plan.pipeline.columns,
                plan.task.output,
                window=plan.window,
                seed=plan.task.seed,
                progress=self._progress,
                cancellation=self._cancellation,
            )
        return {
            "metrics": metrics,
            "baselines": evaluate_baselines(samples.labels, samples.split) if judged else {},
            "importance": importance,
        }


def _too_little(plan: _Plan, samples: _Samples, model: TrainedModel) -> tuple[str, ...]:
    return too_little_warnings(
        {part: sum(len(rows) for rows in samples.rows(part).values()) for part in PARTS},
        inputs=len(plan.task.feature_ids),
        best_epoch=model.best_epoch,
        epochs=max((record.epoch for record in model.history), default=0),
    )


def _below(plan: _Plan, found: Mapping[str, Any]) -> tuple[str, ...]:
    return baseline_warnings(plan.task.output, found["metrics"], found["baselines"])


def _say_labels(labels: Mapping[str, LabelSet]) -> str:
    total: dict[str, int] = {}
    for own in labels.values():
        for name, count in count_labels(own).items():
            total[name] = total.get(name, 0) + count
    return ", ".join(f"{name} {count:,}" for name, count in total.items())


def _say_split(split: Mapping[str, SymbolSplit]) -> str:
    return ", ".join(f"{part} {sum(len(getattr(own, part)) for own in split.values()):,}" for part in PARTS)

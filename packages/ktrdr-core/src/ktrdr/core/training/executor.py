"""Training of a model: runs all steps in order, from stored bars to a stored bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.jumps import jump_warnings
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.data.worlds import common_world
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.normalizers import normalized_columns
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.limits import MOST_NORMALIZERS
from ktrdr.core.models.manifest import Period
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.models.model_warnings import baseline_warnings, equal_members_warnings, too_little_warnings
from ktrdr.core.plugins.contract import Device, Member, ModelType, PluginInfo, TrainedModel, TrainingData, TrainingTask
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import EnsembleSection, Strategy
from ktrdr.core.strategy.used_code import unread_code_warnings
from ktrdr.core.training.baselines import evaluate_baselines
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.evaluated_source import EvaluatedSource
from ktrdr.core.training.file_reserve import bars_of_file
from ktrdr.core.training.importance import JudgedSamples, permutation_importance
from ktrdr.core.training.overrides import override
from ktrdr.core.training.part_evaluation import evaluate_part, judged_samples
from ktrdr.core.training.population import default_resources, train_population
from ktrdr.core.training.preparation import load_symbol, make_part, weigh_samples
from ktrdr.core.training.reserve import cut_reserve, reserve_period, reserve_start
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.training.run_checkpoint import default_checkpoint_root, left_by_run, reserve_checkpoint, run_key
from ktrdr.core.training.sample_set import Samples, prepare_samples
from ktrdr.core.training.saving import data_reference, save_model
from ktrdr.core.training.seeds import Judged, judge_members, seed_tasks
from ktrdr.core.training.split import PARTS, divided, split_periods
from ktrdr.core.training.stored_members import MemberStore
from ktrdr.core.training.task import create_task, detect_device, fit_model, window_of
from ktrdr.core.training.trained_ensemble import TrainedEnsemble, judge_ensemble, trainings_of
from ktrdr.core.training.training_look import overrides_of, training_look
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps

__all__ = ["TrainingExecutor"]

_SymbolBars = Mapping[str, Mapping[str, Bars]]
_Parts = Mapping[str, Sequence[JudgedSamples]]

_NO_OVERRIDES = TrainingSettings()
_EVALUATED = ("validation", "test")
_DISCARDED = "the checkpoint of an interrupted run is discarded; to continue from such a checkpoint, resume the run"


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Task, backend and device of a training.

    ``fitted`` is the strategy with the parts and epochs that it uses, ``parts`` a clause about the parts, and
    ``reserve`` the period of the bars that were cut off.
    """

    plugin: PluginInfo
    model_type: ModelType
    device: Device
    fitted: Strategy
    parts: str
    reserve: Period | None
    task: TrainingTask
    window: int
    crisp: bool
    pipeline: FeaturePipeline


class TrainingExecutor:
    """Trains a strategy and stores the model, for the command line, workers and tests.

    The same strategy, data, seed and kind of machine give the same weights, even if the run is killed and resumed. With
    several seeds, the stored model is that of a run with its seed alone, byte for byte.

    Args:
        strategy: a strategy from the loader.
        text: text of the strategy file, unchanged; kept in the bundle.
        bar_store: store of the bars.
        model_store: store that the model is added to.
        trials: ledger that the training is recorded in, before its model is stored.
        plugins: the installed backends.
        settings: overrides of the strategy; fields that are ``None`` override nothing. The bundle keeps the strategy
            with the overrides.
        resume: resume from the checkpoint that an interrupted run with the same strategy, data, seed, backend and kind
            of device left. If False, such a checkpoint is discarded.
        operation: id of the operation that this run is an attempt of, if any; all its attempts store one bundle.
        checkpoint_root: directory of the checkpoints, by default ``$KTRDR_HOME/checkpoints``.
        cache: cache of features; by default none.
        progress: receives an event for each step.
        cancellation: stops the run between two batches or steps; see :mod:`ktrdr.core.work`.
        source: the evaluation to train from; ``None`` for a training with parts of its own.

    Raises:
        BadInputError: the overrides do not fit the strategy.
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
        settings: TrainingSettings = _NO_OVERRIDES,
        resume: bool = False,
        operation: str | None = None,
        checkpoint_root: Path | None = None,
        cache: ArrayCache = NO_CACHE,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
        source: EvaluatedSource | None = None,
    ) -> None:
        self.strategy = override(strategy, settings)
        self._dates = strategy.training_data.date_range
        self._source = source
        self._text = text
        self._trials, self._changes = trials, overrides_of(settings)
        self._bar_store, self._model_store, self._plugins = bar_store, model_store, plugins
        self._device = settings.device
        # The members of an ensemble are part of the strategy.
        self._seeds = None if isinstance(self.strategy.model, EnsembleSection) else settings.seeds
        self._resume, self._operation = resume, operation
        self._checkpoint_root = checkpoint_root if checkpoint_root is not None else default_checkpoint_root()
        self._cache = cache
        self._progress = progress
        self._cancellation = cancellation if cancellation is not None else Cancellation()
        self._steps = Steps(progress, self._cancellation)
        self._checkpoint: DirectoryCheckpoint | None = None

    @property
    def checkpoint(self) -> Path | None:
        """What ``resume`` would continue from, such as the newest checkpoint; ``None`` if there is nothing."""
        return None if self._checkpoint is None else left_by_run(self._checkpoint)

    def execute(self) -> TrainingResult:
        """Train, evaluate and store the model.

        Raises:
            BadInputError: the strategy, the data or the device is not suitable; nothing is stored.
            NothingToResumeError: there is no checkpoint to resume from.
            CancelledError: the run was cancelled; a checkpoint is left if training had begun.
            TrialStoreError: the training cannot be recorded; no model is stored.
        """
        plan, bars = self._plan()
        digests = {symbol: {name: bars_digest(part) for name, part in own.items()} for symbol, own in bars.items()}
        data_print = fingerprint(digest for own in digests.values() for digest in own.values())
        source = self._source
        if source is not None:
            source.check(data_print)
        # A training from an evaluation keeps other weights than one with the same settings.
        of_weights = data_print if source is None else f"{data_print} {source.record.reference}"
        key = run_key(plan.fitted, of_weights, plan.plugin, plan.device, self._seeds)
        with reserve_checkpoint(self._checkpoint_root, self.strategy.name, key, resume=self._resume) as checkpoint:
            self._checkpoint = checkpoint
            resumed = self._resume
            if not resumed and self.checkpoint is not None:
                checkpoint.clear()
                self._progress(ProgressEvent("checkpoint", fraction=1.0, message=_DISCARDED))
            caches = {symbol: SymbolCache(self._cache, own, digests=digests[symbol]) for symbol, own in bars.items()}
            samples = prepare_samples(
                plan.pipeline, plan.fitted.training, bars, plan.window, caches, self._steps, divided=plan.parts
            )
            base = {symbol: own[plan.pipeline.timeframes[0]] for symbol, own in bars.items()}
            periods = {symbol: split_periods(own, base[symbol], plan.reserve) for symbol, own in samples.split.items()}
            if source is not None:
                periods = source.boundaries(periods)
            data = data_reference(self.strategy, data_print, base, periods)
            record = None if source is None else source.recorded(base)
            data_warnings = (*jump_warnings(list(base.values())), *samples.losses)
            # The bars take as much memory as the features, and are not needed any more.
            del bars, base
            judged = _judged_parts(samples)
            training = self._training_data(samples)
            kept = self._fit(plan, training, judged, checkpoint)
            found = self._explain(plan, samples, judged, kept)
            model = kept.model
            warnings = (
                *data_warnings,
                *unread_code_warnings(self.strategy),
                *kept.warnings,
                *equal_members_warnings(plan.model_type.name, kept.members),
                *_size_warnings(plan, samples, model),
                *baseline_warnings(plan.task.output, kept.metrics, found["baselines"]),
            )
            strategy = _with_seed(self.strategy, kept.task.seed)
            look = training_look(
                strategy, self._text, data, plain_json(kept.metrics), changes=self._changes, model=strategy.name,
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
                    task=kept.task,
                    window=plan.window,
                    crisp=plan.crisp,
                    strategy=strategy,
                    text=self._text,
                    normalizers=plan.pipeline.normalizers(),
                    data=data,
                    samples=training,
                    operation=self._operation,
                    warnings=warnings,
                    metrics=kept.metrics,
                    members=kept.members,
                    evaluation=record,
                    predictions=None if source is None else source.predictions,
                    **found,
                ),
                lambda stored: stored.ref,
            )
            checkpoint.clear()
        counts = {part: {symbol: len(rows) for symbol, rows in samples.rows(part).items()} for part in PARTS}
        epochs = _epochs(model)
        best = None if isinstance(model, TrainedEnsemble) else model.best_epoch
        return TrainingResult(bundle, plan.device, counts, epochs, best, resumed, count, look)

    def _plan(self) -> tuple[_Plan, dict[str, dict[str, Bars]]]:
        """Choose backend and device, create the task, and read the bars.

        The bars come before the device: missing bars are then reported without importing the backend's framework.
        """
        section = self.strategy.model.learner
        plugin, model_type = self._plugins.backend_for(section.type, section.backend)
        crisp = model_type.inputs == "crisp"
        pipeline = FeaturePipeline(self.strategy, crisp=crisp)
        self._count_normalizers(pipeline)
        bars = self._load(pipeline.timeframes)
        if self._source is None:
            bars, reserve = self._without_reserve(bars)
        else:
            bars, reserve = self._source.cut(bars), None
        device = self._steps.run(
            "device", lambda: detect_device(self._plugins, plugin.name, self._device), lambda found: found.name
        )
        if self._source is None:
            fitted, parts = divided(self.strategy)
            task = create_task(fitted, model_type, pipeline.columns, device)
        else:
            fitted, parts = self._source.fitted(self.strategy, model_type), ""
            task = self._source.task(create_task(fitted, model_type, pipeline.columns, device), self.strategy)
        plan = _Plan(
            plugin, model_type, device, fitted, parts, reserve, task, window_of(task, model_type), crisp, pipeline
        )
        return plan, bars

    def _without_reserve(self, bars: _SymbolBars) -> tuple[dict[str, dict[str, Bars]], Period | None]:
        """Return the bars before the reserve, and its period."""
        section = self.strategy.validation
        if section is None or not section.reserve:
            return {symbol: dict(own) for symbol, own in bars.items()}, None
        data = self.strategy.training_data
        base = {symbol: next(iter(own.values())) for symbol, own in bars.items()}
        if data.date_range != self._dates:
            base = bars_of_file(self._bar_store, data.symbols, data.base_timeframe, self._dates)
        start = reserve_start([own.time for own in base.values()], section.reserve)
        kept = sum(len(own.between(start, None)) for own in base.values())
        cut = self._steps.run("reserve", lambda: cut_reserve(bars, start), lambda _: f"{kept:,} bars are not touched")
        return cut, reserve_period(base, start)

    def _count_normalizers(self, pipeline: FeaturePipeline) -> None:
        """Raise an error if the model would have more normalizers than a bundle can store."""
        number = len(normalized_columns(pipeline.columns)) * len(self.strategy.training_data.symbols)
        if number > MOST_NORMALIZERS:
            raise BadInputError(
                f"strategy `{self.strategy.name}`: it needs {number:,} normalizers, one for each symbol and raw input, "
                f"and the limit is {MOST_NORMALIZERS:,}; remove symbols, raw inputs or their lags"
            )

    def _load(self, timeframes: Sequence[str]) -> dict[str, dict[str, Bars]]:
        data = self.strategy.training_data
        loaded = self._steps.each(
            "data",
            data.symbols,
            lambda symbol: load_symbol(self._bar_store, symbol, timeframes, data.date_range),
            lambda bars: f"{sum(len(part) for own in bars.values() for part in own.values()):,} bars",
        )
        common_world(part for own in loaded.values() for part in own.values())
        return loaded

    def _fit(self, plan: _Plan, data: TrainingData, judged: _Parts, checkpoint: DirectoryCheckpoint) -> Judged:
        """Train one model, or one for each seed or member of an ensemble, and evaluate the results."""
        trainer = self._plugins.trainer(plan.plugin.name)

        def evaluate(model: TrainedModel, task: TrainingTask) -> dict[str, Any]:
            predictor = model.predictor()
            return {part: evaluate_part(predictor, own, task, self._cancellation) for part, own in judged.items()}

        ensemble = self.strategy.model if isinstance(self.strategy.model, EnsembleSection) else None
        seeds = self._seeds if ensemble is None else ensemble.members.seeds
        if seeds is None:
            model = fit_model(
                trainer,
                plan.task,
                data,
                progress=self._progress,
                cancellation=self._cancellation,
                checkpoint=checkpoint,
            )
            return Judged(plan.task, model, self._steps.run("evaluation", lambda: evaluate(model, plan.task)))
        tasks = seed_tasks(plan.task, seeds)
        loader = self._plugins.loader(plan.plugin.name)
        store = MemberStore(
            checkpoint.directory,
            self._plugins.storage(plan.plugin.name),
            lambda directory: loader.load(directory, plan.device.name),
        )
        outcomes = train_population(
            trainer,
            plan.model_type,
            [Member(task, data) for task in tasks],
            store=store,
            checkpoint=checkpoint,
            progress=self._progress,
            cancellation=self._cancellation,
            resources=default_resources(),
        )
        if ensemble is not None:
            return self._steps.run(
                "evaluation",
                lambda: judge_ensemble(tasks, outcomes, ensemble.vote, evaluate, cancellation=self._cancellation),
            )
        return judge_members(tasks, outcomes, evaluate, progress=self._progress, cancellation=self._cancellation)

    def _training_data(self, samples: Samples) -> TrainingData:
        train = samples.rows("train")
        weigh = self.strategy.training.sample_weights == "uniqueness"
        weights = weigh_samples(train, samples.labels) if weigh else None
        return TrainingData(
            samples.features,
            make_part(train, samples.labels, samples.first_row, weights),
            make_part(samples.rows("validation"), samples.labels, samples.first_row),
        )

    def _explain(self, plan: _Plan, samples: Samples, judged: _Parts, kept: Judged) -> dict[str, Any]:
        """Return the baselines, and the importance of the inputs of the kept model."""
        if not judged:
            return {"baselines": {}, "importance": None}
        importance = permutation_importance(
            kept.model.predictor().predict,
            next(iter(judged.values())),
            plan.pipeline.columns,
            plan.task.output,
            window=plan.window,
            seed=kept.task.seed,
            progress=self._progress,
            cancellation=self._cancellation,
        )
        return {"baselines": evaluate_baselines(samples.labels, samples.split), "importance": importance}


def _judged_parts(samples: Samples) -> _Parts:
    """Return the samples of each part that is evaluated and not empty."""
    found = {
        part: judged_samples(samples.features, samples.first_row, samples.rows(part), samples.labels)
        for part in _EVALUATED
    }
    return {part: own for part, own in found.items() if own}


def _with_seed(strategy: Strategy, seed: int) -> Strategy:
    return strategy.model_copy(update={"training": strategy.training.model_copy(update={"seed": seed})})


def _size_warnings(plan: _Plan, samples: Samples, model: TrainedModel) -> tuple[str, ...]:
    return too_little_warnings(
        {part: sum(len(rows) for rows in samples.rows(part).values()) for part in PARTS},
        inputs=len(plan.task.feature_ids),
        best_epoch=model.best_epoch,
        epochs=_epochs(model),
    )


def _epochs(model: TrainedModel) -> int:
    """Return the number of epochs that were run, of an ensemble the largest one."""
    # The length of a history would be wrong, as a backend may report only every tenth epoch.
    return max((record.epoch for training in trainings_of(model) for record in training.history), default=0)

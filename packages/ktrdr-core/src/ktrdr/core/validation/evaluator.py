"""Evaluation of a strategy: runs all steps in order, from stored bars to the recorded result."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.jobs.job_settings import BacktestSettings, EvaluationSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.overrides import override_evaluated
from ktrdr.core.training.population import default_resources, train_population
from ktrdr.core.training.run_checkpoint import default_checkpoint_root, left_by_run, reserve_checkpoint, run_key
from ktrdr.core.training.stored_members import MemberStore
from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluated_data import EvaluatedData, prepare_data
from ktrdr.core.validation.evaluation_facts import curves_of, evaluation_facts, out_of_sample
from ktrdr.core.validation.evaluation_look import evaluation_look
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_result import EvaluationFacts
from ktrdr.core.validation.evaluation_setup import EvaluationSetup, last_fold, set_up
from ktrdr.core.validation.fold_plan import Fold
from ktrdr.core.validation.fold_predictions import SymbolPredictions, predict_bars
from ktrdr.core.validation.fold_samples import fold_rows, tested_rows
from ktrdr.core.validation.fold_trainings import (
    FoldTraining,
    TrainedFolds,
    check_number,
    evaluation_seeds,
    fold_members,
)
from ktrdr.core.validation.judgement import Judgement
from ktrdr.core.validation.path_accounts import TradedPaths, inputs_of
from ktrdr.core.validation.reserve_opening import closed_reserve, open_reserve, reserve_inputs, reserve_rows
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps

__all__ = ["CHECKPOINT_DISCARDED", "Evaluator"]

T = TypeVar("T")

_SECONDS_BETWEEN_REPORTS = 0.1
CHECKPOINT_DISCARDED = (
    "the checkpoint of an interrupted run is discarded; to continue from such a checkpoint, resume the run"
)
"""Message of a run that does not resume what an earlier one left."""


class Evaluator:
    """Trains all folds of a strategy with all seeds, trades their predictions, and records the evaluation.

    The same strategy, data, seeds and kind of machine give the same result, even if the run is killed and resumed.

    Args:
        strategy: a strategy from the loader.
        text: text of the strategy file, unchanged.
        bar_store: store of the bars.
        plugins: the installed backends.
        trials: ledger that the evaluation is recorded in.
        settings: seeds, capital, costs, and overrides of the strategy.
        resume: resume from what an interrupted run with the same strategy, data, folds and seeds left. If False, it is
            discarded.
        operation: id of the operation that this run is an attempt of, if any.
        checkpoint_root: directory of the checkpoints, by default ``$KTRDR_HOME/checkpoints``.
        cache: cache of features; by default none.
        progress: receives an event for each step.
        cancellation: stops the run between two batches or steps.
        kind: kind of the looks that are recorded.
        setup: backend, task, bars and folds, if they are known already; they must be those of strategy and settings.

    Raises:
        BadInputError: the overrides do not fit the strategy.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        text: str,
        bar_store: BarStore,
        plugins: PluginManager,
        trials: TrialLedger,
        settings: EvaluationSettings,
        resume: bool = False,
        operation: str | None = None,
        checkpoint_root: Path | None = None,
        cache: ArrayCache = NO_CACHE,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
        kind: str = "evaluation",
        setup: EvaluationSetup | None = None,
    ) -> None:
        self.strategy = override_evaluated(strategy, settings)
        self._dates = strategy.training_data.date_range
        self._text, self._settings = text, settings
        self._bar_store, self._plugins, self._trials = bar_store, plugins, trials
        self._resume, self._operation, self._kind = resume, operation, kind
        self._setup = setup
        self._checkpoint_root = checkpoint_root if checkpoint_root is not None else default_checkpoint_root()
        self._cache = cache
        self._progress = progress
        self._cancellation = cancellation if cancellation is not None else Cancellation()
        self._steps = Steps(progress, self._cancellation)
        self._checkpoint: DirectoryCheckpoint | None = None
        self._seconds: dict[str, float] = {}

    @property
    def checkpoint(self) -> Path | None:
        """What ``resume`` would continue from; ``None`` if there is nothing."""
        return None if self._checkpoint is None else left_by_run(self._checkpoint)

    def execute(self) -> Evaluation:
        """Evaluate, record the evaluation, and return it.

        Raises:
            BadInputError: the strategy, the data or the device is not suitable.
            NothingToResumeError: there is nothing to resume from.
            PredictionError: a model fails, or predicts NaN.
            CancelledError: the run was cancelled; trained members and a checkpoint are left.
            TrialStoreError: the evaluation cannot be recorded.
        """
        begun = time.perf_counter()
        with self._timed("data"):
            setup = self._setup or set_up(
                self.strategy,
                self._dates,
                bar_store=self._bar_store,
                plugins=self._plugins,
                device=self._settings.device,
                steps=self._steps,
            )
            opened = self._settings.reserve
            inputs = inputs_of(setup.bars, setup.bounds, "tested period")
            inputs_after = reserve_inputs(setup) if opened else ()
            folds = (*setup.plan.folds, *([last_fold(setup)] if opened else []))
            model = self.strategy.model
            seeds = evaluation_seeds(self.strategy.training.seed, self._settings.seeds, model)
            check_number(len(folds), len(seeds), model)
            digests = _digests(setup.bars)
            data_print = fingerprint(digest for own in digests.values() for digest in own.values())
        key = _key(setup, data_print, seeds, folds)
        with reserve_checkpoint(self._checkpoint_root, self.strategy.name, key, resume=self._resume) as checkpoint:
            self._checkpoint = checkpoint
            if not self._resume and self.checkpoint is not None:
                checkpoint.clear()
                self._progress(ProgressEvent("checkpoint", fraction=1.0, message=CHECKPOINT_DISCARDED))
            with self._timed("features"):
                data = self._prepare(setup, setup.bars, digests)
                whole = self._prepare(setup, setup.stored, _digests(setup.stored), "reserve: ") if opened else None
                trainings = [self._fold(setup, data, fold) for fold in folds]
            with self._timed("training"):
                trained = self._train(setup, trainings, seeds, checkpoint)
            with self._timed("prediction"):
                predictions = self._predict(setup, data, whole, trainings, trained)
            places = range(len(setup.plan.folds))
            judgement = Judgement(setup, data, [trainings[place] for place in places], trained, predictions)
            trading = self._settings.to(BacktestSettings, symbols=None, start=None, end=None, seed=0)
            with self._timed("accounts"):
                accounts = judgement.trade(inputs, trading, self._cancellation, self._each)
            with self._timed("metrics"):
                folds_found = [judgement.fold_result(place) for place in self._each("metrics", "folds", places)]
                found = judgement.path_metrics(accounts)
            looks = [self._look(accounts, data_print)]
            reserve = closed_reserve(setup)
            if whole is not None:
                with self._timed("reserve"):
                    reserve, after = open_reserve(
                        setup,
                        whole,
                        trainings[-1],
                        trained,
                        predictions,
                        len(places),
                        inputs=inputs_after,
                        settings=trading,
                        each=self._each,
                        cancellation=self._cancellation,
                    )
                looks.append(self._look(after, data_print))
            facts = evaluation_facts(
                judgement,
                folds_found,
                accounts,
                found,
                reserve,
                data_fingerprint=data_print,
                distribution=self._plugins.record(setup.plugin.name).distribution,
            )
            self._cancellation.raise_if_requested()
            self._trials.record(looks)
            checkpoint.clear()
        self._seconds["total"] = time.perf_counter() - begun
        return Evaluation(
            self._counted(facts, looks),
            self.strategy,
            self._text,
            curves_of(judgement, accounts),
            out_of_sample(judgement, accounts),
            *looks,
        )

    def _look(self, accounts: TradedPaths, data_print: str) -> Look:
        return evaluation_look(
            self.strategy,
            self._text,
            self._settings,
            accounts,
            training_data=data_print,
            operation=self._operation,
            kind=self._kind,
        )

    def _counted(self, facts: EvaluationFacts, looks: Sequence[Look]) -> EvaluationFacts:
        """Return the facts with the counts of trials on the tested bars and on an opened reserve, and the seconds."""
        count = self._trials.count(looks[0].span, strategy=looks[0].strategy).with_elsewhere(self._settings.trials)
        changes: dict[str, Any] = {"trial_count": count.to_json(), "seconds": dict(self._seconds)}
        if len(looks) > 1 and facts.reserve is not None:
            opened = self._trials.count(looks[1].span).known
            changes["reserve"] = facts.reserve.model_copy(update={"opened": opened})
        return facts.model_copy(update=changes)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def _each(self, step: str, unit: str, items: Sequence[T]) -> Iterator[T]:
        """Yield the items, with a report before some of them and a look at the cancellation before each."""
        last = -1.0
        for number, item in enumerate(items):
            self._cancellation.raise_if_requested()
            if time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS:
                last = time.monotonic()
                self._progress(ProgressEvent(step, number, len(items), unit, number / len(items)))
            yield item
        self._progress(ProgressEvent(step, len(items), len(items), unit, 1.0))

    def _prepare(
        self,
        setup: EvaluationSetup,
        bars: Mapping[str, Mapping[str, Bars]],
        digests: Mapping[str, Mapping[str, bytes]],
        part: str = "",
    ) -> EvaluatedData:
        caches = {symbol: SymbolCache(self._cache, own, digests=digests[symbol]) for symbol, own in bars.items()}
        return prepare_data(setup.pipeline, self.strategy.training, bars, setup.window, caches, self._steps, part)

    def _fold(self, setup: EvaluationSetup, data: EvaluatedData, fold: Fold) -> FoldTraining:
        self._cancellation.raise_if_requested()
        rows = fold_rows(setup.plan, fold, setup.times, data.usable, setup.window)
        fitted = data.fit(rows.train)
        name = f"fold {fold.number}" if fold.test else "the training before the reserve"
        return FoldTraining(name, fold, rows, fitted, data.training_data(rows, fitted))

    def _train(
        self,
        setup: EvaluationSetup,
        folds: Sequence[FoldTraining],
        seeds: Sequence[int],
        checkpoint: DirectoryCheckpoint,
    ) -> TrainedFolds:
        """Train all folds and seeds as one population."""
        name = setup.plugin.name
        loader = self._plugins.loader(name)
        store = MemberStore(
            checkpoint.directory,
            self._plugins.storage(name),
            lambda directory: loader.load(directory, setup.device.name),
        )
        outcomes = train_population(
            self._plugins.trainer(name),
            setup.model_type,
            fold_members(folds, setup.task, seeds, self.strategy.model),
            store=store,
            checkpoint=checkpoint,
            progress=self._progress,
            cancellation=self._cancellation,
            resources=default_resources(),
        )
        return TrainedFolds.of(folds, outcomes, seeds, self.strategy.model)

    def _predict(
        self,
        setup: EvaluationSetup,
        data: EvaluatedData,
        whole: EvaluatedData | None,
        folds: Sequence[FoldTraining],
        trained: TrainedFolds,
    ) -> dict[tuple[int, int], dict[str, SymbolPredictions]]:
        """Predict all bars of each fold's test part with each of its models."""
        found = {}
        reserved = {} if whole is None else reserve_rows(setup)
        for number, seed in self._each("prediction", "models", sorted(trained.models)):
            fold = folds[number]
            # The last fold is tested on the reserve.
            source = data if whole is None or fold.fold.test else whole
            predictor = trained.predictor(number, seed)
            own = {}
            for symbol, bars in source.base.items():
                tested = tested_rows(setup.plan, fold.fold, bars.time) if fold.fold.test else reserved[symbol]
                own[symbol] = predict_bars(
                    predictor,
                    partial(_features, source, symbol, fold),
                    # A symbol that the fold was not trained with is not predicted.
                    source.complete[symbol] & bool(len(fold.rows.train[symbol])),
                    tested,
                    output=setup.task.output,
                    classes=setup.task.classes,
                    time=bars.time,
                    name=f"{fold.name}, seed {trained.seeds[seed]}, {symbol}",
                    cancellation=self._cancellation,
                )
            found[number, seed] = own
        return found


def _features(data: EvaluatedData, symbol: str, fold: FoldTraining, first: int, end: int) -> np.ndarray:
    return data.features(symbol, first, end, fold.fitted)


def _digests(bars: Mapping[str, Mapping[str, Bars]]) -> dict[str, dict[str, bytes]]:
    return {symbol: {name: bars_digest(part) for name, part in own.items()} for symbol, own in bars.items()}


def _key(setup: EvaluationSetup, data_print: str, seeds: Sequence[int], folds: Sequence[Fold]) -> str:
    """Return a hash of everything that the trained weights depend on, 24 hexadecimal digits."""
    training = run_key(setup.strategy, data_print, setup.plugin, setup.device)
    parts = [[list(fold.train), list(fold.validation), list(fold.test)] for fold in folds]
    plan = [setup.plan.look_ahead, setup.plan.embargo, setup.validation.model_dump(mode="json")]
    run = ["evaluation", training, plan, parts, list(seeds)]
    return hashlib.sha256(json.dumps(run, allow_nan=False).encode()).hexdigest()[:24]

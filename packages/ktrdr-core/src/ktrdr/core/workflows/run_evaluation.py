"""Workflow that evaluates a strategy on folds of its data."""

from __future__ import annotations

import os
from pathlib import Path

from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import CancelledError
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluator import Evaluator
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.workflows.places import bars_in, cache_in, plugins_or_all, trials_in

__all__ = ["evaluate"]


def evaluate(
    strategy: LoadedStrategy | str | os.PathLike[str],
    settings: EvaluationSettings | None = None,
    *,
    resume: bool = False,
    operation: str | None = None,
    bar_store: BarStore | None = None,
    plugins: PluginManager | None = None,
    trials: TrialLedger | None = None,
    checkpoint_root: Path | None = None,
    cache: ArrayCache | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> Evaluation:
    """Evaluate a strategy on the folds of its section ``validation``, and record the evaluation as a trial.

    Every fold is trained with every seed. Each tested bar is predicted by models that were not trained on it, and every
    path of these predictions is traded with costs. The same strategy, data, seeds and kind of machine give the same
    result, even if the run is killed and resumed.

    Args:
        strategy: path of the strategy file, or the loaded strategy.
        settings: seeds, capital, costs and overrides of the strategy; by default five seeds without costs.
        resume: resume from what an interrupted run with the same strategy, data, folds and seeds left. If False, it is
            discarded.
        operation: id of the operation that this run is an attempt of, if any.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        plugins: backends to train with; by default all installed ones.
        trials: the ledger that the evaluation is recorded in; by default ``$KTRDR_HOME/trials.sqlite``.
        checkpoint_root: directory of the checkpoints; by default ``$KTRDR_HOME/checkpoints``.
        cache: cache of features; by default ``$KTRDR_HOME/cache``.
            :data:`~ktrdr.core.cache.array_cache.NO_CACHE` bypasses it.
        progress: receives events of each step.
        cancellation: stops the evaluation between two batches or steps.

    Returns:
        The evaluation; it is not stored yet.

    Raises:
        BadInputError: the strategy, the data or the device is not suitable.
        NothingToResumeError: there is nothing to resume from.
        PredictionError: a model fails, or predicts NaN.
        CancelledError: the evaluation was cancelled; ``checkpoint`` of the error is what ``resume`` continues from.
        TrialStoreError: the evaluation cannot be recorded.
    """
    known = plugins_or_all(plugins)
    loaded = strategy if isinstance(strategy, LoadedStrategy) else load_strategy(strategy, plugins=known)
    evaluator = Evaluator(
        loaded.strategy,
        text=loaded.text,
        bar_store=bars_in(bar_store),
        plugins=known,
        trials=trials_in(trials),
        settings=settings if settings is not None else EvaluationSettings(),
        resume=resume,
        operation=operation,
        checkpoint_root=checkpoint_root,
        cache=cache_in(cache, progress),
        progress=progress,
        cancellation=cancellation,
    )
    try:
        return evaluator.execute()
    except CancelledError as error:
        error.checkpoint = evaluator.checkpoint
        raise

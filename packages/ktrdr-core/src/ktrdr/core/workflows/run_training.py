"""Workflow that trains a strategy."""

from __future__ import annotations

import os
from pathlib import Path

from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.evaluated_source import EvaluatedSource
from ktrdr.core.training.executor import TrainingExecutor
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.workflows.places import bars_in, cache_in, models_in, plugins_or_all, trials_in

__all__ = ["train"]


def train(
    strategy: LoadedStrategy | str | os.PathLike[str] | None,
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    operation: str | None = None,
    bar_store: BarStore | None = None,
    model_store: ModelStore | None = None,
    plugins: PluginManager | None = None,
    trials: TrialLedger | None = None,
    checkpoint_root: Path | None = None,
    evaluation_root: Path | None = None,
    cache: ArrayCache | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> TrainingResult:
    """Train a strategy, and store the model as the next version of its name.

    The same strategy, data, seed and kind of machine give the same weights, even if the run is killed and resumed.

    A training from an evaluation takes strategy and seed from it, and uses all bars before its reserve for the median
    of its best epochs. The model has no metrics of its own; its bundle has those of the evaluation.

    Args:
        strategy: path of the strategy file, or the loaded strategy; ``None`` if the settings name an evaluation.
        settings: overrides of the strategy, or the evaluation to train from; by default neither.
        resume: resume from the checkpoint that an interrupted run with the same strategy, data, seed, backend and kind
            of device left. If False, such a checkpoint is discarded.
        operation: id of the operation that this run is an attempt of, if any; all its attempts store one model.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        model_store: store that the model is added to; by default ``$KTRDR_HOME/models``.
        plugins: backends to train with; by default all installed ones.
        trials: the ledger that the training is recorded in; by default ``$KTRDR_HOME/trials.sqlite``.
        checkpoint_root: directory of the checkpoints; by default ``$KTRDR_HOME/checkpoints``.
        evaluation_root: store of the evaluations; by default ``$KTRDR_HOME/evaluations``.
        cache: cache of features; by default ``$KTRDR_HOME/cache``.
            :data:`~ktrdr.core.cache.array_cache.NO_CACHE` bypasses it.
        progress: receives events of each step.
        cancellation: stops the training between two batches.

    Returns:
        The stored model, with numbers of samples and epochs; its metrics are in ``result.bundle.manifest``.

    Raises:
        BadInputError: the strategy, the data or the device is not suitable, or the stored bars are not those of the
            evaluation; nothing is stored.
        TrialStoreError: the training cannot be recorded; nothing is stored.
        NothingToResumeError: there is no checkpoint to resume from.
        CancelledError: the training was cancelled; ``checkpoint`` of the error is what ``resume`` continues from.
    """
    known = plugins_or_all(plugins)
    asked = settings if settings is not None else TrainingSettings()
    chosen, text, source = _chosen(strategy, asked, known, evaluation_root)
    executor = TrainingExecutor(
        chosen,
        text=text,
        bar_store=bars_in(bar_store),
        model_store=models_in(model_store),
        plugins=known,
        trials=trials_in(trials),
        settings=asked,
        resume=resume,
        operation=operation,
        checkpoint_root=checkpoint_root,
        cache=cache_in(cache, progress),
        progress=progress,
        cancellation=cancellation,
        source=source,
    )
    try:
        return executor.execute()
    except CancelledError as error:
        error.checkpoint = executor.checkpoint
        raise


def _chosen(
    strategy: LoadedStrategy | str | os.PathLike[str] | None,
    settings: TrainingSettings,
    plugins: PluginManager,
    evaluation_root: Path | None,
) -> tuple[Strategy, str, EvaluatedSource | None]:
    """Return the strategy with its text, and the evaluation that it is trained from, if any."""
    if (strategy is None) == (settings.evaluation is None):
        raise BadInputError(
            "a training needs a strategy, or an evaluation to train from"
            if strategy is None
            else f"evaluation {settings.evaluation} has a strategy already; leave out the strategy, or the evaluation"
        )
    if strategy is not None:
        loaded = strategy if isinstance(strategy, LoadedStrategy) else load_strategy(strategy, plugins=plugins)
        return loaded.strategy, loaded.text, None
    # The store of evaluations, and what it imports, is needed by few trainings.
    from ktrdr.core.validation.stored_evaluation import load_evaluation
    from ktrdr.core.workflows.evaluated_training import source_of

    assert settings.evaluation is not None
    evaluation = load_evaluation(settings.evaluation, evaluation_root)
    own = evaluation.strategy
    first = own.training.model_copy(update={"seed": evaluation.facts.seeds[0]})
    return own.model_copy(update={"training": first}), evaluation.text, source_of(evaluation)

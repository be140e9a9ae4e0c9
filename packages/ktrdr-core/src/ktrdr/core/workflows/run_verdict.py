"""Workflow that judges whether a strategy has an edge."""

from __future__ import annotations

import os
from pathlib import Path

from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import CancelledError
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.verdicts.verdict_estimate import VerdictEstimate, estimate_verdict
from ktrdr.core.verdicts.verdict_maker import VerdictMaker
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.workflows.places import bars_in, cache_in, plugins_or_all, trials_in

__all__ = ["estimate", "judge"]


def judge(
    strategy: LoadedStrategy | str | os.PathLike[str],
    settings: VerdictSettings | None = None,
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
) -> Verdict:
    """Judge whether a strategy has an edge, and record the look at its bars as a trial.

    Checks that nothing looks ahead and that the bars are sound, trains the strategy on copies of the bars in which no
    direction can be predicted, evaluates it on the real bars, and counts the trials. The same strategy, data, settings
    and kind of machine give the same verdict, even if the run is killed and resumed.

    Args:
        strategy: path of the strategy file, or the loaded strategy.
        settings: costs, form of the verdict and overrides of the strategy.
        resume: resume from the worlds that an interrupted run has finished. If False, they are discarded.
        operation: id of the operation that this run is an attempt of, if any.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        plugins: backends to train with; by default all installed ones.
        trials: the ledger that the look is recorded in; by default ``$KTRDR_HOME/trials.sqlite``.
        checkpoint_root: directory of the checkpoints; by default ``$KTRDR_HOME/checkpoints``.
        cache: cache of features; by default ``$KTRDR_HOME/cache``.
        progress: receives events of each step.
        cancellation: stops the run between two batches or steps.

    Returns:
        The verdict; it is not stored yet.

    Raises:
        BadInputError: the strategy, the data or the device is not suitable.
        NothingToResumeError: there is nothing to resume from.
        PredictionError: a model fails, or predicts NaN.
        CancelledError: the run was cancelled; ``checkpoint`` of the error is what ``resume`` continues from.
        TrialStoreError: the look cannot be recorded.
    """
    known = plugins_or_all(plugins)
    loaded = strategy if isinstance(strategy, LoadedStrategy) else load_strategy(strategy, plugins=known)
    maker = VerdictMaker(
        loaded.strategy,
        text=loaded.text,
        bar_store=bars_in(bar_store),
        plugins=known,
        trials=trials_in(trials),
        settings=settings if settings is not None else VerdictSettings(),
        resume=resume,
        operation=operation,
        checkpoint_root=checkpoint_root,
        cache=cache_in(cache, progress),
        progress=progress,
        cancellation=cancellation,
    )
    try:
        return maker.execute()
    except CancelledError as error:
        error.checkpoint = maker.checkpoint
        raise


def estimate(
    strategy: LoadedStrategy | str | os.PathLike[str],
    settings: VerdictSettings | None = None,
    *,
    bar_store: BarStore | None = None,
    plugins: PluginManager | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> VerdictEstimate:
    """Return how long a verdict takes on this machine, by training in a few null worlds.

    Nothing is looked at out of sample, so nothing is recorded.

    Args:
        strategy: path of the strategy file, or the loaded strategy.
        settings: settings of the verdict.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        plugins: backends to train with; by default all installed ones.
        progress: receives events of each step.
        cancellation: stops the trainings.

    Returns:
        The estimate.

    Raises:
        BadInputError: the strategy, the data or the device is not suitable.
        CancelledError: on request.
    """
    known = plugins_or_all(plugins)
    loaded = strategy if isinstance(strategy, LoadedStrategy) else load_strategy(strategy, plugins=known)
    return estimate_verdict(
        loaded.strategy,
        settings if settings is not None else VerdictSettings(),
        bar_store=bars_in(bar_store),
        plugins=known,
        progress=progress,
        cancellation=cancellation if cancellation is not None else Cancellation(),
    )

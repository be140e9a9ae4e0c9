"""Workflow that sweeps a model in this process."""

from __future__ import annotations

import time

from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import SweepSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.sweeps.grid import (
    SweepResult,
    check_sweep,
    prepare_sweep,
    rank,
    resample_trial,
    run_trial,
    sweep_result,
)
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.places import bars_in, bundle_of, cache_in, plugins_or_all, trials_in

__all__ = ["sweep"]

_SECONDS_BETWEEN_REPORTS = 0.1


def sweep(
    model: Bundle | str,
    settings: SweepSettings,
    *,
    bar_store: BarStore | None = None,
    model_store: ModelStore | None = None,
    plugins: PluginManager | None = None,
    trials: TrialLedger | None = None,
    cache: ArrayCache | None = None,
    operation: str | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> SweepResult:
    """Trade a model once for every combination of the values in ``settings``, record each as a trial, and rank them.

    Args:
        model: ``name`` for the latest version, ``name/3`` for one, or the bundle itself.
        settings: values to try, metric to rank by, capital, costs, days, symbols.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        model_store: store of the model; by default ``$KTRDR_HOME/models``.
        plugins: backends to predict with; by default all installed ones.
        trials: the ledger that the cells are recorded in; by default ``$KTRDR_HOME/trials.sqlite``.
        cache: cache of indicator values; by default ``$KTRDR_HOME/cache``.
            :data:`~ktrdr.core.cache.array_cache.NO_CACHE` bypasses it.
        operation: id of the operation that the sweep belongs to, if any.
        progress: receives events, at most ten a second.
        cancellation: stops the sweep between two backtests.

    Returns:
        One row per combination, the best first.

    Raises:
        BadInputError: the model, the data or a setting is not suitable; no backtest was run.
        CancelledError: the sweep was cancelled. Trials are recorded only if all backtests had been run.
        TrialStoreError: the cells cannot be recorded.
    """
    ledger = trials_in(trials)
    cancellation = cancellation if cancellation is not None else Cancellation()
    bundle = bundle_of(model, model_store)
    check_sweep(settings, bundle)
    prepared = prepare_sweep(
        settings,
        bundle,
        bar_store=bars_in(bar_store),
        plugins=plugins_or_all(plugins),
        steps=Steps(progress, cancellation),
        cache=cache_in(cache, progress),
        operation=operation,
    )
    cells, found, last = prepared.cells, [], 0.0
    for number, changes in enumerate(cells):
        cancellation.raise_if_requested()
        if time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            progress(ProgressEvent("backtests", number, len(cells), "backtests", number / len(cells)))
        found.append(run_trial(prepared, changes))
    count = ledger.judge([cell.look for cell in found], model=bundle.ref).with_elsewhere(settings.trials)
    rows = rank(settings, [cell.metrics for cell in found], count)
    intervals = []
    for row in rows[: settings.top]:
        cancellation.raise_if_requested()
        intervals.append(resample_trial(prepared, row["settings"]))
    progress(ProgressEvent("backtests", len(cells), len(cells), "backtests", 1.0))
    return sweep_result(settings, prepared.facts, rows, intervals, count)

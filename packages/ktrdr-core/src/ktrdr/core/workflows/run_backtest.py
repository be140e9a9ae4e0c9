"""Workflow that backtests a model."""

from __future__ import annotations

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.workflows.places import bars_in, bundle_of, cache_in, plugins_or_all, trials_in

__all__ = ["backtest"]


def backtest(
    model: Bundle | str,
    settings: BacktestSettings | None = None,
    *,
    bar_store: BarStore | None = None,
    model_store: ModelStore | None = None,
    plugins: PluginManager | None = None,
    trials: TrialLedger | None = None,
    cache: ArrayCache | None = None,
    operation: str | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> BacktestResult:
    """Trade a model on stored bars, and record the backtest as a trial.

    The result is not stored; :func:`~ktrdr.core.runs.run_store.store_run` stores it.

    Args:
        model: ``name`` for the latest version, ``name/3`` for one, or the bundle itself.
        settings: capital, costs, days, symbols; by default the data that the model was not trained on, without costs.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        model_store: store of the model; by default ``$KTRDR_HOME/models``.
        plugins: backends to predict with; by default all installed ones.
        trials: the ledger that the backtest is recorded in; by default ``$KTRDR_HOME/trials.sqlite``.
        cache: cache of indicator values; by default ``$KTRDR_HOME/cache``.
            :data:`~ktrdr.core.cache.array_cache.NO_CACHE` bypasses it.
        operation: id of the operation that the backtest belongs to, if any.
        progress: receives events of each step.
        cancellation: stops the backtest between two steps.

    Returns:
        Trades, equity and metrics, with the metrics of buy and hold and of simple baselines for comparison.

    Raises:
        BadInputError: the model, the data or a setting is not suitable.
        PredictionError: the model fails, or predicts NaN.
        CancelledError: the backtest was cancelled.
        TrialStoreError: the backtest cannot be recorded.
    """
    return run_backtest(
        bundle_of(model, model_store),
        bar_store=bars_in(bar_store),
        plugins=plugins_or_all(plugins),
        trials=trials_in(trials),
        settings=settings if settings is not None else BacktestSettings(),
        cache=cache_in(cache, progress),
        operation=operation,
        progress=progress,
        cancellation=cancellation,
    )

"""Backtest of a model, from its bundle to the result: bars, features, predictions, decisions, simulation, metrics."""

from __future__ import annotations

import dataclasses

from ktrdr.core.backtesting.account import trade
from ktrdr.core.backtesting.backtest_look import backtest_look
from ktrdr.core.backtesting.prepare import prepare_backtest
from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.summary import summarize
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.steps import Steps

__all__ = ["run_backtest"]


def run_backtest(
    bundle: Bundle,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    trials: TrialLedger,
    settings: BacktestSettings,
    cache: ArrayCache = NO_CACHE,
    operation: str | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> BacktestResult:
    """Trade a model on stored bars and record the backtest in the ledger of trials.

    The result is returned only after the backtest is recorded. Nothing else is written;
    :meth:`~.results.BacktestResult.write` writes the result's files.

    Args:
        bundle: the model; it is verified, and checked against the installed plugin, before anything else.
        bar_store: market data.
        plugins: the installed backends.
        trials: ledger that records the backtest and counts the trials on the same bars.
        settings: settings of the backtest.
        cache: cache of indicator values; by default none.
        operation: id of the operation that the backtest belongs to, if any.
        progress: receives the progress of the run.
        cancellation: stops the run on request.

    Returns:
        The result, with its count of trials.

    Raises:
        BadInputError: the model does not fit its plugin, a symbol or timeframe is outside the strategy's deployment,
            or there are no bars, too few for the warm-up, or none that the model has not seen.
        PredictionError: the model fails, or predicts NaN.
        CancelledError: cancellation was requested.
        TrialStoreError: the backtest cannot be recorded.
    """
    cancellation = cancellation if cancellation is not None else Cancellation()
    steps = Steps(progress, cancellation)
    prepared = prepare_backtest(
        bundle, bar_store=bar_store, plugins=plugins, settings=settings, cache=cache, steps=steps
    )
    inputs = prepared.inputs
    account = steps.run(
        "simulation",
        lambda: trade(bundle.manifest.strategy, inputs, prepared.outputs, settings, cancellation),
        lambda done: f"{len(done.simulation.trades):,} trades",
    )
    result = steps.run(
        "metrics",
        lambda: summarize(bundle, settings, prepared, account),
    )
    look = backtest_look(bundle, settings, inputs, account, result.metrics, operation)
    count = trials.judge([look], model=bundle.ref)
    return dataclasses.replace(result, look=look).counted(count.with_elsewhere(settings.trials))

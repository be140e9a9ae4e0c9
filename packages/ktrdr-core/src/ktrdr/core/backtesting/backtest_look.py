"""Rows of the ledger of trials for backtests: one row (a look) per evaluation of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.account import Account
from ktrdr.core.backtesting.closed_reserve import opened_reserve
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import fingerprint
from ktrdr.core.data.worlds import common_world
from ktrdr.core.jobs.job_settings import TradingSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.inference_choice import trades_out_of_sample
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.trials.daily_returns import daily_returns, day_ends
from ktrdr.core.trials.look import Look, Span

__all__ = ["KEPT_METRICS", "account_terms", "backtest_look", "seconds_of", "span_of"]

KEPT_METRICS = (
    "total_return", "sharpe", "sharpe_error", "max_drawdown", "exposure", "trades", "win_rate", "profit_factor",
    "net_profit", "costs",
)  # fmt: skip
"""Metrics of an account that a row of the ledger stores."""


def backtest_look(
    bundle: Bundle,
    settings: TradingSettings,
    inputs: Sequence[SymbolInput],
    account: Account,
    metrics: Mapping[str, Any],
    operation: str | None,
) -> Look:
    """Return the row of the ledger of trials for a backtest of a model with its own strategy.

    Args:
        bundle: the model.
        settings: capital and costs.
        inputs: the bars per symbol.
        account: the account that traded them.
        metrics: metrics of the account.
        operation: id of the operation that the backtest belongs to, if any.
    """
    manifest, simulation = bundle.manifest, account.simulation
    evaluation = manifest.evaluation if trades_out_of_sample(manifest, settings) else None
    traded = [symbol.traded for symbol in inputs]
    return Look(
        kind="backtest",
        strategy=choice_hash(manifest.strategy),
        text=bundle.strategy_text,
        changes={},
        parent=None,
        # The models of an evaluation differ in the seed, and are one trial.
        seed=manifest.seed if evaluation is None else None,
        seeds=() if evaluation is None else evaluation.trained_with,
        training_data=manifest.data.fingerprint,
        data=fingerprint(symbol.digest for symbol in inputs),
        timeframe=manifest.strategy.training_data.base_timeframe,
        span=span_of(traded),
        account=account_terms(settings),
        metrics={name: metrics[name] for name in KEPT_METRICS},
        returns=daily_returns(simulation.equity, settings.capital, day_ends(simulation.time)),
        model=manifest.ref,
        operation=operation,
        reserve=opened_reserve(manifest, {bars.symbol: bars for bars in traded}),
    )


def span_of(bars: Sequence[Bars]) -> Span:
    """Return the symbols of ``bars``, the time from their first open to their last close, and their world."""
    return Span(
        tuple(sorted(each.symbol for each in bars)),
        seconds_of(min(each.time[0] for each in bars)),
        seconds_of(max(each[-1:].close_time[0] for each in bars)),
        common_world(bars),
    )


def account_terms(settings: TradingSettings) -> dict[str, float]:
    """Return capital and costs: the settings whose change makes another trial of the same strategy."""
    return {"capital": settings.capital, "commission": settings.commission, "slippage": settings.slippage}


def seconds_of(time: np.datetime64) -> int:
    """Return a time in seconds since 1970-01-01 UTC."""
    return int(time.astype("datetime64[s]").astype(np.int64))

"""Accounts that trade the predictions of a path, beside buy and hold and the majority class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.backtesting.account import Account, trade, trade_constant
from ktrdr.core.backtesting.benchmark import buy_and_hold
from ktrdr.core.backtesting.metrics import account_metrics
from ktrdr.core.backtesting.prepare import SymbolInput
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.backtesting.summary import account_curve, trading_metrics
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.errors import BadInputError
from ktrdr.core.data.bars import Bars
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.strategy.model import CLASSES, Strategy
from ktrdr.core.trials.look import HIGHEST_SHARPE
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Traded", "market_of", "median_account", "metrics_of", "trade_path"]


@dataclass(frozen=True, slots=True, eq=False)
class Traded:
    """Bars that accounts trade, and what every account is compared with.

    Attributes:
        strategy: its ``decisions`` and ``risk`` are the rules.
        inputs: bars of each symbol; those before ``first`` are history.
        settings: capital and costs.
    """

    strategy: Strategy
    inputs: tuple[SymbolInput, ...]
    settings: BacktestSettings

    @property
    def bars(self) -> list[Bars]:
        """The traded bars of each symbol."""
        return [own.traded for own in self.inputs]

    def hold(self, account: Account) -> tuple[np.ndarray, dict[str, Any]]:
        """Return equity and metrics of buying and holding on the bars of ``account``."""
        costs = Costs(self.settings.commission, self.settings.slippage)
        equity = buy_and_hold(self.bars, account.simulation.time, self.settings.capital, costs)
        curve = dataclasses.replace(account_curve(account, self.settings), equity=equity)
        return equity, account_metrics(curve, brief=True)

    def majority(self, account: Account, majority: int) -> dict[str, Any]:
        """Return the metrics of always predicting one class, by the same rules, on the bars of ``account``."""
        output = (np.arange(len(CLASSES)) == majority).astype(np.float64)
        return metrics_of(trade_constant(self.strategy, account, self.inputs, output, self.settings), self.settings)


def market_of(
    bars: Mapping[str, Mapping[str, Bars]], bounds: Mapping[str, tuple[int, int]], part: str
) -> tuple[SymbolInput, ...]:
    """Return the bars of each symbol that accounts trade, with the history before them.

    Args:
        bars: bars by symbol and timeframe, the base timeframe first.
        bounds: first traded row of the base bars, and the row behind the last, by symbol.
        part: what is traded, for messages.

    Raises:
        BadInputError: a symbol has no bar to trade.
    """
    inputs = []
    for symbol, own in bars.items():
        first, end = bounds[symbol]
        if first >= end:
            raise BadInputError(
                f"{symbol} has no bar in the {part}; leave the symbol out, or choose dates on which it has bars"
            )
        name, base = next(iter(own.items()))
        inputs.append(SymbolInput({**own, name: base[:end]}, first))
    return tuple(inputs)


def trade_path(
    traded: Traded, outputs: Sequence[np.ndarray], cancellation: Cancellation
) -> tuple[Account, dict[str, Any]]:
    """Trade the predictions of a path, and return the account and its metrics.

    Args:
        traded: bars, rules, capital and costs.
        outputs: predictions of the traded bars of each symbol.
        cancellation: stops the simulation on request.
    """
    account = trade(traded.strategy, traded.inputs, outputs, traded.settings, cancellation)
    return account, metrics_of(account, traded.settings)


def metrics_of(account: Account, settings: BacktestSettings) -> dict[str, Any]:
    """Return the metrics of an account, without those that a sweep leaves out."""
    curve = account_curve(account, settings)
    table = trade_table(account.simulation.trades, [market.bars for market in account.markets])
    return account_metrics(curve, brief=True) | trading_metrics(table, curve, account)


def median_account(metrics: Sequence[Mapping[str, Any]]) -> int:
    """Return the position of the account with the lower median of the Sharpe ratios.

    Of equal ones the first is taken. A ratio that is not defined counts as 0: an account that never trades has none.
    """
    ratios = [
        0.0 if (own := each.get("sharpe")) is None else min(max(own, -HIGHEST_SHARPE), HIGHEST_SHARPE)
        for each in metrics
    ]
    order = sorted(range(len(ratios)), key=lambda place: (ratios[place], place))
    return order[(len(order) - 1) // 2]

"""Accounts that trade the predictions of paths, beside buy and hold and the majority class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.backtesting.account import Account, trade, trade_constant
from ktrdr.core.backtesting.benchmark import buy_and_hold
from ktrdr.core.backtesting.metrics import AccountCurve, account_metrics
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.backtesting.summary import account_curve, trading_metrics
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.strategy.model import CLASSES, Strategy
from ktrdr.core.trials.look import HIGHEST_SHARPE
from ktrdr.core.validation.evaluation_result import PathResult
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Traded", "TradedPaths", "inputs_of", "median_place", "trade_paths"]

Outputs = Sequence[np.ndarray]
"""Predictions of the traded bars of each symbol."""


@dataclass(frozen=True, slots=True, eq=False)
class Traded:
    """What all accounts of an evaluation share.

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


@dataclass(frozen=True, slots=True, eq=False)
class TradedPaths:
    """All accounts of an evaluation.

    Attributes:
        traded: bars, rules, capital and costs.
        time: ``datetime64[ns]`` ``(n,)``: opens of the traded bars of all symbols together.
        results: path, seed and metrics of each account.
        equity: float64 ``(accounts, n)``.
        curve: the curve of the first account, for years and length of a bar.
        median: position of the account with the lower median of the Sharpe ratios.
        held: equity of buy and hold, float64 ``(n,)``.
        buy_and_hold: its metrics.
        majority: metrics of always predicting the most frequent class of the training samples; ``None`` for a
            regression.
    """

    traded: Traded
    time: np.ndarray
    results: tuple[PathResult, ...]
    equity: np.ndarray
    curve: AccountCurve
    median: int
    held: np.ndarray
    buy_and_hold: Mapping[str, Any]
    majority: Mapping[str, Any] | None

    @property
    def returns(self) -> np.ndarray:
        """Returns of the accounts per bar, float64 ``(accounts, n)``; NaN after a total loss."""
        returns = np.full(self.equity.shape, np.nan)
        for own, equity in zip(returns, self.equity, strict=True):
            known = dataclasses.replace(self.curve, equity=equity).returns
            own[: len(known)] = known
        return returns

    @property
    def held_returns(self) -> np.ndarray:
        """Returns of buy and hold per bar, float64 ``(n,)``; 0 after a total loss."""
        known = dataclasses.replace(self.curve, equity=self.held).returns
        return np.pad(known, (0, len(self.held) - len(known)))


def inputs_of(
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


def trade_paths(
    traded: Traded,
    members: Iterable[tuple[int, int]],
    outputs: Callable[[int, int], Outputs],
    *,
    majority: int | None,
    cancellation: Cancellation,
) -> TradedPaths:
    """Trade the predictions of every path with every seed, and what they are compared with.

    Args:
        traded: bars, rules, capital and costs.
        members: number of the path and seed of each account; at least one.
        outputs: returns the predictions of a path with a seed.
        majority: number of the most frequent class of the training samples; ``None`` for a regression.
        cancellation: stops the simulation on request.

    Raises:
        BadInputError: the decisions do not fit the predictions.
        CancelledError: on request.
    """
    first: Account | None = None
    results, equity = [], []
    for path, seed in members:
        account = trade(traded.strategy, traded.inputs, outputs(path, seed), traded.settings, cancellation)
        first = account if first is None else first
        results.append(PathResult(path=path, seed=seed, metrics=_metrics(account, traded.settings)))
        equity.append(account.simulation.equity)
    assert first is not None  # at least one member
    curve = account_curve(first, traded.settings)
    costs = Costs(traded.settings.commission, traded.settings.slippage)
    held = buy_and_hold(traded.bars, curve.time, traded.settings.capital, costs)
    always = None
    if majority is not None:
        output = (np.arange(len(CLASSES)) == majority).astype(np.float64)
        constant = trade_constant(traded.strategy, first, traded.inputs, output, traded.settings)
        always = _metrics(constant, traded.settings)
    return TradedPaths(
        traded,
        curve.time,
        tuple(results),
        np.stack(equity),
        curve,
        median_place([own.metrics["sharpe"] for own in results]),
        held,
        _uncounted(account_metrics(dataclasses.replace(curve, equity=held), brief=True)),
        always,
    )


def median_place(ratios: Sequence[float | None]) -> int:
    """Return the position of the lower median of Sharpe ratios, the first of equal ones.

    A ratio that is not defined counts as 0: an account that never trades has none.
    """
    known = [0.0 if own is None else min(max(own, -HIGHEST_SHARPE), HIGHEST_SHARPE) for own in ratios]
    order = sorted(range(len(known)), key=lambda place: (known[place], place))
    return order[(len(order) - 1) // 2]


def _metrics(account: Account, settings: BacktestSettings) -> dict[str, Any]:
    """Return the metrics of an account, without those that a sweep leaves out.

    The trials are counted for the whole evaluation, so an account has no number of them.
    """
    curve = account_curve(account, settings)
    table = trade_table(account.simulation.trades, [market.bars for market in account.markets])
    return _uncounted(account_metrics(curve, brief=True) | trading_metrics(table, curve, account))


def _uncounted(metrics: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plain_json(metrics)
    return {name: value for name, value in found.items() if name not in ("trials", "deflated_sharpe")}

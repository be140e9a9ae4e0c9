"""From a model's outputs to an account: decisions, then the simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.prepare import SymbolInput
from ktrdr.core.backtesting.signals import SignalRules, Signals, decide
from ktrdr.core.backtesting.simulation import Costs, Market, Simulation, simulate
from ktrdr.core.data.calendars import bars_per_year, calendar_for
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.strategy.model import Risk, Strategy
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Account", "trade", "trade_constant"]


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """What trading came to.

    Attributes:
        signals: per symbol.
        markets: per symbol.
        simulation: of all of them.
        periods_per_year: bars of all symbols together in a year.
    """

    signals: Sequence[Signals]
    markets: Sequence[Market]
    simulation: Simulation
    periods_per_year: float


def trade(
    strategy: Strategy,
    inputs: Sequence[SymbolInput],
    outputs: Sequence[np.ndarray],
    settings: BacktestSettings,
    cancellation: Cancellation | None = None,
) -> Account:
    """Trade ``outputs``, those of a model for the traded bars of each of ``inputs``, as ``strategy`` says.

    Raises:
        BadInputError: see :func:`~ktrdr.core.backtesting.signals.decide`.
        CancelledError: on request.
    """
    signals = [_decide(strategy, symbol, own) for symbol, own in zip(inputs, outputs, strict=True)]
    markets = [_market(strategy, symbol, own) for symbol, own in zip(inputs, signals, strict=True)]
    simulation = _simulate(strategy, markets, settings, cancellation)
    return Account(signals, markets, simulation, _periods_per_year(markets, simulation.time))


def trade_constant(
    strategy: Strategy,
    account: Account,
    inputs: Sequence[SymbolInput],
    output: np.ndarray,
    settings: BacktestSettings,
) -> Account:
    """Trade as ``account`` did, on a model that says ``output`` (float64 ``(classes,)``) on every bar."""
    unfiltered = strategy.decisions.model_copy(
        update={"filters": strategy.decisions.filters.model_copy(update={"volume_filter": None})}
    )
    idle = not decide(output[np.newaxis], unfiltered).direction.any()
    signals, markets = [], []
    for symbol, market in zip(inputs, account.markets, strict=True):
        n = len(market.bars)
        if idle:
            own = Signals(np.zeros(n, dtype=np.int8), {})
        else:
            own = _decide(strategy, symbol, np.broadcast_to(output, (n, len(output))))
        signals.append(own)
        markets.append(dataclasses.replace(market, direction=own.direction))
    simulation = _simulate(strategy, markets, settings, None)
    return dataclasses.replace(account, signals=signals, markets=markets, simulation=simulation)


def _decide(strategy: Strategy, symbol: SymbolInput, outputs: np.ndarray) -> Signals:
    ratio = None if strategy.decisions.filters.volume_filter is None else symbol.volume_ratio
    return decide(outputs, strategy.decisions, ratio, symbol.base.symbol)


def _market(strategy: Strategy, symbol: SymbolInput, signals: Signals) -> Market:
    atr = symbol.atr if _needs_atr(strategy.risk) else None
    return Market(symbol.traded, signals.direction, atr, symbol.bars_per_year, symbol.extremes)


def _simulate(
    strategy: Strategy, markets: Sequence[Market], settings: BacktestSettings, cancellation: Cancellation | None
) -> Simulation:
    return simulate(
        markets,
        rules=SignalRules.of(strategy.decisions),
        risk=strategy.risk,
        capital=settings.capital,
        costs=Costs(settings.commission, settings.slippage),
        cancellation=cancellation,
    )


def _periods_per_year(markets: Sequence[Market], time: np.ndarray) -> float:
    """Return bars in a year of all symbols together: of the union of their bars where it is long enough to tell, else
    of the symbol whose market is open most."""
    if len(markets) == 1:
        return markets[0].periods_per_year
    bars = [market.bars for market in markets]
    busiest = max(bars, key=lambda each: calendar_for(each.symbol).bars_per_year(each.timeframe))
    return bars_per_year(busiest.symbol, busiest.timeframe, time)


def _needs_atr(risk: Risk) -> bool:
    distances = (risk.stop_loss, risk.take_profit, risk.trailing_stop)
    return any(distance is not None and distance.kind == "atr" for distance in distances)

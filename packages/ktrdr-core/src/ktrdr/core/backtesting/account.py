"""Trading of a model's outputs: decisions, then the simulation of the account."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.signals import SignalRules, Signals, decide
from ktrdr.core.backtesting.simulation import (
    Costs,
    Market,
    Simulation,
    idle_simulation,
    simulate,
    simulation_facts,
)
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.data.calendar_choice import calendar_name, calendar_of
from ktrdr.core.data.calendars import bars_per_year
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.short_texts import first_words, object_repr
from ktrdr.core.strategy.model import Risk, Strategy
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Account", "trade", "trade_constant"]


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """The result of trading a model's outputs with one account.

    Attributes:
        signals: signals per symbol.
        markets: bars and signals per symbol, as the simulation read them.
        simulation: cash, equity, positions and trades of all symbols together.
        periods_per_year: bars of all symbols together in a year.
    """

    signals: Sequence[Signals]
    markets: Sequence[Market]
    simulation: Simulation
    periods_per_year: float

    def __repr__(self) -> str:
        symbols = first_words([market.bars.symbol for market in self.markets], 2)
        return object_repr(self, symbols, *simulation_facts(self.simulation))


def trade(
    strategy: Strategy,
    inputs: Sequence[SymbolInput],
    outputs: Sequence[np.ndarray],
    settings: BacktestSettings,
    cancellation: Cancellation | None = None,
) -> Account:
    """Trade a model's outputs by the rules of a strategy.

    Args:
        strategy: its ``decisions`` and ``risk`` are the rules.
        inputs: bars per symbol.
        outputs: the model's outputs for the traded bars of each symbol, in the order of ``inputs``: float64
            ``(n, classes)`` or ``(n,)``.
        settings: capital and costs.
        cancellation: stops the simulation on request.

    Returns:
        The account; its markets are in the order of ``inputs``.

    Raises:
        BadInputError: see :func:`~ktrdr.core.backtesting.signals.decide`.
        CancelledError: cancellation was requested.
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
    """Trade a constant model on the bars of ``account``, by the same rules.

    Args:
        strategy: its ``decisions`` and ``risk`` are the rules.
        account: the account of the real model, for its markets.
        inputs: bars per symbol, in the order of the markets.
        output: float64 ``(classes,)``, what the constant model predicts on every bar.
        settings: capital and costs.

    Returns:
        The account of the constant model.
    """
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
    simulation = idle_simulation(account.simulation) if idle else _simulate(strategy, markets, settings, None)
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
    """Return the bars in a year of all symbols together.

    They are measured on the union of the symbols' bars. A union that is too short takes the calendar of the symbol
    whose market is open most.
    """
    if len(markets) == 1:
        return markets[0].periods_per_year
    bars = [market.bars for market in markets]
    busiest = max(bars, key=lambda each: calendar_of(each).bars_per_year(each.timeframe))
    return bars_per_year(busiest.symbol, busiest.timeframe, time, calendar=calendar_name(busiest))


def _needs_atr(risk: Risk) -> bool:
    distances = (risk.stop_loss, risk.take_profit, risk.trailing_stop)
    return any(distance is not None and distance.kind == "atr" for distance in distances)

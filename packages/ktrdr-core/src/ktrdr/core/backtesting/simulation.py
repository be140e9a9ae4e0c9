"""Orders, cash and positions: what an account would have gone through.

One account trades any number of symbols, each with at most one position, long or short. Events are taken in the order
of time; at one bar, exits at the open come first, then entries at the open in the order of the symbols, then exits
inside the bar, then the closing of what is left after the last bar.

Costs. Every fill is worse than the price it aims at by ``slippage`` (a share of it), also stops, targets and the last
close; every side pays ``commission`` on its notional.

Cash. There is no leverage. A short locks its notional as margin, beside the proceeds of its sale, so what is free for a
new position is the equity less the value of all open positions, long and short, at their last close. An order for
more than that is reduced to it; one that comes to nothing is refused. Both are counted. Nothing is liquidated: a short
that loses more than the account has leaves a negative equity, and every later order is refused.

Volume plays no part: a bar with a volume of zero, or without one, trades like any other.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ktrdr.core.backtesting.decisions import SignalRules
from ktrdr.core.backtesting.sizing import realized_volatility, round_down, units_wanted
from ktrdr.core.backtesting.walk import END_OF_DATA, MAX_HOLDING, SIGNAL, Walk
from ktrdr.core.data.bars import Bars
from ktrdr.core.operations.cancellation import Cancellation
from ktrdr.core.strategy.model import Risk

__all__ = ["Costs", "Market", "OrderCounts", "Simulation", "Trades", "simulate"]

_OPEN_EXIT, _ENTRY, _INSIDE_EXIT, _LAST_CLOSE = range(4)
_EVENTS_BETWEEN_LOOKS = 4096
_DUST = 1e-9


@dataclass(frozen=True, slots=True)
class Costs:
    """Shares: of the notional per side, and of the price against you."""

    commission: float = 0.0
    slippage: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One symbol as the simulation sees it.

    Attributes:
        bars: to trade on.
        direction: int8 ``(n,)`` signals at the closes.
        atr: float64 ``(n,)``, where ``risk`` speaks of ATR.
        periods_per_year: bars in a year, for ``volatility_target``.
    """

    bars: Bars
    direction: np.ndarray
    atr: np.ndarray | None = None
    periods_per_year: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Trades in the order of their entries, one array ``(k,)`` per column.

    Attributes:
        market: position of the symbol.
        side: 1 long, -1 short.
        entry_decision, entry_bar, exit_bar: positions of bars; the entry fills at the open of its bar.
        exit_decision: the bar at whose close the exit was decided; -1 for exits inside a bar and at the last close.
        units: above 0.
        entry_aim, exit_aim: prices without slippage.
        entry_price, exit_price: prices of the fills.
        entry_commission, exit_commission, entry_slippage, exit_slippage: cash.
        reason: index into ``EXIT_REASONS``.
    """

    market: np.ndarray
    side: np.ndarray
    entry_decision: np.ndarray
    entry_bar: np.ndarray
    exit_decision: np.ndarray
    exit_bar: np.ndarray
    units: np.ndarray
    entry_aim: np.ndarray
    exit_aim: np.ndarray
    entry_price: np.ndarray
    exit_price: np.ndarray
    entry_commission: np.ndarray
    exit_commission: np.ndarray
    entry_slippage: np.ndarray
    exit_slippage: np.ndarray
    reason: np.ndarray

    def __len__(self) -> int:
        return len(self.side)

    @property
    def gross(self) -> np.ndarray:
        """Profit before costs."""
        return self.side * self.units * (self.exit_aim - self.entry_aim)

    @property
    def commission(self) -> np.ndarray:
        """Both sides."""
        return self.entry_commission + self.exit_commission

    @property
    def slippage(self) -> np.ndarray:
        """Both sides."""
        return self.entry_slippage + self.exit_slippage

    @property
    def net(self) -> np.ndarray:
        """Profit after costs: what the trade added to the cash."""
        return self.side * self.units * (self.exit_price - self.entry_price) - self.commission


@dataclass(slots=True)
class OrderCounts:
    """What became of the entries that signals asked for.

    Attributes:
        entries: filled.
        reduced: of these, filled with fewer units than the sizing rule asked for.
        refused_no_cash: nothing was free.
        refused_lot: less than one lot.
        refused_unknown: the ATR or the volatility that the size or a stop depends on was not known yet.
    """

    entries: int = 0
    reduced: int = 0
    refused_no_cash: int = 0
    refused_lot: int = 0
    refused_unknown: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """The account.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars, of all symbols together; values are those at the close.
        cash: float64 ``(n,)``, the proceeds of open shorts among it.
        equity: float64 ``(n,)``: cash and positions at their last close.
        units: per market float64 on its own bars: units held at the close, negative for a short.
        trades: every trade; all are closed.
        counts: of orders.
        renewed: per market, bars whose signal only renewed a position.
        capital: at the start.
    """

    time: np.ndarray
    cash: np.ndarray
    equity: np.ndarray
    units: tuple[np.ndarray, ...]
    trades: Trades
    counts: OrderCounts
    renewed: tuple[np.ndarray, ...]
    capital: float


class _Position(NamedTuple):
    side: int
    units: float
    entry_bar: int
    price: float
    exit_aim: float


class _Account:
    """State of one run; :func:`simulate` says what it does."""

    def __init__(self, markets: Sequence[Market], rules: SignalRules, risk: Risk, capital: float, costs: Costs) -> None:
        self.markets = markets
        self.risk = risk
        self.commission, self.slippage = costs.commission, costs.slippage
        self.cash = capital
        self.counts = OrderCounts()
        self.walks = [Walk(market.bars, market.direction, market.atr, rules, risk) for market in markets]
        self.times = [market.bars.time.view(np.int64).data for market in markets]
        self.positions: list[_Position | None] = [None] * len(markets)
        # One row per trade: market, side, decision, entry bar, exit bar, reason; units, entry aim, exit aim.
        self.whole: list[tuple[int, int, int, int, int, int]] = []
        self.real: list[tuple[float, float, float]] = []
        self.event_times: list[int] = []
        self.event_cash: list[float] = []
        self.queue: list[tuple[int, int, int, int, int]] = []

    def run(self, cancellation: Cancellation) -> None:
        for market in range(len(self.markets)):
            self.await_entry(market, 0)
        queue = self.queue
        events = 0
        while queue:
            now, phase, market, bar, side = heapq.heappop(queue)
            if phase == _ENTRY:
                self.enter(now, market, bar, side)
            else:
                self.leave(now, market)
                self.await_entry(market, bar)
            events += 1
            if events % _EVENTS_BETWEEN_LOOKS == 0:
                cancellation.raise_if_requested()

    def await_entry(self, market: int, start: int) -> None:
        decision, side = self.walks[market].next_entry(start)
        if decision >= 0:
            heapq.heappush(self.queue, (self.times[market][decision + 1], _ENTRY, market, decision, side))

    def enter(self, now: int, market: int, decision: int, side: int) -> None:
        walk = self.walks[market]
        aim = walk.open[decision + 1]
        price = aim * (1 + side * self.slippage)
        distances = walk.distances(decision, price)
        units = 0.0
        if distances is None:
            self.counts.refused_unknown += 1
        else:
            units = self.size(now, market, decision, price, distances)
        if distances is None or units <= 0:
            self.await_entry(market, decision + 1)
            return
        commission = units * price * self.commission
        self.cash -= side * units * price + commission
        self.event_times.append(now)
        self.event_cash.append(self.cash)
        self.counts.entries += 1
        bar, exit_aim, reason = walk.exit(decision, side, price, distances)
        self.positions[market] = _Position(side, units, decision + 1, price, exit_aim)
        self.whole.append((market, side, decision, decision + 1, bar, reason))
        self.real.append((units, aim, exit_aim))
        if reason in (SIGNAL, MAX_HOLDING):
            phase = _OPEN_EXIT
        else:
            phase = _LAST_CLOSE if reason == END_OF_DATA else _INSIDE_EXIT
        heapq.heappush(self.queue, (self.times[market][bar], phase, market, bar, side))

    def leave(self, now: int, market: int) -> None:
        position = self.positions[market]
        assert position is not None
        side, units, _, _, aim = position
        price = aim * (1 - side * self.slippage)
        self.cash += side * units * price - units * price * self.commission
        self.positions[market] = None
        self.event_times.append(now)
        self.event_cash.append(self.cash)

    def size(self, now: int, market: int, decision: int, price: float, distances: tuple[float, float, float]) -> float:
        equity, free = self.worth(now)
        sizing = self.risk.sizing
        volatility = math.nan
        if sizing.type == "volatility_target":
            of = self.markets[market]
            volatility = realized_volatility(of.bars.close, decision, sizing.window, of.periods_per_year)
            if math.isnan(volatility):
                self.counts.refused_unknown += 1
                return 0.0
        wanted = units_wanted(
            sizing,
            equity=equity,
            price=price,
            commission=self.commission,
            risk_per_unit=min(distances[0], distances[2]),
            volatility=volatility,
        )
        most = free / (price * (1 + self.commission))
        # What rounding leaves of an account that is fully invested is not money.
        if free <= _DUST * equity or wanted <= 0:
            self.counts.refused_no_cash += 1
            return 0.0
        units = round_down(min(wanted, most), self.risk.lot_size)
        if units <= 0:
            self.counts.refused_lot += 1
        elif wanted > most * (1 + 1e-9):
            self.counts.reduced += 1
        return units

    def worth(self, now: int) -> tuple[float, float]:
        """Return the equity at the time of an entry, and what of it is free for the new position."""
        equity, bound = self.cash, 0.0
        if len(self.positions) == 1:
            return equity, equity
        for market, position in enumerate(self.positions):
            if position is None:
                continue
            length = self.markets[market].bars.timeframe.nanoseconds
            bar = bisect_right(self.times[market], now - length) - 1
            mark = self.walks[market].close[bar] if bar >= position.entry_bar else position.price
            equity += position.side * position.units * mark
            bound += position.units * mark
        return equity, equity - bound

    def trades(self) -> Trades:
        whole = np.array(self.whole, dtype=np.int64).reshape(-1, 6).T
        units, entry_aim, exit_aim = np.array(self.real, dtype=np.float64).reshape(-1, 3).T
        market, side, decision, entry_bar, exit_bar, reason = whole
        commission, slippage = self.commission, self.slippage
        entry_price = entry_aim * (1 + side * slippage)
        exit_price = exit_aim * (1 - side * slippage)
        return Trades(
            market=market,
            side=side,
            entry_decision=decision,
            entry_bar=entry_bar,
            exit_decision=np.where((reason == SIGNAL) | (reason == MAX_HOLDING), exit_bar - 1, -1),
            exit_bar=exit_bar,
            units=units,
            entry_aim=entry_aim,
            exit_aim=exit_aim,
            entry_price=entry_price,
            exit_price=exit_price,
            entry_commission=units * entry_price * commission,
            exit_commission=units * exit_price * commission,
            entry_slippage=units * entry_aim * slippage,
            exit_slippage=units * exit_aim * slippage,
            reason=reason,
        )


def simulate(
    markets: Sequence[Market],
    *,
    rules: SignalRules,
    risk: Risk,
    capital: float,
    costs: Costs,
    cancellation: Cancellation | None = None,
) -> Simulation:
    """Trade the signals of all ``markets`` with one account; the module says how.

    The bars of the markets are of one timeframe, and may begin and end at different times.

    Raises:
        ValueError: there are no markets, or their timeframes differ.
        CancelledError: on request.
    """
    if len({market.bars.timeframe for market in markets}) != 1:
        raise ValueError("the markets of a simulation have one timeframe")
    account = _Account(markets, rules, risk, capital, costs)
    account.run(cancellation if cancellation is not None else Cancellation())
    trades = account.trades()
    units = tuple(_units_held(trades, number, len(market.bars)) for number, market in enumerate(markets))
    time = markets[0].bars.time
    if len(markets) > 1:
        time = np.unique(np.concatenate([market.bars.time for market in markets]))
    cash = _steps(
        np.searchsorted(time.view(np.int64), np.array(account.event_times, dtype=np.int64)),
        np.array([capital, *account.event_cash]),
        len(time),
    )
    equity = cash.copy()
    for market, held in zip(markets, units, strict=True):
        value = held * market.bars.close
        if len(markets) > 1:
            last = np.searchsorted(market.bars.time, time, side="right") - 1
            value = np.where(last >= 0, value[last], 0.0)
        equity += value
    return Simulation(
        time=time,
        cash=cash,
        equity=equity,
        units=units,
        trades=trades,
        counts=account.counts,
        renewed=tuple(np.array(walk.renewed, dtype=np.int64) for walk in account.walks),
        capital=capital,
    )


def _units_held(trades: Trades, market: int, n: int) -> np.ndarray:
    """Return the units held at each close: from the entry's bar up to the bar before the exit's."""
    own = trades.market == market
    bounds = np.stack((trades.entry_bar[own], trades.exit_bar[own]), axis=1).ravel()
    levels = np.zeros(len(bounds) + 1)
    levels[1::2] = (trades.side * trades.units)[own]
    return _steps(bounds, levels, n)


def _steps(bounds: np.ndarray, levels: np.ndarray, n: int) -> np.ndarray:
    """Return float64 ``(n,)``: ``levels[k]`` from ``bounds[k - 1]`` up to ``bounds[k]``."""
    return np.repeat(levels, np.diff(bounds, prepend=0, append=n))

"""Simulation of an account: orders, fills, cash, positions and equity.

One account trades any number of symbols, each with at most one position, long or short. Events are processed in the
order of time. At one bar, exits at the open come first, then entries at the open in the order of the symbols, then
exits inside the bar, then the closing of open positions after the last bar.

Costs. Every fill is worse than its reference price by ``slippage``, a share of that price; this includes stops, targets
and the last close. Every side pays ``commission`` on its notional.

Cash. There is no leverage. A short position locks its notional as margin, in addition to the proceeds of its sale. So
the free cash for a new position is the equity minus the value of all open positions, long and short, at their last
close. An order for more than the free cash is reduced to it, and refused if nothing is free; both are counted. There
are no margin calls: a short position that loses more than the account has makes the equity negative, and every later
order is refused.

Volume is not used: a bar with zero or unknown volume trades like any other.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ktrdr.core.backtesting.fills import END_OF_DATA, EXIT_REASONS, MAX_HOLDING, NO_DISTANCES, SIGNAL, Fills
from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.sizing import realized_volatility, round_down, units_wanted
from ktrdr.core.comparisons import highest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.short_texts import counted, object_repr
from ktrdr.core.strategy.model import Risk
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Costs", "Market", "OrderCounts", "Simulation", "Trades", "idle_simulation", "simulate", "simulation_facts"]

_OPEN_EXIT, _ENTRY, _INSIDE_EXIT, _LAST_CLOSE = range(4)
_PHASE_OF_EXIT = tuple(
    {"signal": _OPEN_EXIT, "max_holding_period": _OPEN_EXIT, "end_of_data": _LAST_CLOSE}.get(reason, _INSIDE_EXIT)
    for reason in EXIT_REASONS
)
_EVENTS_BETWEEN_LOOKS = 4096
_DUST = 1e-9


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of a fill.

    Attributes:
        commission: share of the notional, per side.
        slippage: share of the price by which a fill is worse than its reference price.
    """

    commission: float = 0.0
    slippage: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Bars and signals of one symbol.

    Attributes:
        bars: traded bars.
        direction: int8 ``(n,)`` signals at the closes.
        atr: float64 ``(n,)``, required if ``risk`` has distances in multiples of ATR.
        periods_per_year: bars in a year, for ``volatility_target``.
        extremes: :func:`~ktrdr.core.backtesting.fills.block_extremes` of the bars, if they are computed already.
    """

    bars: Bars
    direction: np.ndarray
    atr: np.ndarray | None = None
    periods_per_year: float = math.nan
    extremes: tuple[list[float], list[float]] | None = None

    def __repr__(self) -> str:
        signals = counted(int(np.count_nonzero(self.direction)), "signal")
        return object_repr(self, f"{self.bars.symbol} {self.bars.timeframe}", counted(len(self.bars), "bar"), signals)


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Trades in the order of their entries, one array ``(k,)`` per column.

    Attributes:
        market: position of the symbol.
        side: 1 long, -1 short.
        entry_decision, entry_bar, exit_bar: positions of bars; the entry fills at the open of its bar.
        exit_decision: the bar at whose close the exit was decided; -1 for exits inside a bar and at the last close.
        units: traded units, above 0.
        entry_reference_price, exit_reference_price: prices before slippage.
        entry_price, exit_price: prices of the fills.
        entry_commission, exit_commission, entry_slippage, exit_slippage: costs in cash.
        reason: index into ``EXIT_REASONS``.
    """

    market: np.ndarray
    side: np.ndarray
    entry_decision: np.ndarray
    entry_bar: np.ndarray
    exit_decision: np.ndarray
    exit_bar: np.ndarray
    units: np.ndarray
    entry_reference_price: np.ndarray
    exit_reference_price: np.ndarray
    entry_price: np.ndarray
    exit_price: np.ndarray
    entry_commission: np.ndarray
    exit_commission: np.ndarray
    entry_slippage: np.ndarray
    exit_slippage: np.ndarray
    reason: np.ndarray

    def __len__(self) -> int:
        return len(self.side)

    def __repr__(self) -> str:
        return object_repr(self, counted(len(self), "trade"))

    @property
    def gross(self) -> np.ndarray:
        """Profit before costs, in cash, float64 ``(k,)``."""
        gross: np.ndarray = self.side * self.units * (self.exit_reference_price - self.entry_reference_price)
        return gross

    @property
    def commission(self) -> np.ndarray:
        """Commission of entry and exit, in cash, float64 ``(k,)``."""
        commission: np.ndarray = self.entry_commission + self.exit_commission
        return commission

    @property
    def slippage(self) -> np.ndarray:
        """Slippage of entry and exit, in cash, float64 ``(k,)``."""
        slippage: np.ndarray = self.entry_slippage + self.exit_slippage
        return slippage

    @property
    def net(self) -> np.ndarray:
        """Profit after costs, in cash, float64 ``(k,)``: the change of the account's cash by the trade."""
        net: np.ndarray = self.side * self.units * (self.exit_price - self.entry_price) - self.commission
        return net


@dataclass(slots=True)
class OrderCounts:
    """Counts of the orders to enter.

    Attributes:
        entries: filled orders.
        reduced: filled orders with fewer units than the sizing rule requires.
        refused_no_cash: orders that were refused because no cash was free.
        refused_lot: orders that were refused because their size was below one lot.
        refused_unknown: orders that were refused because the ATR or the volatility that the size or a stop depends on
            was not known yet.
    """

    entries: int = 0
    reduced: int = 0
    refused_no_cash: int = 0
    refused_lot: int = 0
    refused_unknown: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """The account over time.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars of all symbols together; values are those at the close.
        cash: float64 ``(n,)``, including the proceeds of open short positions.
        equity: float64 ``(n,)``: cash and positions at their last close.
        units: per market float64 on its own bars: units held at the close, negative for a short position.
        trades: all trades; each is closed.
        counts: counts of orders.
        refreshed: per market, int64 positions of the bars whose signal only refreshed a position.
        capital: cash at the start.
    """

    time: np.ndarray
    cash: np.ndarray
    equity: np.ndarray
    units: tuple[np.ndarray, ...]
    trades: Trades
    counts: OrderCounts
    refreshed: tuple[np.ndarray, ...]
    capital: float

    def __repr__(self) -> str:
        return object_repr(self, *simulation_facts(self))


def simulation_facts(simulation: Simulation) -> tuple[str, ...]:
    """Return bars, trades and equity of a simulation as text."""
    final = simulation.equity[-1] if len(simulation.equity) else simulation.capital
    return (
        counted(len(simulation.time), "bar"),
        counted(len(simulation.trades), "trade"),
        f"equity {simulation.capital:,.2f} to {final:,.2f}",
    )


# A plain tuple for speed, as there is one per order: market, side, decision, units, reference price and price of the
# entry; bar, reference price and reason of the exit, which are computed when the position is opened.
_Position = tuple[int, int, int, float, float, float, int, float, int]


class _Account:
    """State of one simulation.

    Every order passes through :meth:`enter` and :meth:`close`, so their speed decides that of the simulation.
    """

    def __init__(self, markets: Sequence[Market], rules: SignalRules, risk: Risk, capital: float, costs: Costs) -> None:
        self.markets = markets
        self.commission, self.slippage = costs.commission, costs.slippage
        self.sizing, self.lot = risk.sizing, risk.lot_size
        self.cash = capital
        self.counts = OrderCounts()
        self.fills = [
            Fills(market.bars, market.direction, market.atr, rules, risk, market.extremes) for market in markets
        ]
        self.times = [market.bars.time.view(np.int64).data for market in markets]
        self.positions: list[_Position | None] = [None] * len(markets)
        # Opened positions: first those in columns, from `run_plain`, then the others one by one.
        self.columns = [np.empty(0, dtype=np.float64 if number in (3, 4, 5, 7) else np.int64) for number in range(9)]
        self.entered: list[_Position] = []
        # When cash changed, and its new value. Events are times in a portfolio, positions of bars in a single market.
        self.events: list[int] = []
        self.event_cash: list[float] = [capital]

    def run(self, cancellation: Cancellation) -> None:
        if len(self.markets) == 1:
            self.run_alone(cancellation)
        else:
            self.run_together(cancellation)

    def run_alone(self, cancellation: Cancellation) -> None:
        """Trade one market, which needs no queue: there is at most one future event."""
        next_entry, enter, close = self.fills[0].next_entry, self.enter, self.close
        decision, side = next_entry(self.run_plain(cancellation))
        orders = 0
        while decision >= 0:
            position = enter(decision + 1, 0, decision, side)
            if position is None:
                decision, side = next_entry(decision + 1)
            else:
                bar = position[6]
                close(bar, position)
                decision, side = next_entry(bar)
            orders += 1
            if orders % _EVENTS_BETWEEN_LOOKS == 0:
                cancellation.raise_if_requested()

    def run_plain(self, cancellation: Cancellation) -> int:
        """Trade one market without a call per order, as far as its positions follow from the signals alone.

        That is up to the first refused order, if only signals can close positions. Returns the first bar whose signal
        is not processed yet.
        """
        fills = self.fills[0]
        path = fills.plain_path()
        if path is None:
            return 0
        decision, side, exit_bar, exit_reference_price, reason = path
        reference_price = fills.bars.open[decision + 1]
        price = reference_price * (1 + side * self.slippage)
        exit_price = exit_reference_price * (1 - side * self.slippage)
        commission, size, add, cash = self.commission, self.size, self.event_cash.append, self.cash
        sizes: list[float] = []
        for bar, sign, paid, got in zip(
            decision.tolist(), side.tolist(), price.tolist(), exit_price.tolist(), strict=True
        ):
            units = size(bar + 1, 0, bar, paid, NO_DISTANCES)
            if units <= 0:
                break
            sizes.append(units)
            cash -= sign * units * paid + units * paid * commission
            add(cash)
            cash += sign * units * got - units * got * commission
            add(cash)
            self.cash = cash
            if len(sizes) % _EVENTS_BETWEEN_LOOKS == 0:
                cancellation.raise_if_requested()
        k = len(sizes)
        market, filled = np.zeros(k, dtype=np.int64), np.array(sizes)
        self.columns = [
            column[:k]
            for column in (
                market,
                side,
                decision,
                filled,
                reference_price,
                price,
                exit_bar,
                exit_reference_price,
                reason,
            )
        ]
        self.events += np.stack((decision + 1, exit_bar), axis=1)[:k].ravel().tolist()
        if k:
            fills.last_executed = int(decision[k - 1] if reason[k - 1] == END_OF_DATA else exit_bar[k - 1] - 1)
        return int(decision[k]) + 1 if k < len(decision) else fills.n

    def run_together(self, cancellation: Cancellation) -> None:
        queue: list[tuple[int, int, int, int, int]] = []

        def await_entry(market: int, start: int) -> None:
            decision, side = self.fills[market].next_entry(start)
            if decision >= 0:
                heapq.heappush(queue, (self.times[market][decision + 1], _ENTRY, market, decision, side))

        for market in range(len(self.markets)):
            await_entry(market, 0)
        events = 0
        while queue:
            now, phase, market, bar, side = heapq.heappop(queue)
            position = self.positions[market]
            if position is not None:
                self.close(now, position)
                self.positions[market] = None
                await_entry(market, bar)
            else:
                position = self.positions[market] = self.enter(now, market, bar, side)
                if position is None:
                    await_entry(market, bar + 1)
                else:
                    *_, bar, _, reason = position
                    phase = _PHASE_OF_EXIT[reason]
                    heapq.heappush(queue, (self.times[market][bar], phase, market, bar, side))
            events += 1
            if events % _EVENTS_BETWEEN_LOOKS == 0:
                cancellation.raise_if_requested()

    def enter(self, now: int, market: int, decision: int, side: int) -> _Position | None:
        """Open a position and compute its exit; return ``None`` if the order is refused."""
        fills = self.fills[market]
        reference_price = fills.open[decision + 1]
        price = reference_price * (1 + side * self.slippage)
        distances = fills.distances(decision, price)
        if distances is None:
            self.counts.refused_unknown += 1
            return None
        units = self.size(now, market, decision, price, distances)
        if units <= 0:
            return None
        self.cash -= side * units * price + units * price * self.commission
        self.events.append(now)
        self.event_cash.append(self.cash)
        bar, exit_reference_price, reason = fills.exit(decision, side, price, distances)
        position = (market, side, decision, units, reference_price, price, bar, exit_reference_price, reason)
        self.entered.append(position)
        return position

    def close(self, now: int, position: _Position) -> None:
        _, side, _, units, _, _, _, reference_price, _ = position
        price = reference_price * (1 - side * self.slippage)
        self.cash += side * units * price - units * price * self.commission
        self.events.append(now)
        self.event_cash.append(self.cash)

    def size(self, now: int, market: int, decision: int, price: float, distances: tuple[float, float, float]) -> float:
        equity, free = self.equity_and_free_cash(now)
        sizing, commission = self.sizing, self.commission
        volatility = math.nan
        if sizing.type == "volatility_target":
            of = self.markets[market]
            volatility = realized_volatility(of.bars.close, decision, sizing.window, of.periods_per_year)
            if math.isnan(volatility):
                self.counts.refused_unknown += 1
                return 0.0
        wanted = units_wanted(sizing, equity, price, commission, distances, volatility)
        # Rounding leaves a tiny amount in a fully invested account; it does not count as free cash.
        if free <= _DUST * equity or wanted <= 0:
            self.counts.refused_no_cash += 1
            return 0.0
        most = free / (price * (1 + commission))
        units = wanted if wanted < most else most
        if self.lot > 0:
            units = round_down(units, self.lot)
            if units <= 0:
                self.counts.refused_lot += 1
                return 0.0
        if wanted > highest_equal(most):
            self.counts.reduced += 1
        return units

    def equity_and_free_cash(self, now: int) -> tuple[float, float]:
        """Return the equity at the time of an entry, and the cash that is free for the new position."""
        equity, bound = self.cash, 0.0
        if len(self.positions) == 1:
            return equity, equity
        for market, position in enumerate(self.positions):
            if position is None:
                continue
            length = self.markets[market].bars.timeframe.nanoseconds
            bar = bisect_right(self.times[market], now - length) - 1
            _, side, decision, units, _, price, _, _, _ = position
            mark = self.fills[market].close[bar] if bar > decision else price
            equity += side * units * mark
            bound += units * mark
        return equity, equity - bound

    def trades(self) -> Trades:
        columns = self.columns
        if self.entered:
            columns = [
                np.concatenate((before, np.array(column, dtype=before.dtype)))
                for before, column in zip(columns, zip(*self.entered, strict=True), strict=True)
            ]
        market, side, decision, units, entry_reference_price, _, exit_bar, exit_reference_price, reason = columns
        self.counts.entries = len(market)
        commission, slippage = self.commission, self.slippage
        entry_price = entry_reference_price * (1 + side * slippage)
        exit_price = exit_reference_price * (1 - side * slippage)
        return Trades(
            market=market,
            side=side,
            entry_decision=decision,
            entry_bar=decision + 1,
            exit_decision=np.where((reason == SIGNAL) | (reason == MAX_HOLDING), exit_bar - 1, -1),
            exit_bar=exit_bar,
            units=units,
            entry_reference_price=entry_reference_price,
            exit_reference_price=exit_reference_price,
            entry_price=entry_price,
            exit_price=exit_price,
            entry_commission=units * entry_price * commission,
            exit_commission=units * exit_price * commission,
            entry_slippage=units * entry_reference_price * slippage,
            exit_slippage=units * exit_reference_price * slippage,
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
    """Trade the signals of all markets with one account, by the conventions of this module.

    Args:
        markets: bars and signals per symbol, all of one timeframe; they may begin and end at different times.
        rules: rules by which signals become orders.
        risk: sizing, stops, targets and ``max_holding_period``.
        capital: cash at the start.
        costs: commission and slippage.
        cancellation: stops the simulation on request.

    Returns:
        Cash, equity, positions and trades of the account.

    Raises:
        ValueError: there are no markets, or their timeframes differ.
        CancelledError: cancellation was requested.
    """
    if len({market.bars.timeframe for market in markets}) != 1:
        raise ValueError("the markets of a simulation have one timeframe")
    account = _Account(markets, rules, risk, capital, costs)
    account.run(cancellation if cancellation is not None else Cancellation())
    trades = account.trades()
    units = tuple(_units_held(trades, number, len(market.bars)) for number, market in enumerate(markets))
    time, events = markets[0].bars.time, np.array(account.events, dtype=np.int64)
    if len(markets) > 1:
        time = np.unique(np.concatenate([market.bars.time for market in markets]))
        events = np.searchsorted(time.view(np.int64), events)
    cash = _steps(events, np.array(account.event_cash), len(time))
    equity, *others = (_values(market, own, time) for market, own in zip(markets, units, strict=True))
    # In place: with millions of bars, new arrays cost most of the time.
    equity += cash
    for values in others:
        equity += values
    return Simulation(
        time=time,
        cash=cash,
        equity=equity,
        units=units,
        trades=trades,
        counts=account.counts,
        refreshed=tuple(np.array(fills.refreshed, dtype=np.int64) for fills in account.fills),
        capital=capital,
    )


def idle_simulation(simulation: Simulation) -> Simulation:
    """Return the simulation of an account with the same bars and capital that never trades.

    Its arrays over the bars are read-only and hold a single number, because filling them would take longer than all
    other work for such an account.
    """
    flat = np.broadcast_to(np.float64(simulation.capital), simulation.equity.shape)
    trades = Trades(**{column.name: getattr(simulation.trades, column.name)[:0] for column in fields(Trades)})
    return Simulation(
        time=simulation.time,
        cash=flat,
        equity=flat,
        units=tuple(np.broadcast_to(np.float64(0.0), own.shape) for own in simulation.units),
        trades=trades,
        counts=OrderCounts(),
        refreshed=tuple(own[:0] for own in simulation.refreshed),
        capital=simulation.capital,
    )


def _values(market: Market, units: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the value of the units held at each close, on the bars of all markets together."""
    values: np.ndarray = units * market.bars.close
    if time is market.bars.time:
        return values
    last = np.searchsorted(market.bars.time, time, side="right") - 1
    return np.where(last >= 0, values[last], 0.0)


def _units_held(trades: Trades, market: int, n: int) -> np.ndarray:
    """Return the units held at each close, from the bar of the entry to the bar before the exit."""
    own = trades.market == market
    bounds = np.stack((trades.entry_bar[own], trades.exit_bar[own]), axis=1).ravel()
    levels = np.zeros(len(bounds) + 1)
    levels[1::2] = (trades.side * trades.units)[own]
    return _steps(bounds, levels, n)


def _steps(bounds: np.ndarray, levels: np.ndarray, n: int) -> np.ndarray:
    """Return float64 ``(n,)``: ``levels[k]`` from ``bounds[k - 1]`` up to ``bounds[k]``."""
    return np.repeat(levels, np.diff(bounds, prepend=0, append=n))

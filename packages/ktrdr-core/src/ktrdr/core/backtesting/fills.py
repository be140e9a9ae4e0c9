"""Fills of the orders of one symbol: which signals become orders, and when and at which price a position is closed.

Time conventions. A signal is known at the close of bar ``t`` and fills at the open of ``t + 1``. A position that is
entered at the open of bar ``e`` is exposed from that bar on. An exit by signal or by ``max_holding_period`` is decided
at a close and fills at the next open. Stops and targets fill inside the bar: if the bar opens beyond one of them, at
the open; otherwise at the stop if the bar reaches the stop, even if it reaches the target too; otherwise at the target.
A position that is still open after the last bar is closed at the close of that bar. A price that equals a level reaches
it; equality has the tolerance of :mod:`ktrdr.core.comparisons`.

A trailing stop follows the best price from the entry to the end of the *previous* bar: bars do not tell whether the
high or the low came first.

The simulation goes from order to order, not from bar to bar: the next signal is found by bisection, the next bar that
reaches a level by the lowest low and highest high of blocks of bars.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left

import numpy as np

from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.strategy.model import PriceDistance, Risk

__all__ = [
    "END_OF_DATA",
    "EXIT_REASONS",
    "MAX_HOLDING",
    "NO_DISTANCES",
    "SIGNAL",
    "STOP_LOSS",
    "TAKE_PROFIT",
    "TRAILING_STOP",
    "Fills",
    "block_extremes",
]

EXIT_REASONS: tuple[str, ...] = (
    "signal",
    "stop_loss",
    "take_profit",
    "trailing_stop",
    "max_holding_period",
    "end_of_data",
)
"""Reasons of exits; the constants below are their positions."""

SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, MAX_HOLDING, END_OF_DATA = range(6)

_BLOCK_BITS = 6
_BLOCK = 1 << _BLOCK_BITS
_FIRST_CHUNK = 128
_NEVER = 1 << 60
NO_DISTANCES = (math.inf, math.inf, math.inf)
"""Distances of a position without stop, target and trailing stop."""


class Fills:
    """Finds the entries and exits of one symbol in the order of time. A bar is given by its position.

    Args:
        bars: bars of the symbol.
        direction: int8 ``(n,)`` signals.
        atr: float64 ``(n,)``, required if a distance of ``risk`` is in multiples of ATR.
        rules: rules of the strategy by which signals become orders.
        risk: the strategy's ``risk``.
        extremes: :func:`block_extremes` of the bars, if they are computed already.
    """

    def __init__(
        self,
        bars: Bars,
        direction: np.ndarray,
        atr: np.ndarray | None,
        rules: SignalRules,
        risk: Risk,
        extremes: tuple[list[float], list[float]] | None = None,
    ) -> None:
        self.n = len(bars)
        self.open = np.ascontiguousarray(bars.open).data
        self.close = np.ascontiguousarray(bars.close).data
        self.last_executed = -_NEVER
        self.refreshed: list[int] = []
        self.bars = bars
        self._atr = atr
        self._risk = risk
        # A signal of the last bar cannot fill.
        self._direction = direction[:-1]
        self._separation = rules.min_separation
        self._step = max(rules.min_separation, 1)
        self._longest = risk.max_holding_period
        self._refreshes = not rules.position_awareness
        self._shorts = rules.allow_short_from_flat
        self._trails = risk.trailing_stop is not None
        # No stop and no target: a position cannot be closed inside a bar.
        self._free = risk.stop_loss is None and risk.take_profit is None and risk.trailing_stop is None
        # Only the first opposite signal can close a position: the usual case, which has a faster path.
        self._plain = self._free and not self._refreshes and self._longest is None
        if not self._free and not self._trails:
            self._block_low, self._block_high = block_extremes(bars) if extremes is None else extremes

    # The bars with signals, and a sentinel that a bisection finds after them.
    @functools.cached_property
    def _buys(self) -> list[int]:
        return [*np.flatnonzero(self._direction > 0).tolist(), _NEVER]

    @functools.cached_property
    def _sells(self) -> list[int]:
        return [*np.flatnonzero(self._direction < 0).tolist(), _NEVER]

    def next_entry(self, start: int) -> tuple[int, int]:
        """Return the decision bar of the next entry at or after ``start``, and its side (1 or -1).

        The bar is -1 if no later signal can fill.
        """
        allowed = self.last_executed + self._separation
        if allowed > start:
            start = allowed
        if start >= self.n:
            return -1, 1
        buys = self._buys
        bar, side = buys[bisect_left(buys, start)], 1
        if self._shorts:
            sells = self._sells
            first = sells[bisect_left(sells, start)]
            if first < bar:
                bar, side = first, -1
        return (bar, side) if bar < self.n else (-1, side)

    def plain_path(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        """Return all positions, assuming that no order is refused.

        Returns:
            Decision bar, side, bar of the exit, reference price of the exit and its reason, each ``(k,)``. ``None`` if
            anything but a signal can close a position.
        """
        if not self._plain:
            return None
        n = self.n
        buys, sells = (
            np.concatenate((np.flatnonzero(chosen), [_NEVER])) for chosen in (self._direction > 0, self._direction < 0)
        )
        entries = np.flatnonzero(self._direction) if self._shorts else buys[:-1]
        side = self._direction[entries].astype(np.int64)
        # For every signal, as if it opened a position: the signal that closes it, and the next one that may enter.
        allowed = entries + self._step
        ends = np.where(
            side > 0, sells[np.searchsorted(sells[:-1], allowed)], buys[np.searchsorted(buys[:-1], allowed)]
        )
        following = np.searchsorted(entries, ends + self._step).data
        path, position = [], 0
        while position < len(entries):
            path.append(position)
            position = following[position]
        decision, side, end = entries[path], side[path], ends[path]
        last = end >= n
        exit_bar = np.where(last, n - 1, end + 1)
        exit_reference_price = np.where(last, self.bars.close[-1:], self.bars.open[exit_bar])
        return decision, side, exit_bar, exit_reference_price, np.where(last, END_OF_DATA, SIGNAL)

    def distances(self, decision: int, price: float) -> tuple[float, float, float] | None:
        """Return the distances of stop, target and trailing stop from ``price``, ``inf`` for none.

        ``None`` if one of them is a multiple of an ATR that is not known yet or is 0.
        """
        if self._free:
            return NO_DISTANCES
        risk = self._risk
        stop = self._distance(risk.stop_loss, decision, price)
        target = self._distance(risk.take_profit, decision, price)
        trail = self._distance(risk.trailing_stop, decision, price)
        return (stop, target, trail) if stop > 0 and target > 0 and trail > 0 else None

    def _distance(self, distance: PriceDistance | None, decision: int, price: float) -> float:
        if distance is None:
            return math.inf
        if distance.kind == "percent":
            return price * distance.value / 100
        if self._atr is None:
            raise ValueError("a distance in multiples of ATR needs the ATR")
        return float(self._atr[decision]) * distance.value

    def exit(
        self, decision: int, side: int, price: float, distances: tuple[float, float, float]
    ) -> tuple[int, float, int]:
        """Return the exit of a position.

        Args:
            decision: bar of the signal that opened the position.
            side: 1 for long, -1 for short.
            price: price of the entry's fill, slippage included.
            distances: as :meth:`distances` returns them.

        Returns:
            The bar of the exit, its reference price, and its reason.
        """
        n = self.n
        against = self._sells if side > 0 else self._buys
        if self._plain:
            bar = against[bisect_left(against, decision + self._step)]
            if bar < n:
                self.last_executed = bar
                return bar + 1, self.open[bar + 1], SIGNAL
            self.last_executed = decision
            return n - 1, self.close[n - 1], END_OF_DATA
        along = self._buys if side > 0 else self._sells
        separation, longest = self._separation, self._longest
        # The separation counts from the last executed signal: the entry's, or a later one that refreshed the position.
        last = self.last_executed = decision
        begin = decision + 1
        best = price
        while True:
            earliest = last + separation
            bar = against[bisect_left(against, earliest if earliest > decision else decision + 1)]
            end, reason = (bar + 1, SIGNAL) if bar < n else (n, END_OF_DATA)
            if longest is not None and last + 1 + longest < end:
                end, reason = last + 1 + longest, MAX_HOLDING
            refresh = -1
            if self._refreshes:
                bar = along[bisect_left(along, last + self._step)]
                if bar < end and bar < n:
                    refresh = bar
            until = end if refresh < 0 else refresh + 1
            if not self._free:
                touched, best = self._touch(begin, until, side, price, best, distances)
                if touched is not None:
                    return touched
            if refresh < 0:
                break
            last = self.last_executed = refresh
            self.refreshed.append(refresh)
            begin = until
        if reason == END_OF_DATA:
            return n - 1, self.close[n - 1], END_OF_DATA
        if reason == SIGNAL:
            self.last_executed = end - 1
        return end, self.open[end], reason

    def _touch(
        self, begin: int, end: int, side: int, price: float, best: float, distances: tuple[float, float, float]
    ) -> tuple[tuple[int, float, int] | None, float]:
        """Return the first exit inside the bars ``[begin, end)``, if any, and the best price up to their end."""
        stop_distance, target_distance, trail_distance = distances
        stop, target = price - side * stop_distance, price + side * target_distance
        if self._trails:
            return self._touch_trailing(begin, end, side, price, best, stop, target, trail_distance)
        below, above = (stop, target) if side > 0 else (target, stop)
        below, above = highest_equal(below), lowest_equal(above)
        bar = self._first_touch(begin, end, below, above)
        return (None if bar < 0 else self._fill(bar, side, stop, target, STOP_LOSS)), best

    def _first_touch(self, begin: int, end: int, below: float, above: float) -> int:
        """Return the first of the bars ``[begin, end)`` that reaches ``below`` or ``above``, or -1."""
        lows, highs = self._block_low, self._block_high
        for block in range(begin >> _BLOCK_BITS, (end + _BLOCK - 1) >> _BLOCK_BITS):
            if lows[block] <= below or highs[block] >= above:
                start = max(begin, block << _BLOCK_BITS)
                stop = min(end, (block + 1) << _BLOCK_BITS)
                touched = (self.bars.low[start:stop] <= below) | (self.bars.high[start:stop] >= above)
                position = int(touched.argmax())
                if touched[position]:
                    return start + position
        return -1

    def _touch_trailing(
        self, begin: int, end: int, side: int, price: float, best: float, stop: float, target: float, distance: float
    ) -> tuple[tuple[int, float, int] | None, float]:
        trailing = self._risk.trailing_stop
        assert trailing is not None
        percent = trailing.kind == "percent"
        extreme = self.bars.high if side > 0 else self.bars.low
        size = _FIRST_CHUNK
        while begin < end:
            stop_at = min(end, begin + size)
            # bests[k]: the best price before bar begin + k; the last one is for the next chunk.
            seen = np.concatenate(([best], extreme[begin:stop_at]))
            bests = np.maximum.accumulate(seen) if side > 0 else np.minimum.accumulate(seen)
            # A percentage is of the best price so far; a multiple of ATR keeps the ATR of the decision.
            trails = bests[:-1] * (1 - side * trailing.value / 100) if percent else bests[:-1] - side * distance
            low, high = self.bars.low[begin:stop_at], self.bars.high[begin:stop_at]
            if side > 0:
                levels = np.maximum(trails, stop)
                touched = (low <= highest_equal(levels)) | (high >= lowest_equal(target))
            else:
                levels = np.minimum(trails, stop)
                touched = (high >= lowest_equal(levels)) | (low <= highest_equal(target))
            position = int(touched.argmax())
            if touched[position]:
                level = float(levels[position])
                # The reason is the trailing stop if it is nearer to the price; at the same price it is the stop.
                nearer = level > highest_equal(stop) if side > 0 else level < lowest_equal(stop)
                reason = TRAILING_STOP if nearer or math.isinf(stop) else STOP_LOSS
                return self._fill(begin + position, side, level, target, reason), best
            best = float(bests[-1])
            begin, size = stop_at, size * 2
        return None, best

    def _fill(self, bar: int, side: int, stop: float, target: float, stop_reason: int) -> tuple[int, float, int]:
        opened = self.open[bar]
        if side > 0:
            at_stop, at_target = highest_equal(stop), lowest_equal(target)
            stopped, gained = opened <= at_stop, opened >= at_target
            reaches_stop = self.bars.low[bar] <= at_stop
        else:
            at_stop, at_target = lowest_equal(stop), highest_equal(target)
            stopped, gained = opened >= at_stop, opened <= at_target
            reaches_stop = self.bars.high[bar] >= at_stop
        if stopped:
            return bar, opened, stop_reason
        if gained:
            return bar, opened, TAKE_PROFIT
        if reaches_stop:
            return bar, stop, stop_reason
        return bar, target, TAKE_PROFIT


def block_extremes(bars: Bars) -> tuple[list[float], list[float]]:
    """Return the lowest low and the highest high of every 64 bars."""
    if not len(bars):
        return [], []
    starts = np.arange(0, len(bars), _BLOCK)
    return np.minimum.reduceat(bars.low, starts).tolist(), np.maximum.reduceat(bars.high, starts).tolist()

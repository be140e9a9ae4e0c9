"""Errors in bars: impossible values of a bar, and wrong order. Bars with errors are never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError

__all__ = ["Inconsistency", "check_bars", "common_step", "find_inconsistencies", "first_inconsistency", "shortest_step"]

_Check: TypeAlias = tuple[str, np.ndarray, Callable[[int], str]]

_HOUR = np.timedelta64(3600, "s")
_TIMES_LOOKED_AT = 200_001


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """One kind of error in bars.

    Attributes:
        kind: ``missing_time``, ``missing_price``, ``non_positive_price``, ``high_below_low``, ``open_outside``,
            ``close_outside``, ``negative_volume``, ``unordered``, ``duplicate`` or ``overlap``.
        rows: int64, ascending positions of the bars with the error.
        message: what is wrong with the first of these bars; the message does not name the symbol.
    """

    kind: str
    rows: np.ndarray
    message: str


def shortest_step(timeframe: Timeframe) -> np.timedelta64:
    """Return the shortest allowed step between two opens: the timeframe, from ``1d`` on an hour less.

    Vendors label daily bars with local times, which daylight saving time moves by an hour twice a year.
    """
    step = np.timedelta64(timeframe.nanoseconds, "ns")
    return step - _HOUR if timeframe.seconds >= 86400 else step


def common_step(time: np.ndarray) -> int:
    """Return the most common step between times, or the shortest of the most common ones, in nanoseconds.

    Args:
        time: int64 ``(n,)`` nanoseconds, ascending. Only the first 200,000 steps count.

    Returns:
        0 if there are fewer than two times.
    """
    if len(time) < 2:
        return 0
    steps, counts = np.unique(np.diff(time[:_TIMES_LOOKED_AT]), return_counts=True)
    return int(steps[np.argmax(counts)])


def find_inconsistencies(bars: Bars) -> Iterator[Inconsistency]:
    """Yield the errors of ``bars``, one per kind."""
    missing = np.flatnonzero(np.isnat(bars.time))
    if len(missing):
        yield Inconsistency("missing_time", missing, f"the time of bar {missing[0] + 1} is missing{_more(missing)}")
        return
    for kind, bad, describe in (*_value_checks(bars), *_order_checks(bars)):
        rows = np.flatnonzero(bad)
        if len(rows):
            first = int(rows[0])
            yield Inconsistency(
                kind, rows, f"the bar of {format_time(bars.time[first])} {describe(first)}{_more(rows)}"
            )


def first_inconsistency(bars: Bars) -> Inconsistency | None:
    """Return the error of the earliest bar, of any kind; None if there is no error."""
    return min(find_inconsistencies(bars), key=lambda error: int(error.rows[0]), default=None)


def _more(rows: np.ndarray) -> str:
    return f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""


def _value_checks(bars: Bars) -> Iterator[_Check]:
    low, high, volume = bars.low, bars.high, bars.volume
    for name in ("open", "high", "low", "close"):
        yield from _price_checks(name, getattr(bars, name))
    crossed = high < low
    yield "high_below_low", crossed, lambda row: f"has its high {high[row]:g} below its low {low[row]:g}"
    for name in ("open", "close"):
        yield _range_check(name, getattr(bars, name), bars, ~crossed)
    yield "negative_volume", (volume < 0) | np.isinf(volume), lambda row: f"has volume {volume[row]:g}"


def _price_checks(name: str, price: np.ndarray) -> Iterator[_Check]:
    yield "missing_price", ~np.isfinite(price), lambda row: f"has no finite {name}"
    yield (
        "non_positive_price",
        price <= 0,
        lambda row: (
            f"has {name} {price[row]:g}, which is not above 0, and prices that fall so far, such as those of"
            " spreads and negative futures, cannot be traded here"
        ),
    )


def _range_check(name: str, price: np.ndarray, bars: Bars, sane: np.ndarray) -> _Check:
    outside = sane & ((price > bars.high) | (price < bars.low))
    return (
        f"{name}_outside",
        outside,
        lambda row: f"has its {name} {price[row]:g} outside low {bars.low[row]:g} to high {bars.high[row]:g}",
    )


def _order_checks(bars: Bars) -> Iterator[_Check]:
    time = bars.time
    step = np.concatenate(([np.timedelta64("NaT")], np.diff(time)))
    zero = np.timedelta64(0, "ns")
    yield (
        "unordered",
        step < zero,
        lambda row: f"comes after the one of {format_time(time[row - 1])}; times must ascend",
    )
    yield "duplicate", step == zero, lambda row: "occurs twice"
    yield (
        "overlap",
        (step > zero) & (step < shortest_step(bars.timeframe)),
        lambda row: f"opens before the one of {format_time(time[row - 1])} has closed",
    )


def check_bars(bars: Bars) -> None:
    """Check that bars have no errors.

    Raises:
        BadInputError: the bars have an error; the message describes the first one.
    """
    found = first_inconsistency(bars)
    if found is not None:
        raise BadInputError(f"{bars.symbol} {bars.timeframe}: {found.message}")

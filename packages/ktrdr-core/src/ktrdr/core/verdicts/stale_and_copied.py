"""Checks of validity: bars that repeat the bar before, and blocks of bars that stand in the data twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.jumps_and_gaps import MISSING_SHARE
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["check_copied_bars", "check_stale_prices"]

_BLOCK = 24
"""Bars of a block: a day of hours. That so many bars have the same four prices twice is no chance."""

_MOST_BLOCKS = 1_000_000
"""Of more blocks, a part is compared: the same part of every series, as it is chosen by content."""

_CHANCE = 3.0
"""Times as many repeats as chance explains that are allowed for: quiet bars follow quiet ones."""

_NO_CHANCE = 0.0025
"""Share of bars that repeat by chance, up to which all repeats count."""

# Bars to learn the ticks from, the fewest of an hour of the day, and the part of a price below which prices are equal.
_MOST_BARS = 500_000
_FEWEST_BARS = 100
_SAME = 1e-8


def check_stale_prices(series: Sequence[Bars]) -> ValidityFinding:
    """Look for symbols of which more than 1 % of the bars repeat all four prices of the bar before.

    Such a bar is a missing one that was filled in, so the limit is that of missing bars. Where prices move by few
    ticks, bars repeat by chance: then only bars count whose volume is missing, 0 or that of the bar before, and three
    times as many as chance explains are allowed for.

    Args:
        series: base bars of each symbol.
    """
    faults, shares = [], []
    for bars in series:
        stale = _filled_in(bars)
        share = float(stale.mean()) if len(bars) else 0.0
        shares.append(float(_repeats(_prices(bars)).mean()) if len(bars) else 0.0)
        if share > 0:
            first, length = _longest_run(stale)
            faults.append(
                f"{bars.symbol} {bars.timeframe}: {int(stale.sum()):,} bars ({share:.1%}) repeat all four prices of the"
                f" bar before, the longest time {length:,} in a row from {format_time(bars.time[first])} on"
            )
    return finding_of(
        "stale_prices",
        "stale prices",
        faults,
        remedy="such bars were filled in while nothing was traded, and no order would have been filled at them; import"
        " bars without them, use a longer timeframe, or choose dates without them",
        clean=f"at most {max(shares, default=0.0):.2%} of the bars of a symbol repeat the prices of the bar before,"
        " and no more than their ticks and volumes explain"
        if max(shares, default=0.0) > MISSING_SHARE
        else f"at most {max(shares, default=0.0):.2%} of the bars of a symbol repeat the prices of the bar before",
    )


def check_copied_bars(series: Sequence[Bars]) -> ValidityFinding:
    """Look for blocks of 24 bars with the same four prices at two places, of one symbol or of two.

    A model that trains on one of them knows the other.

    Args:
        series: base bars of each symbol.
    """
    prices = [_prices(bars) for bars in series]
    blocks = [_blocks(each) for each in prices]
    number = sum(len(each) for each in blocks)
    step = max(1, -(-number // _MOST_BLOCKS))
    # The choice by content takes the same blocks of both copies.
    places = [np.flatnonzero(each % np.uint64(step) == 0) for each in blocks]
    owner = np.repeat(np.arange(len(series)), [len(each) for each in places])
    place = np.concatenate([*places, np.empty(0, np.int64)]).astype(np.int64)
    content = np.concatenate([*(own[at] for own, at in zip(blocks, places, strict=True)), np.empty(0, np.uint64)])
    order = np.argsort(content, kind="stable")
    again = np.flatnonzero(content[order][1:] == content[order][:-1]) + 1
    source, copy = order[again - 1], order[again]
    # A block in which most bars repeat the one before is stale, not copied.
    stale = [np.concatenate(([0], np.cumsum(_repeats(each)))) for each in prices]
    pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for one, other in zip(source.tolist(), copy.tolist(), strict=True):
        at, begin = int(owner[other]), int(place[other])
        if 2 * (stale[at][begin + _BLOCK] - stale[at][begin]) < _BLOCK:
            pairs.setdefault((at, int(owner[one])), []).append((begin, int(place[one])))
    faults = [
        _copied(series[at], series[origin], found, len(prices[at])) for (at, origin), found in sorted(pairs.items())
    ]
    return finding_of(
        "copied_bars",
        "copied bars",
        faults,
        remedy="delete the data set with `ktrdr data delete`, and import its own bars again",
        clean=f"no {_BLOCK} bars in a row of {named([bars.symbol for bars in series])} stand in the data twice",
    )


def _copied(bars: Bars, origin: Bars, found: list[tuple[int, int]], length: int) -> str:
    covered = np.zeros(length, dtype=np.bool_)
    for begin, _ in found:
        covered[begin : begin + _BLOCK] = True
    begin, first = min(found)
    return (
        f"{bars.symbol} {bars.timeframe}: at least {int(covered.sum()):,} bars, from {format_time(bars.time[begin])}"
        f" on, have the prices of {origin.symbol} from {format_time(origin.time[first])} on"
    )


def _prices(bars: Bars) -> np.ndarray:
    """Return the four prices, float64 ``(n, 4)``."""
    return np.stack((bars.open, bars.high, bars.low, bars.close), axis=1)


def _repeats(prices: np.ndarray) -> np.ndarray:
    """Return which bars have all four prices of the bar before, bool ``(n,)``."""
    repeats = np.zeros(len(prices), dtype=np.bool_)
    repeats[1:] = (prices[1:] == prices[:-1]).all(axis=1)
    return repeats


def _filled_in(bars: Bars) -> np.ndarray:
    """Return which bars were filled in, bool ``(n,)``; none if they are few, or if ticks explain them."""
    repeats = _repeats(_prices(bars))
    none = np.zeros(len(bars), dtype=np.bool_)
    if not len(bars) or repeats.mean() <= MISSING_SHARE:
        return none
    allowed = _CHANCE * _repeats_by_chance(bars, repeats)
    if allowed < _NO_CHANCE:
        return repeats
    untraded = ~(bars.volume > 0)
    untraded[1:] |= bars.volume[1:] == bars.volume[:-1]
    # Of bars that are no repeats, so many have such a volume, too.
    usual = float(untraded[~repeats].mean())
    filled: np.ndarray = repeats & untraded
    return filled if filled.mean() > MISSING_SHARE + allowed * usual else none


def _repeats_by_chance(bars: Bars, repeats: np.ndarray) -> float:
    """Return the share of bars that repeat the one before if successive bars of an hour of the day are independent.

    A bar repeats the one before if it has the same shape (high, low and close from the open) and the same close. From
    the bars that are no repeats, of which a share ``q`` has a shape, follows the share ``p`` of all honest bars:
    of these ``p (1 - p)`` are no repeats, of ``1 - p**2``, so ``q = p / (1 + p)`` and ``p**2 = (q / (1 - q))**2``.
    """
    recent = slice(max(len(bars) - _MOST_BARS, 1), None)
    unit = float(np.median(bars.close)) * _SAME
    odd = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    sides = np.stack([getattr(bars, name)[recent] - bars.open[recent] for name in ("high", "low", "close")], axis=1)
    shape = (np.rint(sides / unit).astype(np.int64).view(np.uint64) * odd).sum(axis=1, dtype=np.uint64)
    held = (bars.close[1:] == bars.close[:-1])[recent.start - 1 :]
    hour = bars.time[recent].astype("datetime64[h]").astype(np.int64) % 24
    if len(hour) < 24 * _FEWEST_BARS:
        hour = np.zeros_like(hour)
    single = ~repeats[recent]
    total = 0.0
    for each in np.unique(hour):
        of_hour = hour == each
        own = of_hour & single
        if not own.any():
            continue
        _, kind = np.unique(shape[own], return_inverse=True)
        number = int(own.sum())
        same = (
            float(np.bincount(kind) @ np.bincount(kind, weights=held[own], minlength=int(kind.max()) + 1)) / number**2
        )
        root = min(np.sqrt(same), 0.5)
        total += float(of_hour.mean()) * float(root / (1 - root)) ** 2
    return total


def _longest_run(mask: np.ndarray) -> tuple[int, int]:
    """Return position and length of the longest run of True; there is one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(starts[longest]), int(lengths[longest])


def _blocks(prices: np.ndarray) -> np.ndarray:
    """Return a hash of the block of bars that begins at each bar, uint64 ``(n - 23,)``; none of fewer bars.

    The bits of the prices, multiplied by odd numbers modulo 2**64 and mixed; equal blocks have equal hashes.
    """
    if len(prices) < _BLOCK:
        return np.empty(0, np.uint64)
    odd = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
    bits = (np.ascontiguousarray(prices).view(np.uint64) * odd).sum(axis=1, dtype=np.uint64)
    bits = (bits ^ (bits >> np.uint64(29))) * odd[0]
    count = len(prices) - _BLOCK + 1
    content = np.zeros(count, np.uint64)
    for position in range(_BLOCK):
        content = content * odd[1] + bits[position : position + count]
    mixed: np.ndarray = (content ^ (content >> np.uint64(32))) * odd[2]
    return mixed ^ (mixed >> np.uint64(29))

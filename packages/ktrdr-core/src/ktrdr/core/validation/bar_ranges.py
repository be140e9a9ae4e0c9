"""Sets of bars as ascending, disjoint, half-open ranges of positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ktrdr.core.validation.fold_plan import Range

__all__ = ["count_bars", "join", "last_bars", "mask_of", "up_to", "without"]

Ranges = tuple[Range, ...]


def join(ranges: Iterable[Range]) -> Ranges:
    """Return the union of ``ranges``; adjacent ones are joined, empty ones left out."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def without(ranges: Iterable[Range], holes: Iterable[Range]) -> Ranges:
    """Return the bars of ``ranges`` that are in none of ``holes``."""
    left: list[Range] = []
    gaps = join(holes)
    for start, end in join(ranges):
        for first, last in gaps:
            if last <= start or first >= end:
                continue
            left.append((start, first))
            start = max(start, last)
        left.append((start, end))
    return join(left)


def up_to(ranges: Iterable[Range], end: int) -> Ranges:
    """Return the bars of ``ranges`` before ``end``."""
    return join((first, min(last, end)) for first, last in ranges)


def last_bars(ranges: Iterable[Range], count: int) -> Ranges:
    """Return the last ``count`` bars of ``ranges``, or all if there are fewer."""
    taken: list[Range] = []
    for start, end in reversed(join(ranges)):
        if count <= 0:
            break
        taken.append((max(start, end - count), end))
        count -= end - start
    return join(taken)


def count_bars(ranges: Iterable[Range]) -> int:
    """Return the number of bars of disjoint ranges."""
    return sum(end - start for start, end in ranges)


def mask_of(ranges: Sequence[Range], positions: np.ndarray) -> np.ndarray:
    """Return which positions are in ``ranges``, bool, one for each.

    Args:
        ranges: the ranges.
        positions: int64 ascending positions.
    """
    inside = np.zeros(len(positions), dtype=np.bool_)
    for start, end in ranges:
        inside[slice(*np.searchsorted(positions, (start, end)))] = True
    return inside

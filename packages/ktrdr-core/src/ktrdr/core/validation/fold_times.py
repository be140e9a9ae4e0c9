"""Positions of a symbol's bars on the timeline of all symbols."""

from __future__ import annotations

import numpy as np

__all__ = ["own_positions"]


def own_positions(timeline: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the position on the timeline of each of a symbol's bars before the reserve, int64 ascending.

    Args:
        timeline: ``datetime64[ns]`` ascending: opens of bars of any symbol before the reserve.
        time: ``datetime64[ns]`` ascending: opens of the symbol's bars, with those of the reserve.
    """
    before = time[: np.searchsorted(time, timeline[-1], side="right")] if len(timeline) else time[:0]
    if len(before) == len(timeline):
        return np.arange(len(before), dtype=np.int64)
    return np.searchsorted(timeline, before).astype(np.int64)

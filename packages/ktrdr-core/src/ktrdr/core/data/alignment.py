"""Alignment of timeframes: the bar of another timeframe that is visible when a base bar closes."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bars import Bars

__all__ = ["visible_index"]


def visible_index(base: Bars, other: Bars) -> np.ndarray:
    """Return, for each base bar, the row of ``other`` that is visible when it closes.

    It is the last bar of ``other`` that closes at or before the close of the base bar. Bars are labelled with their
    open, so a bar closes at open + timeframe.

    Args:
        base: bars of the base timeframe.
        other: bars of the other timeframe, ascending in time.

    Returns:
        int64 ``(len(base),)``; -1 where no bar of ``other`` has closed yet.
    """
    return np.searchsorted(other.close_time, base.close_time, side="right").astype(np.int64) - 1

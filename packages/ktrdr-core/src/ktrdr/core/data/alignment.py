"""Which bar of another timeframe is visible when a base bar closes."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bars import Bars

__all__ = ["visible_index"]


def visible_index(base: Bars, other: Bars) -> np.ndarray:
    """Return, for each base bar, the row of ``other`` that is visible when it closes.

    That is the last bar of ``other`` whose close is not later than the close of the base bar; a bar that closes at the
    same instant is visible. Bars are labelled by their open, so a close is open + timeframe.

    Returns:
        int64 ``(len(base),)``; -1 where no bar of ``other`` has closed yet.
    """
    return np.searchsorted(other.close_time, base.close_time, side="right").astype(np.int64) - 1

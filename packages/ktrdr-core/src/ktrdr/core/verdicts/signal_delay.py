"""The same account with every signal later: an edge that needs the first moment of a bar does not survive it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ktrdr.core.verdicts.verdict_result import Delay

__all__ = ["delay_of", "later_outputs"]


def delay_of(sharpe_after: Callable[[int], float | None]) -> Delay:
    """Return the Sharpe ratio of an account with its signals at their time, and one bar later.

    Args:
        sharpe_after: returns the annual Sharpe ratio of the account whose signals come a number of bars later; ``None``
            where it is not defined.
    """
    return Delay(observed=sharpe_after(0), later=sharpe_after(1))


def later_outputs(outputs: np.ndarray, bars: int) -> np.ndarray:
    """Return what a model predicts, a number of bars later.

    Args:
        outputs: float64 ``(n, classes)`` or ``(n,)``, one row per bar.
        bars: at least 0.

    Returns:
        An array of the same shape, with NaN on the first ``bars`` bars: no prediction.
    """
    if not bars:
        return outputs
    later = np.full_like(outputs, np.nan)
    later[bars:] = outputs[:-bars]
    return later

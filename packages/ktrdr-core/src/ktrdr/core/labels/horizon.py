"""Returns over a fixed number of bars, for labels with a fixed horizon."""

from __future__ import annotations

import numpy as np

__all__ = ["forward_returns", "horizon_end"]


def forward_returns(close: np.ndarray, horizon: int) -> np.ndarray:
    """Return ``close[t + horizon] / close[t] - 1``, float64 ``(n,)``; NaN for the last ``horizon`` bars."""
    n = len(close)
    result = np.full(n, np.nan)
    if horizon < n:
        result[: n - horizon] = close[horizon:] / close[: n - horizon] - 1.0
    return result


def horizon_end(n: int, horizon: int) -> np.ndarray:
    """Return the position ``horizon`` bars after each of ``n`` bars, at most the last bar: int64 ``(n,)``."""
    return np.minimum(np.arange(n, dtype=np.int64) + horizon, max(n - 1, 0))

"""The Mackey-Glass time series, a chaotic series without noise on which neuro-fuzzy models are compared."""

from __future__ import annotations

import numpy as np

__all__ = ["mackey_glass"]

_STEP, _DELAY = 0.1, 17.0


def mackey_glass(length: int) -> np.ndarray:
    """Return x at the times 0, 1, ..., ``length - 1``: float64 ``(length,)``, without a unit.

    ``x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x``, with x = 1.2 at time 0 and 0 before. It is solved by the
    classical Runge-Kutta method in steps of 0.1; the delayed value halfway between two steps is their mean.

    Source: M. C. Mackey and L. Glass, Oscillation and chaos in physiological control systems, Science 197 (1977)
    287-289; as J.-S. R. Jang predicts it in ANFIS, IEEE Transactions on Systems, Man, and Cybernetics 23:3 (1993).
    """

    def slope(x: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    behind = round(_DELAY / _STEP)
    x = [0.0] * behind + [1.2]
    for number in range(round((length - 1) / _STEP)):
        now, old, new = x[-1], x[number], x[number + 1]
        one = slope(now, old)
        two = slope(now + _STEP / 2 * one, (old + new) / 2)
        three = slope(now + _STEP / 2 * two, (old + new) / 2)
        four = slope(now + _STEP * three, new)
        x.append(now + _STEP / 6 * (one + 2 * two + 2 * three + four))
    return np.array(x[behind :: round(1 / _STEP)])

"""Worlds of bars with the volatility clusters of GARCH(1, 1), and independent signs.

A bar of the market, divided by the standard deviation that its past told, gives size and form of a bar of the world:
gap, high, low, close and volume. It is drawn at random, multiplied by the standard deviation that the past of the world
tells, and mirrored by a coin: filtered historical simulation (G. Barone-Adesi, K. Giannopoulos and L. Vosper, "VaR
without Correlations for Portfolios of Derivative Securities", Journal of Futures Markets, 1999) with independent signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from ktrdr.core.verdicts.garch_fit import fit_garch
from ktrdr.core.verdicts.relative_bars import CLOSE, mirrored

__all__ = ["GarchModel", "garch_model"]


@dataclass(frozen=True, slots=True, eq=False)
class GarchModel:
    """What the worlds of a symbol are made from.

    Attributes:
        mean: mean log return.
        alpha, beta: weights of the last squared deviation and of the last variance.
        variance: variance to which that of each bar returns, and the mean of the variances of each world.
        largest: largest variance of a bar: that of the market. Without it a drawn extreme could set off the next.
        shapes: float64 ``(4, n)``: moves less the mean, by their standard deviations; the mean square of the closes is
            1 unless all are 0.
        volume: float64 ``(n,)``: volume by standard deviation.
    """

    mean: float
    alpha: float
    beta: float
    variance: float
    largest: float
    shapes: np.ndarray
    volume: np.ndarray

    def world(self, drawn: np.ndarray, flipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the moves and volumes of a world.

        Args:
            drawn: int64 ``(n,)``: the bar of the market that each bar of the world is made from.
            flipped: bool ``(n,)``: the bars to mirror about the mean.

        Returns:
            Moves, float64 ``(4, n)``, and volume, float64 ``(n,)``.
        """
        shapes = self.shapes[:, drawn]
        deviation = np.sqrt(self._variances(shapes[CLOSE]))
        return self.mean + mirrored(shapes * deviation, flipped), self.volume[drawn] * deviation

    def _variances(self, shocks: np.ndarray) -> np.ndarray:
        """Return the variance of each bar, float64 ``(n,)``, if the bars move by ``shocks`` standard deviations."""
        kept = self.alpha * np.square(shocks) + self.beta
        constant, largest = self.variance * (1.0 - self.alpha - self.beta), self.largest
        steps = accumulate(
            kept[:-1].tolist(), lambda variance, share: min(constant + share * variance, largest), initial=self.variance
        )
        variances = np.fromiter(steps, dtype=np.float64, count=len(shocks))
        # Costs weigh more in a calmer world, so that a strategy would look better than it for that alone.
        return variances * (self.variance / variances.mean())


def garch_model(moves: np.ndarray, mean: float, volume: np.ndarray) -> GarchModel:
    """Return the model of a symbol.

    Args:
        moves: float64 ``(4, n)``, at least one bar: see :func:`~ktrdr.core.verdicts.relative_bars.moves_of`.
        mean: mean log return of the symbol.
        volume: float64 ``(n,)``; NaN where unknown.

    Returns:
        The model.
    """
    fit = fit_garch(moves[CLOSE])
    # A close that never moves tells no variance, but its bars may have highs and lows.
    variances = fit.variances if fit.variance > 0.0 else np.ones(moves.shape[1])
    # The persistence of a world is alpha + beta only if the squares of its shocks have the mean 1.
    scale = float((np.square(moves[CLOSE] - mean) / variances).mean())
    variances = variances * (scale if scale > 0.0 else 1.0)
    deviation = np.sqrt(variances)
    return GarchModel(
        mean,
        fit.alpha,
        fit.beta,
        fit.variance if fit.variance > 0.0 else 1.0,
        max(float(variances.max()), fit.variance),
        (moves - mean) / deviation,
        volume / deviation,
    )

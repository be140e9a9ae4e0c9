"""Worlds of bars with random signs: their sizes are those of the market, their directions are those of a coin.

With the previous close ``c`` and the mean log return ``m``, a bar is left as it is or mirrored about ``c + m``, all in
logarithms: gap, high, low and close. So no past bar tells the direction of the next one, while ranges, volatility
clusters, sessions, volume and drift stay. It is the sign test of R. A. Fisher, "The Design of Experiments" (1935),
section 21, for returns: if they are symmetric about their mean given the past, each choice of signs is as likely as
the one that happened.
"""

from __future__ import annotations

import numpy as np

from ktrdr.core.verdicts.relative_bars import mirrored

__all__ = ["flip"]


def flip(moves: np.ndarray, mean: float, flipped: np.ndarray) -> np.ndarray:
    """Return moves with some bars mirrored about the mean.

    Args:
        moves: float64 ``(4, n)``: see :func:`~ktrdr.core.verdicts.relative_bars.moves_of`.
        mean: mean log return of the symbol.
        flipped: bool ``(n,)``: the bars to mirror.

    Returns:
        float64 ``(4, n)``.
    """
    return mean + mirrored(moves - mean, flipped)

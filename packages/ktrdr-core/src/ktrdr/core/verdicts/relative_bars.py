"""Bars as log moves from the previous close, and back: worlds are made of such moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ktrdr.core.data.bars import Bars

__all__ = ["CLOSE", "bars_of_moves", "mirrored", "moves_of"]

CLOSE = 3
"""Row of the close among the moves."""

# Row of the move that each move becomes when a bar is turned upside down: high and low change places.
_UPSIDE_DOWN = [0, 2, 1, 3]
# No price of a market is so many powers of e away from another; further ones could not be represented.
_FARTHEST = 600.0


def moves_of(bars: Bars) -> np.ndarray:
    """Return the natural logarithms of open, high, low and close over the previous close.

    Args:
        bars: ``n`` bars with prices above zero, at least one.

    Returns:
        float64 ``(4, n - 1)``: the rows are open, high, low, close, the columns the bars after the first.
    """
    before = np.log(bars.close[:-1])
    return np.stack([np.log(price[1:]) - before for price in (bars.open, bars.high, bars.low, bars.close)])


def mirrored(moves: np.ndarray, upside_down: np.ndarray) -> np.ndarray:
    """Return moves with some bars turned upside down about zero.

    Args:
        moves: float64 ``(4, n)``, as of :func:`moves_of`.
        upside_down: bool ``(n,)``: the bars to turn.

    Returns:
        float64 ``(4, n)``.
    """
    return np.where(upside_down, -moves[_UPSIDE_DOWN], moves)


def bars_of_moves(base: Bars, moves: np.ndarray, volume: np.ndarray, world: str) -> Bars:
    """Return bars that begin with the first bar of ``base`` and then move as told.

    Args:
        base: ``n`` bars, at least one: the first bar, and the times of all.
        moves: float64 ``(4, n - 1)``, as of :func:`moves_of`.
        volume: float64 ``(n,)``.
        world: name of the bars' world.

    Returns:
        The bars. A high is never below the open and the close, and a low never above them.
    """
    level = np.concatenate(([0.0], np.cumsum(moves[CLOSE])[:-1])) if moves.shape[1] else np.zeros(0)
    after = base.close[0] * np.exp(np.clip(level + moves, -_FARTHEST, _FARTHEST))
    opens, highs, lows, closes = (
        np.concatenate((price[:1], row))
        for price, row in zip((base.open, base.high, base.low, base.close), after, strict=True)
    )
    # Rounding may put a close above the high that it was equal to.
    return replace(
        base,
        open=opens,
        high=np.maximum(highs, np.maximum(opens, closes)),
        low=np.minimum(lows, np.minimum(opens, closes)),
        close=closes,
        volume=volume,
        world=world,
    )

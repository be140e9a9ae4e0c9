"""The probability of backtest overfitting, by combinatorially symmetric cross-validation (CSCV).

Source: D. H. Bailey, J. M. Borwein, M. Lopez de Prado and Q. J. Zhu, "The Probability of Backtest Overfitting" (Journal
of Computational Finance, 2017). The days are cut into blocks. For each choice of half of the blocks, the trial with the
best Sharpe ratio there is looked up in the other half: if choosing tells nothing, it is below the median as often as
above it. The source counts logits of its rank up to 0, so the median itself counts as not above it.
"""

from __future__ import annotations

import itertools

import numpy as np

from ktrdr.core.verdicts.verdict_result import Overfitting

__all__ = ["BLOCKS", "overfitting_of"]

BLOCKS = 16
"""Number of blocks of days, as in the source: 12,870 splits."""

_FEWEST_DAYS_OF_A_BLOCK = 2
# A variance below this share of the mean square is rounding error of a constant series.
_ROUNDING = 1e-12


def overfitting_of(returns: np.ndarray, blocks: int = BLOCKS) -> Overfitting | None:
    """Return how often the best trial of one half of the days is not above the median in the other half.

    Args:
        returns: daily returns after costs, float64 ``(days, trials)``.
        blocks: number of blocks of days, even. Their lengths differ by at most a day.

    Returns:
        The share of the splits. A ratio that is not defined counts as 0, and equal ratios share the mean of their
        ranks. ``None`` for fewer than two trials, or fewer than two days in a block.
    """
    days, trials = returns.shape
    if trials < 2 or days < _FEWEST_DAYS_OF_A_BLOCK * blocks:
        return None
    # Longer blocks first.
    sizes = np.full(blocks, days // blocks) + (np.arange(blocks) < days % blocks)
    edges = np.cumsum(sizes) - sizes
    sums, squares = (np.add.reduceat(values, edges, axis=0) for values in (returns, np.square(returns)))
    halves = _halves(blocks)
    # Not by `@`: its last bits depend on the processor and its threads.
    of_halves = [np.einsum("ij,jk->ik", halves, each) for each in (sums, squares, sizes[:, np.newaxis])]
    ratios = _ratios(*of_halves)
    # In lexicographic order, the last choice has the blocks that the first one has not, and so on.
    others = ratios[::-1]
    best = ratios.argmax(axis=1)
    reached = np.take_along_axis(others, best[:, np.newaxis], axis=1)
    below = np.count_nonzero(others < reached, axis=1)
    above = np.count_nonzero(others > reached, axis=1)
    return Overfitting(
        trials=trials,
        days=days,
        blocks=blocks,
        splits=len(halves),
        probability=float(np.count_nonzero(below <= above) / len(halves)),
    )


def _halves(blocks: int) -> np.ndarray:
    """Return every choice of half of the blocks, float64 ``(splits, blocks)`` of 0 and 1, in lexicographic order."""
    chosen = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    return halves


def _ratios(sums: np.ndarray, squares: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Return Sharpe ratios per day from sums of returns and of their squares, float64 ``(splits, trials)``."""
    means = sums / days
    variances = squares / days - means * means
    known = variances > _ROUNDING * squares / days
    ratios = np.zeros_like(means)
    np.divide(means, np.sqrt(variances, where=known, out=np.ones_like(means)), out=ratios, where=known)
    return ratios

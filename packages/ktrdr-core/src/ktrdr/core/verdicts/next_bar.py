"""Check of validity: does an input know the return of the next bar?

Look-ahead that does not come from the bars, such as that of an indicator that reads a file of its own, does not change
with them. It shows in what the input predicts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.rank_numbers import rank_scores
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["check_next_bar"]

_KNOWS = 0.75
"""Rank correlation with the next bar's return above which an input knows it.

Bid-ask bounce, the strongest dependence of a bar on the one before that trading itself makes, gives returns an
autocorrelation of at most 0.5: R. Roll, A Simple Implicit Measure of the Effective Bid-Ask Spread in an Efficient
Market (1984). Of prices that are a constant and independent noise, the distance from the constant has the correlation
``1 / sqrt(2)`` with the next return, 0.71; no input has a larger one unless the noise alternates.
"""

_FEWEST_ROWS = 100
_MOST_ROWS = 5_000
_MOST_VALUES = 4_000_000


def check_next_bar(matrices: Mapping[str, FeatureMatrix], base: Mapping[str, Bars]) -> ValidityFinding:
    """Correlate every input, and its change from bar to bar, with the return of the next bar from open to close.

    An input knows the next bar if the correlation is above 0.75 in absolute value, and less than half of that one bar
    later. What a market lets predict, such as a trend, does not end after one bar.

    Args:
        matrices: features by symbol, not normalized.
        base: base bars by symbol.
    """
    columns = sum(matrix.values.shape[1] for matrix in matrices.values())
    most = int(np.clip(_MOST_VALUES // max(columns, 1), _FEWEST_ROWS, _MOST_ROWS))
    found: dict[str, list[tuple[str, float, float]]] = {}
    for symbol, matrix in matrices.items():
        for name, now, later in _knowing(matrix, base[symbol], most):
            found.setdefault(name, []).append((symbol, now, later))
    faults = [
        f"input `{name}` of {named([symbol for symbol, _, _ in own])} knows the next bar: its correlation with the"
        f" return of that bar is {own[0][1]:.2f}, and {own[0][2]:.2f} with that of the bar after"
        for name, own in found.items()
    ]
    return finding_of(
        "next_bar",
        "inputs that know the next bar",
        faults,
        remedy="it is read or computed one bar too early; shift it by a bar, or correct the indicator",
        clean=f"no input is correlated by more than {_KNOWS:g} with the return of the next bar",
    )


def _knowing(matrix: FeatureMatrix, bars: Bars, most: int) -> list[tuple[str, float, float]]:
    """Return the columns that know the next bar, with the correlations with it and with the bar after it."""
    values, warm = matrix.values, matrix.warm
    # Rows with features, a row before, and two bars after.
    rows = np.flatnonzero(warm[1:-2] & warm[:-3])[-most:] + 1
    if len(rows) < _FEWEST_ROWS:
        return []
    returns = np.log(bars.close) - np.log(bars.open)
    after = rank_scores(np.stack((returns[rows + 1], returns[rows + 2]), axis=1))
    known = []
    level = rank_scores(values[rows]).T @ after / len(rows)
    change = rank_scores(values[rows] - values[rows - 1]).T @ after / len(rows)
    for position, column in enumerate(matrix.columns):
        for now, later in (level[position], change[position]):
            if abs(now) > _KNOWS and 2 * abs(later) < abs(now):
                known.append((column.id, float(now), float(later)))
                break
    return known

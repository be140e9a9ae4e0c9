"""Check of validity: does an input know the return of the next bar, or of some bars to come?

Look-ahead that does not come from the bars, such as that of an indicator that reads a file of its own, does not change
with them. It shows in what the input predicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

_KNOWS_MORE = 0.85
"""The same for the return over some bars. A trend that fades has decided at most 0.81 of a return after which less than
half of it is left: returns whose autocorrelation falls by the factor ``f`` over these bars have the correlation
``(1 - f) / sqrt(2 (f - 1 - log(f)))`` with it, 0.805 for ``f = 1/2``.
"""

_HORIZONS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)
"""Bars of a return, besides that of the labels. With steps of at most a half, an input that knows the return over any
number of bars in between is correlated by more than 0.85 with one of them."""

_SINGLE = 12
"""Bars to come whose returns are looked at alone, besides the last of the labels and that of a day of hours."""

_ROWS_OF_HORIZON = 60
"""Rows for each bar of a horizon: returns that overlap are few independent ones, which chance lets predict."""

_FEWEST_ROWS = 100
_MOST_ROWS = 5_000
_MOST_VALUES = 4_000_000


def check_next_bar(
    matrices: Mapping[str, FeatureMatrix], base: Mapping[str, Bars], horizon: int = 1
) -> ValidityFinding:
    """Correlate every input, and its change from bar to bar, with the returns of the bars to come.

    An input knows a bar if the correlation with its return from open to close is above 0.75 in absolute value, and less
    than half of that one bar later. It knows the next bars if that with their return together is above 0.85, and less
    than half of that with the return of as many bars after them. What a market lets predict, such as a trend, does not
    end at a bar.

    Args:
        matrices: features by symbol, not normalized.
        base: base bars by symbol.
        horizon: bars that the labels look ahead.
    """
    columns = sum(matrix.values.shape[1] for matrix in matrices.values())
    most = int(np.clip(_MOST_VALUES // max(columns, 1), _FEWEST_ROWS, _MOST_ROWS))
    found: dict[str, list[tuple[str, _Known]]] = {}
    for symbol, matrix in matrices.items():
        for name, known in _knowing(matrix, base[symbol], most, horizon):
            found.setdefault(name, []).append((symbol, known))
    faults = [
        f"input `{name}` of {named([symbol for symbol, _ in own])} knows the {own[0][1].what}: its correlation with the"
        f" return of {own[0][1].that} is {own[0][1].now:.2f}, and {own[0][1].later:.2f} with that of the"
        f" {own[0][1].after}"
        for name, own in found.items()
    ]
    return finding_of(
        "next_bar",
        "inputs that know the next bar",
        faults,
        remedy="it is read or computed too early; shift it by as many bars, or correct the indicator",
        clean=f"no input is correlated by more than {_KNOWS:g} with the return of a bar to come, or by more than"
        f" {_KNOWS_MORE:g} with that of some",
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """What an input may know: the bar ``first`` to the bar ``last`` after its own, together.

    Attributes:
        first, last: bars, from 1 on.
        least: correlation above which it is known.
    """

    first: int
    last: int
    least: float

    def returns(self, bars: Bars, rows: np.ndarray) -> np.ndarray:
        """Return the log return for the bars at ``rows``, and that of as many bars after it, float64 ``(n, 2)``."""
        opens, closes = np.log(bars.open), np.log(bars.close)
        first, last, count = rows + self.first, rows + self.last, self.last - self.first + 1
        if count == 1:
            return np.stack((closes[first] - opens[first], closes[first + 1] - opens[first + 1]), axis=1)
        return np.stack((closes[last] - closes[first - 1], closes[last + count] - closes[last]), axis=1)


@dataclass(frozen=True, slots=True)
class _Known:
    """What an input knows, with the correlations."""

    target: _Target
    now: float
    later: float

    @property
    def what(self) -> str:
        """The bars, after "the"."""
        first, last = self.target.first, self.target.last
        return "next bar" if last == 1 else f"bar {first:,} bars ahead" if first == last else f"next {last:,} bars"

    @property
    def that(self) -> str:
        """The same, in a second mention."""
        return "that bar" if self.target.first == self.target.last else "these bars"

    @property
    def after(self) -> str:
        """The bars after them."""
        return "bar after" if self.target.first == self.target.last else "bars after"


def _targets(horizon: int, rows: int) -> list[_Target]:
    """Return what is looked for on that many rows, the next bar first."""
    longest = max(rows // _ROWS_OF_HORIZON, 1)
    single = sorted({*range(1, _SINGLE + 1), _HORIZONS[-1], max(horizon, 1)})
    several = sorted({*_HORIZONS, max(horizon, 2)})
    return [
        *(_Target(bar, bar, _KNOWS) for bar in single if bar <= longest),
        *(_Target(1, last, _KNOWS_MORE) for last in several if last <= longest),
    ]


def _knowing(matrix: FeatureMatrix, bars: Bars, most: int, horizon: int) -> list[tuple[str, _Known]]:
    """Return the columns that know what is to come, each with what it knows best."""
    values, warm = matrix.values, matrix.warm
    # Rows with features, and a row before.
    rows = np.flatnonzero(warm[1:] & warm[:-1]) + 1
    targets = _targets(horizon, min(len(rows), most))
    ahead = max(max(target.last + 1, 2 * target.last if target.first == 1 else 0) for target in targets)
    rows = rows[rows + ahead < len(bars)][-most:]
    if len(rows) < _FEWEST_ROWS:
        return []
    after = rank_scores(np.concatenate([target.returns(bars, rows) for target in targets], axis=1))
    level = rank_scores(values[rows]).T @ after / len(rows)
    change = rank_scores(values[rows] - values[rows - 1]).T @ after / len(rows)
    known = []
    for position, column in enumerate(matrix.columns):
        found = (
            _Known(target, float(own[2 * each]), float(own[2 * each + 1]))
            for each, target in enumerate(targets)
            for own in (level[position], change[position])
        )
        best = max((one for one in found if _knows(one)), key=lambda one: abs(one.now), default=None)
        if best is not None:
            known.append((column.id, best))
    return known


def _knows(known: _Known) -> bool:
    return abs(known.now) > known.target.least and 2 * abs(known.later) < abs(known.now)

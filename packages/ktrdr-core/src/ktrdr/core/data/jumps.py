"""Price jumps that may not be market moves: jumps like a split, and very large jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time

__all__ = ["JumpKind", "find_jumps", "jump_warnings", "large_jumps", "split_like_jumps"]

_SPLIT_RATIOS = np.array([3 / 2, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0])
_SPLIT_TOLERANCE = 0.04
_LARGE = 0.5
_TIMES_MEDIAN = 20.0
_EXAMPLES = 10
_MOST_SYMBOLS = 10
_MAY_BE = (
    "where that was no move of the market, a decimal sign may have been read wrong, or it may be bars of another"
    " symbol, a corporate action that prices were not adjusted for, or a bad tick"
)
_NOT_ADJUSTED = (
    "features, labels and trades take such a jump for a move of the market: import adjusted prices, or choose dates"
    " without it"
)
_WRONG = (
    "where that was no move of the market, features, labels and trades take it for one: correct the prices, or choose"
    " dates without it"
)


@dataclass(frozen=True, slots=True, eq=False)
class JumpKind:
    """The jumps of one kind in one series of bars.

    Attributes:
        kind: ``split_like_jump`` or ``large_jump``.
        rows: int64 ``(k,)``, positions of the bars, ascending; at least one.
        statement: a clause that describes the jumps and lists the first ten, without the symbol.
        cause: a clause with possible causes; empty if the statement names the cause.
        effect: a clause with the effect on a training or a backtest, and the remedy.
    """

    kind: str
    rows: np.ndarray
    statement: str
    cause: str
    effect: str

    @property
    def message(self) -> str:
        """A sentence with the jumps and their possible causes, without the symbol."""
        return f"{self.statement}; {self.cause}" if self.cause else self.statement


def find_jumps(bars: Bars, *, without: np.ndarray | None = None) -> tuple[JumpKind, ...]:
    """Return the jumps of ``bars`` by kind; a bar is in one kind at most. Prices must be above 0.

    Args:
        bars: the bars.
        without: positions of bars that are left out; ``None`` for none.
    """
    found = []
    left_out = np.empty(0, dtype=np.int64) if without is None else without
    rows, ratios = split_like_jumps(bars)
    kept = ~np.isin(rows, left_out)
    rows, ratios = rows[kept], ratios[kept]
    if len(rows):
        what = "1 jump looks like a split" if len(rows) == 1 else f"{len(rows):,} jumps look like splits"
        listed = _listed(bars, rows, [f"{ratio:.4g} to 1" for ratio in ratios[:_EXAMPLES]])
        text = f"{what} that prices were not adjusted for: {listed}"
        found.append(JumpKind("split_like_jump", rows, text, "", _NOT_ADJUSTED))
    large, before, after = large_jumps(bars)
    rest = ~np.isin(large, np.concatenate((rows, left_out)))
    large, before, after = large[rest], before[rest], after[rest]
    if len(large):
        what = "1 jump is" if len(large) == 1 else f"{len(large):,} jumps are"
        notes = [
            f"{old:.6g} to {new:.6g}, ratio {new / old:.3g}"
            for old, new in zip(before[:_EXAMPLES], after[:_EXAMPLES], strict=True)
        ]
        text = f"{what} far above what this series usually moves: {_listed(bars, large, notes)}"
        found.append(JumpKind("large_jump", large, text, _MAY_BE, _WRONG))
    return tuple(found)


def jump_warnings(series: Sequence[Bars]) -> tuple[str, ...]:
    """Return the warnings of a training or a backtest about jumps in its bars: one sentence per symbol and kind.

    If more than ten symbols have jumps, one more sentence names the others.

    Args:
        series: bars of each symbol; prices must be above 0.
    """
    warnings: list[str] = []
    symbols: list[str] = []
    for bars in series:
        found = find_jumps(bars)
        if found:
            symbols.append(bars.symbol)
        if len(symbols) <= _MOST_SYMBOLS:
            warnings += (f"{bars.symbol} {bars.timeframe}: {jumps.statement}; {jumps.effect}" for jumps in found)
    if others := symbols[_MOST_SYMBOLS:]:
        warnings.append(
            f"{len(others):,} more symbol{' has' if len(others) == 1 else 's have'} such jumps ({', '.join(others)});"
            " `ktrdr data check` lists them"
        )
    return tuple(warnings)


def split_like_jumps(bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of bars that open at about a simple ratio of the close before, and that ratio.

    A ratio above 1 means a lower price (2.0: a 2 for 1 split), below 1 a higher one. Only jumps within 4 % of a usual
    split ratio count. Prices alone do not show whether it was a split.

    Returns:
        int64 ``(k,)``, ascending; and float64 ``(k,)``.
    """
    if len(bars) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0)
    change = bars.close[:-1] / bars.open[1:]
    row = np.flatnonzero((change > 1.4) | (change < 1 / 1.4))
    factor = np.where(change[row] > 1, change[row], 1 / change[row])
    off = np.abs(factor[:, None] / _SPLIT_RATIOS[None, :] - 1)
    nearest = off.argmin(axis=1)
    near = off[np.arange(len(row)), nearest] <= _SPLIT_TOLERANCE
    ratio = np.where(change[row] > 1, _SPLIT_RATIOS[nearest], 1 / _SPLIT_RATIOS[nearest])
    return row[near] + 1, ratio[near]


def large_jumps(bars: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bars whose absolute log return is above 0.5 and above 20 times the median of the series.

    The return is that of the open or of the close, each from the close before. The median is that of all absolute log
    returns from close to close, zeros included. If most bars do not move, the median is 0 and only the bound of 0.5
    applies: such a series gives no evidence that larger moves are usual.

    Args:
        bars: prices must be above 0.

    Returns:
        int64 positions, ascending; float64 closes before; and float64 prices jumped to: the open, or the close where
        the open is within the bounds.
    """
    if len(bars) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
    before, opened, closed = bars.close[:-1], bars.open[1:], bars.close[1:]
    # Logarithms of all bars cost more than all other checks together, and most series have no large move.
    rows = np.flatnonzero(_may_be_large(opened / before) | _may_be_large(closed / before))
    if len(rows):
        bound = max(_LARGE, _TIMES_MEDIAN * float(np.median(np.abs(np.log(closed / before)))))
        at_open = np.abs(np.log(opened[rows] / before[rows])) > bound
        large = at_open | (np.abs(np.log(closed[rows] / before[rows])) > bound)
        rows, at_open = rows[large], at_open[large]
    else:
        at_open = np.empty(0, dtype=np.bool_)
    return rows + 1, before[rows], np.where(at_open, opened[rows], closed[rows])


def _may_be_large(change: np.ndarray) -> np.ndarray:
    return (change > 1.6) | (change < 1 / 1.6)


def _listed(bars: Bars, rows: np.ndarray, notes: Sequence[str]) -> str:
    listed = ", ".join(f"{format_time(bars.time[row])} ({note})" for row, note in zip(rows, notes, strict=False))
    more = len(rows) - len(notes)
    return f"{listed} and {more:,} more" if more else listed

"""Second half of the feature pipeline: alignment, lags and memberships of indicator values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.features.sources import Source
from ktrdr.core.fuzzy.membership import write_membership

__all__ = ["assemble"]

# Rows per block. A block's values and its part of the matrix stay in the processor's cache for any number of bars and
# columns. Writing whole columns instead would pass a matrix of a million rows through memory once per column.
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class _Reader:
    """Values of one source on the base rows, delayed by ``lag`` rows, and the columns computed from them."""

    values: np.ndarray
    visible: np.ndarray | None
    lag: int
    columns: tuple[tuple[int, FeatureColumn], ...]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the values of rows ``[start, stop)``, float64 ``(stop - start,)``; NaN before the first row."""
        first, last = start - self.lag, stop - self.lag
        if first < 0:
            before = np.full(min(-first, stop - start), np.nan)
            return before if last <= 0 else np.concatenate((before, self._present(0, last)))
        return self._present(first, last)

    def _present(self, first: int, last: int) -> np.ndarray:
        if self.visible is None:
            return self.values[first:last]
        # The last value is NaN, for index -1, which means that no bar is visible yet.
        return np.take(self.values, self.visible[first:last])


def assemble(
    columns: Sequence[FeatureColumn],
    values: Mapping[Source, np.ndarray],
    visible: Mapping[str, np.ndarray | None],
    rows: int,
    *,
    withheld: int,
    complete_rows: bool,
) -> np.ndarray:
    """Return the matrix of ``columns``, with raw columns not yet normalized.

    Args:
        columns: columns of the matrix, in order.
        values: float64 values of each source on its own timeframe's bars.
        visible: per timeframe, int ``(rows,)``: the row of its last bar that is complete at each base bar's close, -1
            for none; ``None`` for the base timeframe itself.
        rows: number of base bars.
        withheld: number of leading rows that are always NaN if ``complete_rows``.
        complete_rows: make every column of a row NaN if any of them is, and of the ``withheld`` rows.

    Returns:
        float32, C-contiguous, ``(rows, len(columns))``.
    """
    matrix = np.empty((rows, len(columns)), dtype=np.float32)
    readers = _readers(columns, values, visible)
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        block = matrix[start:stop]
        missing = np.arange(start, stop) < withheld
        for reader in readers:
            read = reader.read(start, stop)
            missing |= np.isnan(read)
            for position, column in reader.columns:
                if column.function is None:
                    block[:, position] = read
                else:
                    write_membership(column.function, read, block[:, position])
        if complete_rows and missing.any():
            block[missing] = np.nan
    return matrix


def _readers(
    columns: Sequence[FeatureColumn],
    values: Mapping[Source, np.ndarray],
    visible: Mapping[str, np.ndarray | None],
) -> list[_Reader]:
    """Group columns that read the same values at the same lag, to fetch the values once per block."""
    groups: dict[tuple[Source, int], list[tuple[int, FeatureColumn]]] = {}
    for position, column in enumerate(columns):
        groups.setdefault(((column.timeframe, column.indicator), column.lag), []).append((position, column))
    ended: dict[Source, np.ndarray] = {
        source: values[source] if visible[source[0]] is None else np.append(values[source], np.nan)
        for source, _ in groups
    }
    return [
        _Reader(ended[source], visible[source[0]], lag, tuple(members)) for (source, lag), members in groups.items()
    ]

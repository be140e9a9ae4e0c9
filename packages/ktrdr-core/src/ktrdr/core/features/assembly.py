"""Indicator values to the feature matrix: alignment, lags and membership, the second half of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.features.sources import Source
from ktrdr.core.fuzzy.membership import write_membership

__all__ = ["assemble"]

# Rows at a time: what is computed and the part of the matrix it goes to stay in the processor's cache, whatever the
# number of bars and columns. Written column by column instead, a matrix of a million rows goes through memory once
# per column.
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class _Reader:
    """Values of one source on the base rows, ``lag`` rows late, and the columns made of them."""

    values: np.ndarray
    visible: np.ndarray | None
    lag: int
    columns: tuple[tuple[int, FeatureColumn], ...]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return float64 ``(stop - start,)``."""
        first, last = start - self.lag, stop - self.lag
        if first < 0:
            before = np.full(min(-first, stop - start), np.nan)
            return before if last <= 0 else np.concatenate((before, self._present(0, last)))
        return self._present(first, last)

    def _present(self, first: int, last: int) -> np.ndarray:
        if self.visible is None:
            return self.values[first:last]
        # Index -1, nothing visible yet, reads the NaN at the end.
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
    """Return the matrix of ``columns``, raw ones not yet normalized.

    Args:
        columns: in order.
        values: float64 values of each source on its own timeframe's bars.
        visible: per timeframe, the row of its bars visible at each base bar's close (-1: none), ``None`` for the
            base timeframe itself.
        rows: number of base bars.
        withheld: leading rows that are left out whatever they hold.
        complete_rows: make a row NaN throughout if any of its columns is, and withhold the leading ones.

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
    """Group columns that read the same values at the same lag, so that those are fetched once per block."""
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

"""Rows of an import as they were read, before times are converted to UTC and prices are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

__all__ = ["RawBars", "StagedRows"]


@dataclass(frozen=True, slots=True)
class RawBars:
    """Rows of one symbol in the order of the file.

    Attributes:
        row: int64 ``(n,)``, position in the file, from 0.
        time: int64 ``(n,)``, nanoseconds since 1970 as written, before any zone.
        offset: int64 ``(n,)``, minutes east of UTC as written in the file, or None if it has no zones.
        prices: ``open``, ``high``, ``low``, ``close``, ``volume`` (NaN if unknown), float64 ``(n,)``.
    """

    row: np.ndarray
    time: np.ndarray
    offset: np.ndarray | None
    prices: Mapping[str, np.ndarray]


class StagedRows(Protocol):
    """What an import needs from the rows of a file or of a DataFrame.

    Attributes:
        zone: the zone that the times name, if its offset changes over the year; else None.
        notes: assumptions, and what was left out.
        symbols: by symbol, its first row, last row and number of rows; one empty symbol if the rows name none.
        bad_rows: places and reasons of the first rows that were left out.
        bad_count: number of the rows that were left out.
    """

    zone: ZoneInfo | None
    notes: list[str]
    symbols: dict[str, tuple[int, int, int]]
    bad_rows: list[str]
    bad_count: int

    @property
    def shown(self) -> Path | str:
        """The name of the file in messages."""
        ...

    @property
    def zoned(self) -> bool:
        """True if the times have an offset from UTC, or are instants."""
        ...

    def place(self, row: int) -> str:
        """Return where a row is, for messages."""
        ...

    def places(self, rows: list[int]) -> list[str]:
        """Return where rows, ascending, are, for messages."""
        ...

    def raw_bars(self, symbol: str) -> RawBars:
        """Return the rows of one symbol."""
        ...

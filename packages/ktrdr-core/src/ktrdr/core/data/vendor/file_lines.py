"""Where a row of a table stands in its text file: looked up when a message needs it, since few do."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FileLines"]


@dataclass(frozen=True, slots=True)
class FileLines:
    """Lines of a text file: blank ones and those with another number of columns hold no row.

    Attributes:
        path: the file, UTF-8.
        delimiter: between columns.
        skip: lines before the first row.
        width: columns of a row.
    """

    path: Path
    delimiter: str
    skip: int
    width: int

    def of_rows(self, rows: Sequence[int]) -> list[int]:
        """Return the line, from 1, in which each of ``rows`` (from 0, ascending) begins; reads the file up to it."""
        found: list[int] = []
        wanted = iter(rows)
        row = next(wanted, None)
        position = -1
        for line, width in self._lines():
            if row is None:
                break
            position += width == self.width
            if width == self.width and position == row:
                found.append(line)
                row = next(wanted, None)
        return found

    def without_row(self, limit: int) -> tuple[list[tuple[int, int]], int]:
        """Return line and number of columns of the first ``limit`` lines that are no rows, and how many there are."""
        found: list[tuple[int, int]] = []
        count = 0
        for line, width in self._lines():
            if width != self.width:
                count += 1
                if len(found) < limit:
                    found.append((line, width))
        return found, count

    def _lines(self) -> Iterator[tuple[int, int]]:
        """Yield the first line of each record, from 1, and its number of columns; blank lines are left out."""
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for _ in range(self.skip):
                file.readline()
            reader = csv.reader(file, delimiter=self.delimiter)
            before = 0
            for record in _records(reader):
                # Empty cells behind the last column are none to DuckDB.
                while len(record) > self.width and record[-1] == "":
                    record.pop()
                if len(record) > 1 or (record and record[0].strip()):
                    yield self.skip + before + 1, len(record)
                before = reader.line_num


def _records(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield the records of a ``csv.reader``; one with a cell that is longer than any is a single column."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield ["?"]

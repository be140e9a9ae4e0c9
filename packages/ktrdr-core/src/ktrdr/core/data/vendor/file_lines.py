"""Line numbers of rows in a text file, looked up only when a message needs one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FileLines"]


@dataclass(frozen=True, slots=True)
class FileLines:
    """The lines of a text file. Blank lines and lines with another number of columns are not rows.

    Attributes:
        path: the file, UTF-8.
        delimiter: character between columns.
        skip: number of lines before the first row.
        width: number of columns of a row.
    """

    path: Path
    delimiter: str
    skip: int
    width: int

    def of_rows(self, rows: Sequence[int]) -> list[int]:
        """Return the line, from 1, in which each of ``rows`` (from 0, ascending) begins; reads no further."""
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
        """Return number and columns of the first ``limit`` lines that are not rows, and the count of such lines."""
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
                # DuckDB ignores empty cells after the last column.
                while len(record) > self.width and record[-1] == "":
                    record.pop()
                if len(record) > 1 or (record and record[0].strip()):
                    yield self.skip + before + 1, len(record)
                before = reader.line_num


def _records(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield the records of a ``csv.reader``; a record with a cell that is too long becomes a single column."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield ["?"]

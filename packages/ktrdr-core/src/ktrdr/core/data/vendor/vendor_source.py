"""A file as a DuckDB relation with one column per role."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ktrdr.core.data.parquet import quoted_path
from ktrdr.core.data.vendor.file_lines import FileLines
from ktrdr.core.data.vendor.vendor_columns import Layout, Wanted, assign_roles, read_layout, spare_volumes
from ktrdr.core.data.vendor.vendor_files import PlainFile
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.disk_space import is_out_of_room

__all__ = ["PRICES", "Source", "open_source"]

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Source:
    """A file and its layout.

    Attributes:
        shown: the file's name for messages.
        path: the file that DuckDB reads.
        roles: position of the column of each role.
        names: names of the columns.
        types: DuckDB's type of each column; ``VARCHAR`` throughout for text.
        layout: of a text file; None for Parquet, whose rows have no lines.
        spare_volumes: positions of further volume columns, used if that of ``roles`` is 0 throughout.
        symbol: of all rows, if the head of the file names it; else empty.
        notes: assumptions.
        left_out: names of columns that have no role.
    """

    shown: Path
    path: Path
    roles: Mapping[str, int]
    names: tuple[str, ...]
    types: tuple[str, ...]
    layout: Layout | None
    spare_volumes: tuple[int, ...]
    symbol: str
    notes: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def volumes(self) -> tuple[str, ...]:
        """Roles of volume columns, the preferred one first: ``volume``, then ``volume_1`` and so on."""
        first = ("volume",) if "volume" in self.roles else ()
        return (*first, *(f"volume_{i + 1}" for i in range(len(self.spare_volumes))))

    @property
    def columns(self) -> dict[str, int]:
        """Position by role, with the spare volumes."""
        return dict(self.roles) | dict(zip(self.volumes[1:], self.spare_volumes, strict=True))

    @property
    def delimiter(self) -> str:
        """Character between columns; empty for Parquet."""
        return self.layout.delimiter if self.layout is not None else ""

    @property
    def lines(self) -> FileLines | None:
        """Line numbers of the rows of a text file; None for Parquet."""
        if self.layout is None:
            return None
        return FileLines(self.path, self.layout.delimiter, self.layout.skip, len(self.names))

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of the SQL of :meth:`relation`."""
        return {"path": quoted_path(self.path)}

    def type_of(self, role: str) -> str:
        """Return DuckDB's type of the column of ``role``."""
        return self.types[self.columns[role]]

    def relation(self, types: Mapping[str, str] | None = None) -> str:
        """Return SQL for the rows in the order of the file, with one column per role, named after the role.

        Args:
            types: for text files, the type to read for each role; a line or a cell that does not fit is then an error.
                By default all columns are text, and DuckDB skips and records lines with another number of columns.
        """
        chosen = ", ".join(f'"{self._column(place)}" AS "{role}"' for role, place in self.columns.items())
        if self.layout is None:
            return f"SELECT {chosen} FROM read_parquet($path)"
        by_place = {self.columns[role]: kind for role, kind in (types or {}).items()}
        declared = ", ".join(
            f"'{self._column(place)}': '{by_place.get(place, 'VARCHAR')}'" for place in range(len(self.names))
        )
        delimiter = self.layout.delimiter.replace("\t", "\\t")
        rejects = "" if types else "store_rejects=true, "
        return (
            f"SELECT {chosen} FROM read_csv($path, auto_detect=false, header=false, skip={self.layout.skip}, "
            f"delim=E'{delimiter}', quote='\"', escape='\"', columns={{{declared}}}, null_padding=false, "
            f"strict_mode=true, {rejects}max_line_size=1000000)"
        )

    def unreadable(self, error: duckdb.Error) -> BadInputError:
        """Return the error for a file that DuckDB cannot read; if the disk is full, raise that instead."""
        if is_out_of_room(error):
            raise error
        head = str(error).splitlines()[0].partition(": ")[2]
        if self.layout is None:
            reason = re.sub(r"File '.*?'", "it is", head)
            return BadInputError(f"{self.shown} is a damaged or cut off Parquet file ({reason}): fetch it again")
        return BadInputError(f"{self.shown} cannot be read as columns of text ({head}): check its line ends and quotes")

    def _column(self, place: int) -> str:
        return f"c{place}" if self.layout is not None else self.names[place].replace('"', '""')


def open_source(connection: duckdb.DuckDBPyConnection, plain: PlainFile, shown: Path, wanted: Wanted) -> Source:
    """Return the source of the file ``plain``.

    Raises:
        BadInputError: it has no columns of bars, or is an unreadable Parquet file.
    """
    if plain.is_parquet:
        return _parquet_source(connection, plain, shown, wanted)
    layout = read_layout(plain.path, shown, wanted)
    return Source(
        shown,
        plain.path,
        layout.roles,
        layout.columns,
        ("VARCHAR",) * len(layout.columns),
        layout,
        layout.spare_volumes,
        layout.symbol,
        (*plain.notes, *layout.notes),
        layout.left_out,
    )


def _parquet_source(connection: duckdb.DuckDBPyConnection, plain: PlainFile, shown: Path, wanted: Wanted) -> Source:
    source = Source(shown, plain.path, {}, (), (), None, (), "", plain.notes, ())
    try:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet($path)", source.parameters).fetchall()
    except duckdb.Error as error:
        raise source.unreadable(error) from error
    names = tuple(str(row[0]) for row in described)
    roles, notes, left_out = assign_roles(names, shown, wanted.columns)
    spare = spare_volumes(names, roles, wanted.columns)
    types = tuple(str(row[1]) for row in described)
    return Source(shown, plain.path, roles, names, types, None, spare, "", (*plain.notes, *notes), left_out)

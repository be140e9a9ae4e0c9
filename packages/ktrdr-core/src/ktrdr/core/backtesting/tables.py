"""Tables of results: named columns of equal length, written to and read from Parquet files.

Equal content gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ktrdr.core.data.parquet import connect, copy_to_file
from ktrdr.core.files.json_values import plain_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Table", "read_table", "rows_of", "time_text", "write_table"]

Table: TypeAlias = dict[str, np.ndarray]
"""Columns ``(n,)`` by name, in order. Times are ``datetime64[ns]``, UTC, ``NaT`` for none; numbers are float64 or
int64; text is an array of ``str`` objects."""

_SYMBOL = "symbol"


def write_table(
    tables: Mapping[str, Table],
    path: Path,
    *,
    by_symbol: bool = False,
    connection: DuckDBPyConnection | None = None,
) -> None:
    """Write one table, or the tables of several symbols, to a Parquet file.

    Args:
        tables: tables with the same columns, by symbol; a single table may have any key.
        path: file to write.
        by_symbol: write the rows of all tables one after the other, with a column ``symbol`` in front.
        connection: DuckDB to write with, by default a new one. To open one takes longer than to write a small table.

    Raises:
        OSError: the disk is full, or the directory is missing or not writable.
    """
    with connect() if connection is None else nullcontext(connection) as writer:
        parts = []
        for number, (symbol, table) in enumerate(tables.items()):
            writer.register(f"table_{number}", table)
            prefix = f"'{symbol}' AS {_SYMBOL}, " if by_symbol else ""
            parts.append(f"SELECT {prefix}* FROM table_{number}")
        copy_to_file(writer, " UNION ALL ".join(parts), path, "FORMAT parquet, COMPRESSION zstd")


def read_table(path: Path, symbol: str | None = None, *, connection: DuckDBPyConnection | None = None) -> Table:
    """Return a table that :func:`write_table` wrote.

    Args:
        path: file to read.
        symbol: return only the rows of this symbol, without the column ``symbol``.
        connection: DuckDB to read with, by default a new one.

    Raises:
        OSError, duckdb.Error: the file is missing or damaged.
    """
    with connect() if connection is None else nullcontext(connection) as reader:
        what = "*" if symbol is None else f"* EXCLUDE ({_SYMBOL})"
        where = "" if symbol is None else f" WHERE {_SYMBOL} = $symbol"
        columns = reader.execute(
            f"SELECT {what} FROM read_parquet($path){where}",
            {"path": str(path)} | ({} if symbol is None else {"symbol": symbol}),
        ).fetchnumpy()
    return {name: _filled(np.ma.asanyarray(column)) for name, column in columns.items()}


def rows_of(table: Table) -> list[dict[str, Any]]:
    """Return one JSON-ready map per row: times as ISO text; NaT, NaN and infinities as ``None``."""
    columns = {
        name: time_text(column) if column.dtype.kind == "M" else plain_json(column) for name, column in table.items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def time_text(times: np.ndarray) -> list[str | None]:
    """Return ``datetime64`` times as ``YYYY-MM-DDTHH:MM:SSZ``, and ``None`` for NaT."""
    texts = np.datetime_as_string(times.astype("datetime64[s]"), unit="s").tolist()
    return [None if text == "NaT" else f"{text}Z" for text in texts]


def _filled(column: np.ndarray) -> np.ndarray:
    if isinstance(column, np.ma.MaskedArray) and column.dtype.kind in "Mf":
        return column.filled(np.datetime64("NaT") if column.dtype.kind == "M" else np.nan)
    return np.asarray(column)

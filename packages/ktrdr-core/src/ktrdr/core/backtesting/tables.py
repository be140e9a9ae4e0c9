"""Tables of results: named columns of equal length, to Parquet and back, equal bytes for equal content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ktrdr.core.data.parquet import connect, copy_to_file
from ktrdr.core.files.json_values import plain_json

__all__ = ["Table", "read_table", "rows_of", "time_text", "write_table"]

Table: TypeAlias = dict[str, np.ndarray]
"""Columns ``(n,)`` by name, in order. Times are ``datetime64[ns]``, UTC, ``NaT`` for none; numbers are float64 or
int64; text is an array of ``str`` objects."""

_SYMBOL = "symbol"


def write_table(tables: Mapping[str, Table], path: Path, *, by_symbol: bool = False) -> None:
    """Write a table to a Parquet file; with ``by_symbol``, those of several symbols below each other, with a column
    ``symbol`` in front.

    ``tables`` maps symbols to tables of the same columns, or any one key to the only table.

    Raises:
        OSError: the disk is full, or the directory is not there or not writable.
    """
    with connect() as connection:
        parts = []
        for number, (symbol, table) in enumerate(tables.items()):
            connection.register(f"table_{number}", table)
            prefix = f"'{symbol}' AS {_SYMBOL}, " if by_symbol else ""
            parts.append(f"SELECT {prefix}* FROM table_{number}")
        copy_to_file(connection, " UNION ALL ".join(parts), path, "FORMAT parquet, COMPRESSION zstd")


def read_table(path: Path, symbol: str | None = None) -> Table:
    """Return what :func:`write_table` wrote; with ``symbol``, its rows, without that column.

    Raises:
        OSError, duckdb.Error: the file is missing or damaged.
    """
    with connect() as connection:
        what = "*" if symbol is None else f"* EXCLUDE ({_SYMBOL})"
        where = "" if symbol is None else f" WHERE {_SYMBOL} = $symbol"
        columns = connection.execute(
            f"SELECT {what} FROM read_parquet($path){where}",
            {"path": str(path)} | ({} if symbol is None else {"symbol": symbol}),
        ).fetchnumpy()
    return {name: _filled(np.ma.asanyarray(column)) for name, column in columns.items()}


def rows_of(table: Table) -> list[dict[str, Any]]:
    """Return a table as one JSON-ready map per row: times as ISO text, NaT and numbers not finite as ``None``."""
    columns = {
        name: time_text(column) if column.dtype.kind == "M" else plain_json(column) for name, column in table.items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def time_text(times: np.ndarray) -> list[str | None]:
    """Return ``YYYY-MM-DDTHH:MM:SSZ`` for each of ``datetime64`` ``times``, ``None`` for NaT."""
    texts = np.datetime_as_string(times.astype("datetime64[s]"), unit="s").tolist()
    return [None if text == "NaT" else f"{text}Z" for text in texts]


def _filled(column: np.ndarray) -> np.ndarray:
    if isinstance(column, np.ma.MaskedArray) and column.dtype.kind in "Mf":
        return column.filled(np.datetime64("NaT") if column.dtype.kind == "M" else np.nan)
    return np.asarray(column)

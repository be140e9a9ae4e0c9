"""Reads and writes bars in Parquet files, with DuckDB.

Columns: ``time`` (TIMESTAMP_NS, the open of the bar, UTC), ``open``, ``high``, ``low``, ``close``, ``volume`` (DOUBLE;
``volume`` is null where unknown). Rows ascend in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.files.durable import sync_file

__all__ = [
    "COLUMNS",
    "PARQUET_COPY",
    "bar_metadata",
    "calendar_in_file",
    "connect",
    "copy_to_file",
    "quoted_path",
    "read_parquet",
    "world_in_file",
    "write_parquet",
]

COLUMNS = ("time", "open", "high", "low", "close", "volume")

PARQUET_COPY = "FORMAT parquet, COMPRESSION zstd"
"""Options of DuckDB's ``COPY`` to a Parquet file."""

# Exported files contain calendar and world; in the store they are in the manifest.
_CALENDAR_KEY = "ktrdr.calendar"
_WORLD_KEY = "ktrdr.world"
_ROWS_PER_QUERY = 2_000_000


def connect(database: Path | None = None, temporary: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB with little memory and without network access.

    It has one thread: with several, DuckDB 2.0 changes the order of the rows of a large CSV file (whatever
    ``preserve_insertion_order`` is), and bars need their order. One thread is hardly slower.

    Args:
        database: file of the database; in memory by default.
        temporary: directory for temporary files.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": "1",
        "memory_limit": "384MiB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if temporary is not None:
        config["temp_directory"] = str(temporary)
    return duckdb.connect(":memory:" if database is None else str(database), config=config)


def quoted_path(path: Path) -> str:
    """Return ``path`` for DuckDB, with the characters of patterns escaped."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def copy_to_file(connection: duckdb.DuckDBPyConnection, select: str, path: Path, options: str) -> None:
    """Write the result of ``select`` to ``path``, with the options of DuckDB's ``COPY``.

    Raises:
        OSError: the disk is full, or the directory does not exist or is not writable.
    """
    literal = str(path).replace("'", "''")
    try:
        # The caller replaces the old file itself, so DuckDB need not write to a temporary file.
        connection.execute(f"COPY ({select}) TO '{literal}' ({options}, USE_TMP_FILE false)")
    except duckdb.IOException as error:
        raise OSError(str(error)) from error


def bar_metadata(calendar: str | None, world: str = "") -> str:
    """Return the options of ``COPY`` that write calendar and world into a Parquet file; empty if there is neither."""
    values = {_CALENDAR_KEY: calendar, _WORLD_KEY: world}
    known = [f"'{key}': '{value.replace(chr(39), 2 * chr(39))}'" for key, value in values.items() if value]
    return f", KV_METADATA {{{', '.join(known)}}}" if known else ""


def calendar_in_file(path: Path) -> str | None:
    """Return the calendar in the metadata of a Parquet file, ``None`` if there is none.

    Raises:
        duckdb.Error: the file is not a Parquet file, or is damaged.
    """
    return _metadata_in_file(path, _CALENDAR_KEY)


def world_in_file(path: Path) -> str | None:
    """Return the synthetic market in the metadata of a Parquet file, ``None`` if its bars are not from one.

    Raises:
        duckdb.Error: the file is not a Parquet file, or is damaged.
    """
    return _metadata_in_file(path, _WORLD_KEY)


def _metadata_in_file(path: Path, key: str) -> str | None:
    with connect() as connection:
        found = connection.execute(
            "SELECT value FROM parquet_kv_metadata($file) WHERE key = $key",
            {"file": quoted_path(path), "key": key.encode()},
        ).fetchone()
    return None if found is None else bytes(found[0]).decode("utf-8", "replace")


def write_parquet(bars: Bars, path: Path) -> None:
    """Write ``bars`` to ``path`` and flush the file to the disk.

    Raises:
        OSError: the disk is full, or the directory does not exist or is not writable.
    """
    with connect() as connection:
        connection.register("bars", {name: getattr(bars, name) for name in COLUMNS})
        copy_to_file(connection, "FROM bars", path, f"{PARQUET_COPY}, ROW_GROUP_SIZE 122880")
    sync_file(path)


def read_parquet(
    files: Sequence[tuple[Path, int]], start: np.datetime64 | None = None, end: np.datetime64 | None = None
) -> dict[str, np.ndarray]:
    """Return the columns of all ``files`` (path, number of rows) for ``start <= time < end``, concatenated.

    Memory use is that of the result and about two million more rows.

    Raises:
        duckdb.Error: a file is missing or damaged, or a column has other values than numbers.
    """
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    with connect() as connection:
        for group in _groups(files):
            result = connection.execute(
                "SELECT time::TIMESTAMP_NS AS time, open, high, low, close, coalesce(volume, 'nan'::DOUBLE) AS volume "
                "FROM read_parquet($files) "
                "WHERE ($start IS NULL OR time >= make_timestamp_ns($start))"
                " AND ($end IS NULL OR time < make_timestamp_ns($end))",
                {
                    "files": [quoted_path(path) for path in group],
                    "start": _nanoseconds(start),
                    "end": _nanoseconds(end),
                },
            ).fetchnumpy()
            for name in COLUMNS:
                pieces[name].append(_typed(name, result.pop(name)))
    columns: dict[str, np.ndarray] = {}
    for name in COLUMNS:
        parts = pieces.pop(name)
        # A copy of a single part would take a third of the time of its query.
        columns[name] = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, dtype=_dtype(name))])
    return columns


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype("datetime64[ns]" if name == "time" else np.float64)


def _typed(name: str, column: Any) -> np.ndarray:
    """Return a column of a result as float64 or datetime64[ns].

    It has NaN or NaT for nulls, which are unexpected and refused by the caller.
    """
    dtype = _dtype(name)
    # Text and dates would be converted too.
    if not np.can_cast(column.dtype, dtype, casting="same_kind"):
        raise duckdb.ConversionException(f"the column `{name}` has other values than numbers")
    typed = column.astype(dtype, copy=False)
    # Only a column with nulls is a masked array, whose module takes as long to import as a small file to read.
    if type(typed) is np.ndarray:
        return typed
    filled: np.ndarray = typed.filled(np.datetime64("NaT") if name == "time" else np.nan)
    return filled


def _groups(files: Sequence[tuple[Path, int]]) -> list[list[Path]]:
    groups: list[list[Path]] = []
    held = _ROWS_PER_QUERY
    for path, rows in files:
        if held + rows > _ROWS_PER_QUERY:
            groups.append([])
            held = 0
        groups[-1].append(path)
        held += rows
    return groups


def _nanoseconds(time: np.datetime64 | None) -> int | None:
    return None if time is None else int(time.astype("datetime64[ns]").astype(np.int64))

"""Export of stored bars to CSV and Parquet files."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.parquet import COLUMNS, PARQUET_COPY, bar_metadata, connect, copy_to_file
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import new_file

__all__ = ["export_bars"]

_FORMATS = {
    ".csv": "FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%SZ'",
    ".csv.gz": "FORMAT csv, HEADER, COMPRESSION gzip, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%SZ'",
    ".parquet": PARQUET_COPY,
}


def export_bars(bars: Bars, path: Path, *, overwrite: bool = False) -> None:
    """Write ``bars`` to a file: CSV (``.csv``, ``.csv.gz``) or Parquet (``.parquet``), by its suffix.

    The columns are those of the store. The file is written completely or not at all. Times in CSV end with ``Z``
    (UTC), so that an import reads the same bars back. A Parquet file contains the calendar as metadata, and an import
    uses it, and the name of the synthetic market, and an import refuses it; CSV has no metadata.

    Args:
        bars: the bars to write.
        path: the file, in an existing directory.
        overwrite: replace the file if it exists.

    Raises:
        BadInputError: the suffix is unknown, the directory does not exist, or the file exists and ``overwrite`` is
            False.
        StoreError: the disk is full or not writable.
    """
    suffix = next((known for known in _FORMATS if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise BadInputError(f"{path}: write to a file that ends in {', '.join(_FORMATS)}")
    if path.exists() and not overwrite:
        raise BadInputError(f"{path} exists already: name another file, or overwrite it with --force")
    if not path.parent.is_dir():
        raise BadInputError(f"the directory {path.parent} does not exist: make it first")
    time = "time" if suffix == ".parquet" else "time::TIMESTAMP AS time"
    with new_file(path) as temporary, connect() as connection:
        connection.register("bars", {name: getattr(bars, name) for name in COLUMNS})
        select = f"SELECT {time}, open, high, low, close, volume FROM bars"
        note = bar_metadata(bars.calendar, bars.world) if suffix == ".parquet" else ""
        copy_to_file(connection, select, temporary, _FORMATS[suffix] + note)

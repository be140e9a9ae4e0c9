"""A vendor's file as a table of numbers in a temporary DuckDB, read once, whatever its size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from ktrdr.core.data.parquet import connect, quoted_path
from ktrdr.core.data.vendor.staging_times import nanoseconds_sql, without_zone, zone_offsets, zone_sql
from ktrdr.core.data.vendor.vendor_columns import Layout, assign_roles, read_layout
from ktrdr.core.data.vendor.vendor_files import PlainFile
from ktrdr.core.data.vendor.vendor_times import ZONE_PATTERN, time_format
from ktrdr.core.data.vendor.watched import Watch
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.disk_space import is_out_of_room

__all__ = ["RawBars", "Staging", "stage_file"]

_PRICES = ("open", "high", "low", "close")
_UNKNOWN_VOLUME = "('', '-', 'nan', 'null', 'none', 'na', 'n/a')"
_ROWS_PER_QUERY = 1_000_000
# Share of the time of reading that goes into a first look at all times.
_LOOKED = 0.3
_EPOCH_TYPES = ("BIGINT", "INTEGER", "UBIGINT", "UINTEGER", "HUGEINT", "DOUBLE")


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


@dataclass(slots=True)
class Staging:
    """The table, and what was found on the way.

    Attributes:
        connection: holds the table ``bars``.
        shown: the file's name for messages.
        first_line: line of the first row in the file; 0 for Parquet, whose rows have no lines.
        symbols: names in the file, with their first row, last row and number of rows; one empty name if it has none.
        zoned: the file's times say their zone, or are instants by type.
        notes: what was assumed or left out.
        bad_rows: rows left out on request, with the reason of each of the first.
    """

    connection: duckdb.DuckDBPyConnection
    shown: Path
    first_line: int
    symbols: dict[str, tuple[int, int, int]]
    zoned: bool
    notes: list[str]
    bad_rows: list[str]
    bad_count: int = 0

    def place(self, row: int) -> str:
        """Return where a row is, for messages."""
        return f"line {row + self.first_line}" if self.first_line else f"row {row + 1}"

    def raw_bars(self, symbol: str) -> RawBars:
        """Return the rows of one symbol."""
        first, last, count = self.symbols[symbol]
        columns: dict[str, np.ndarray] = {
            name: np.empty(count, dtype=np.int64 if name in ("row", "time", "zone") else np.float64)
            for name in ("row", "time", "zone", *_PRICES, "volume")
        }
        filled = 0
        for begin in range(first, last + 1, _ROWS_PER_QUERY):
            piece = self.connection.execute(
                "SELECT rowid AS row, time, coalesce(zone, 0) AS zone, open, high, low, close, "
                "coalesce(volume, 'nan'::DOUBLE) AS volume FROM bars "
                "WHERE rowid >= $begin AND rowid < $end AND symbol = $symbol AND bad IS NULL",
                {"begin": begin, "end": min(begin + _ROWS_PER_QUERY, last + 1), "symbol": symbol},
            ).fetchnumpy()
            size = len(piece["row"])
            for name, values in columns.items():
                values[filled : filled + size] = piece[name]
            filled += size
        row, time, offset = columns.pop("row"), columns.pop("time"), columns.pop("zone")
        return RawBars(row, time, offset if self.zoned else None, columns)


def stage_file(
    plain: PlainFile,
    shown: Path,
    workspace: Path,
    columns: Mapping[str, str],
    dates: str | None,
    skip_bad: bool,
    watch: Watch,
) -> Staging:
    """Read a file into a table.

    Raises:
        BadInputError: it is not laid out as bars, a row has the wrong number of columns, or (unless ``skip_bad``) a
            time is no time or a price no number.
        CancelledError: on request.
    """
    connection = connect(workspace / "staging.duckdb", workspace)
    try:
        source = _parquet_source(connection, plain, shown, columns) if plain.is_parquet else None
        if source is None:
            source = _text_source(connection, plain, shown, columns)
        return _stage(connection, source, shown, list(plain.notes), dates, skip_bad, watch)
    except BaseException:
        connection.close()
        raise


@dataclass(frozen=True, slots=True)
class _Source:
    """A relation with a column per role, as text where ``text`` says so."""

    sql: str
    parameters: Mapping[str, object]
    roles: frozenset[str]
    time_type: str
    decimal_comma: bool
    first_line: int
    notes: tuple[str, ...]


def _text_source(
    connection: duckdb.DuckDBPyConnection, plain: PlainFile, shown: Path, columns: Mapping[str, str]
) -> _Source:
    layout = read_layout(plain.path, shown, columns)
    names = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(layout.columns)))
    selected = ", ".join(f'c{place} AS "{role}"' for role, place in layout.roles.items())
    delimiter = layout.delimiter.replace("\t", "\\t")
    sql = (
        f"SELECT {selected} FROM read_csv($path, auto_detect=false, header=false, skip={layout.skip}, "
        f"delim=E'{delimiter}', quote='\"', escape='\"', columns={{{names}}}, null_padding=false, strict_mode=true, "
        "store_rejects=true, max_line_size=1000000)"
    )
    return _Source(
        sql,
        {"path": quoted_path(plain.path)},
        frozenset(layout.roles),
        "VARCHAR",
        _has_decimal_comma(layout),
        layout.skip + 1,
        layout.notes,
    )


def _parquet_source(
    connection: duckdb.DuckDBPyConnection, plain: PlainFile, shown: Path, columns: Mapping[str, str]
) -> _Source:
    parameters = {"path": quoted_path(plain.path)}
    try:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet($path)", parameters).fetchall()
    except duckdb.Error as error:
        raise _damaged_parquet(shown, error) from error
    names = [str(row[0]) for row in described]
    types = {str(row[0]): str(row[1]) for row in described}
    roles, notes = assign_roles(names, shown, columns)
    selected = ", ".join(f'"{names[place].replace(chr(34), chr(34) * 2)}" AS "{role}"' for role, place in roles.items())
    return _Source(
        f"SELECT {selected} FROM read_parquet($path)",
        parameters,
        frozenset(roles),
        types[names[roles["time"]]],
        False,
        0,
        notes,
    )


def _damaged_parquet(shown: Path, error: duckdb.Error) -> BadInputError:
    _refuse_no_room(error)
    reason = re.sub(r"File '.*?'", "it is", str(error).splitlines()[0].partition(": ")[2])
    return BadInputError(f"{shown} is a damaged or cut off Parquet file ({reason}): fetch it again")


def _refuse_no_room(error: duckdb.Error) -> None:
    """Nothing is wrong with the file: who knows where the staging table was to be written says so."""
    if is_out_of_room(error):
        raise error


def _has_decimal_comma(layout: Layout) -> bool:
    """Prices such as ``1,2345`` and never ``1.2345``; not possible where the comma separates columns."""
    if layout.delimiter == ",":
        return False
    prices = [row[layout.roles[name]] for row in layout.sample for name in _PRICES]
    return any("," in price for price in prices) and not any("." in price for price in prices)


def _stage(
    connection: duckdb.DuckDBPyConnection,
    source: _Source,
    shown: Path,
    notes: list[str],
    dates: str | None,
    skip_bad: bool,
    watch: Watch,
) -> Staging:
    notes += source.notes
    if source.decimal_comma:
        notes.append("prices have a decimal comma")
    time_sql, zone_sql, zoned = _time_sql(connection, source, shown, dates, notes, watch)
    number = "replace({0}, ',', '.')" if source.decimal_comma else "{0}"
    text = "trim(CAST({0} AS VARCHAR))"

    def as_number(role: str) -> str:
        return f"TRY_CAST({number.format(text.format(role))} AS DOUBLE)"

    has_volume = "volume" in source.roles
    volume_text = f"lower({text.format('volume')})"
    unknown = f"(volume IS NULL OR {volume_text} IN {_UNKNOWN_VOLUME})"
    unread = f"concat('time ', chr(39), {_shown_time(source)}, chr(39), ' cannot be read')"
    problems = [f"WHEN ({time_sql}) IS NULL THEN {unread}"]
    for role in (*_PRICES, "volume") if has_volume else _PRICES:
        may_be_empty = f"AND NOT {unknown} " if role == "volume" else ""
        problems += [
            f"WHEN ({as_number(role)}) IS NULL {may_be_empty}THEN "
            f"CASE WHEN {role} IS NULL OR {text.format(role)} = '' THEN '{role} is missing' ELSE "
            f"concat('{role} ', chr(39), left({text.format(role)}, 40), chr(39), ' is not a number') END"
        ]
    symbol = text.format("symbol") if "symbol" in source.roles else "''"
    volume = f"CASE WHEN {unknown} THEN NULL ELSE {as_number('volume')} END" if has_volume else "NULL"
    sql = (
        "CREATE TABLE bars AS SELECT "
        f"coalesce({symbol}, '') AS symbol, {time_sql} AS time, {zone_sql} AS zone, "
        f"{', '.join(f'{as_number(role)} AS {role}' for role in _PRICES)}, CAST({volume} AS DOUBLE) AS volume, "
        f"CASE {' '.join(problems)} END AS bad FROM ({source.sql})"
    )
    try:
        watch.run(connection, sql, source.parameters, share=(_LOOKED, 1.0))
    except duckdb.Error as error:
        if not source.first_line:
            raise _damaged_parquet(shown, error) from error
        raise _unreadable_text(shown, error) from error
    staging = Staging(connection, shown, source.first_line, {}, zoned, notes, [])
    if source.first_line:
        _refuse_rejected_lines(connection, shown)
    _look_at_bad_rows(staging, skip_bad)
    for name, first, last, count in connection.execute(
        "SELECT symbol, min(rowid), max(rowid), count(*) FROM bars WHERE bad IS NULL GROUP BY symbol ORDER BY symbol"
    ).fetchall():
        staging.symbols[name] = (first, last, count)
    if not staging.symbols:
        raise BadInputError(f"{shown} has no bars")
    return staging


def _shown_time(source: _Source) -> str:
    day = "CAST(day AS VARCHAR), ' ', " if "day" in source.roles else ""
    return f"{day}left(CAST(time AS VARCHAR), 40)"


def _unreadable_text(shown: Path, error: duckdb.Error) -> BadInputError:
    _refuse_no_room(error)
    reason = str(error).splitlines()[0].partition(": ")[2]
    return BadInputError(f"{shown} cannot be read as columns of text ({reason}): check its line ends and quotes")


def _refuse_rejected_lines(connection: duckdb.DuckDBPyConnection, shown: Path) -> None:
    rejected = connection.execute(
        "SELECT line, min(error_message), count(*) OVER () FROM reject_errors GROUP BY line ORDER BY line LIMIT 1"
    ).fetchone()
    if rejected is None:
        return
    line, reason, count = rejected
    more = f" (and {count - 1} more such lines)" if count > 1 else ""
    columns = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", str(reason))
    if columns:
        raise BadInputError(f"{shown}, line {line}: has {columns[2]} columns where {columns[1]} are expected{more}")
    raise BadInputError(f"{shown}, line {line}: {str(reason).rstrip('.')}{more}")


def _look_at_bad_rows(staging: Staging, skip_bad: bool) -> None:
    bad = staging.connection.execute(
        "SELECT rowid, bad, count(*) OVER () FROM bars WHERE bad IS NOT NULL ORDER BY rowid LIMIT 10"
    ).fetchall()
    if not bad:
        return
    if not skip_bad:
        more = f" (and {bad[0][2] - 1} more such rows)" if bad[0][2] > 1 else ""
        raise BadInputError(
            f"{staging.shown}, {staging.place(bad[0][0])}: {bad[0][1]}{more}; correct the file, or leave such rows out "
            "with --skip-bad"
        )
    staging.bad_rows = [f"{staging.place(row)}: {reason}" for row, reason, _ in bad]
    staging.bad_count = bad[0][2]


def _time_sql(
    connection: duckdb.DuckDBPyConnection,
    source: _Source,
    shown: Path,
    dates: str | None,
    notes: list[str],
    watch: Watch,
) -> tuple[str, str, bool]:
    """Return SQL for nanoseconds as written and for minutes east of UTC, and whether the file says zones."""
    kind = source.time_type
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        notes.append("times are instants (UTC) by their type")
        return "epoch_ns(time)", "0", True
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return "epoch_ns(time::TIMESTAMP_NS)", "NULL", False
    text = "trim(CAST(time AS VARCHAR))"
    if kind in _EPOCH_TYPES:
        text = "CAST(CAST(time AS HUGEINT) AS VARCHAR)"
    elif "day" in source.roles:
        text = f"concat(trim(CAST(day AS VARCHAR)), ' ', {text})"
    clock = f"regexp_matches({text}, '[0-9]{{4}}.*:[0-9]')"
    zone = f"CASE WHEN {clock} THEN regexp_extract({text}, '{ZONE_PATTERN}', 1) ELSE '' END"
    number = "coalesce(max(TRY_CAST(regexp_extract({0}, '{1}', 1) AS INTEGER)), 0)"
    try:
        zones = watch.run(
            connection,
            f"SELECT zone, {number.format('text', '^([0-9]{1,2})[-/.]')}, "
            f"{number.format('text', '^[0-9]{1,2}[-/.]([0-9]{1,2})')} FROM "
            f"(SELECT {zone} AS zone, {text} AS text FROM ({source.sql})) GROUP BY zone ORDER BY zone",
            source.parameters,
            share=(0.0, _LOOKED),
        ).fetchall()
        sample = [
            str(row[0])
            for row in connection.execute(
                f"SELECT {text} FROM ({source.sql}) WHERE time IS NOT NULL LIMIT 20", source.parameters
            ).fetchall()
        ]
    except duckdb.Error as error:
        if not source.first_line:
            raise _damaged_parquet(shown, error) from error
        raise _unreadable_text(shown, error) from error
    if source.first_line:
        _refuse_rejected_lines(connection, shown)
    offsets = zone_offsets([str(row[0] or "") for row in zones], shown)
    largest = (max((row[1] for row in zones), default=0), max((row[2] for row in zones), default=0))
    zoned = bool(offsets)
    bare = text
    if zoned:
        bare = f"regexp_replace({text}, '([0-9])\\s*(?:Z|UTC|GMT)?(?:[+-][0-9]{{1,2}}:?(?:[0-9]{{2}})?)?$', '\\1')"
        sample = [without_zone(value) for value in sample]
    found = time_format(sample, largest, dates, str(shown))
    if found.note:
        notes.append(found.note)
    if found.epoch:
        return nanoseconds_sql(bare, found), "0", True
    return nanoseconds_sql(bare, found), zone_sql(zone, offsets), zoned

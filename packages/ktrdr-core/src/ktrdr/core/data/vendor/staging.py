"""Reads a file of any size into a table of a temporary DuckDB, or arrays if it is plain."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np

from ktrdr.core.data.parquet import connect
from ktrdr.core.data.vendor.file_survey import survey_file, survey_sample
from ktrdr.core.data.vendor.raw_bars import RawBars
from ktrdr.core.data.vendor.row_reading import Reading, text_reading, typed_reading
from ktrdr.core.data.vendor.vendor_columns import Wanted
from ktrdr.core.data.vendor.vendor_files import PlainFile
from ktrdr.core.data.vendor.vendor_source import PRICES, Source, open_source
from ktrdr.core.data.vendor.watched import Watch
from ktrdr.core.errors import BadInputError

__all__ = ["Spelling", "Staging", "stage_file"]

_ROWS_PER_QUERY = 1_000_000
_NAMED = 10
_MOST_SURPLUS = 100
_LINES_BETWEEN_LOOKS = 100_000
# Share of the time of reading that the survey of all cells takes.
_LOOKED = 0.4


@dataclass(frozen=True, slots=True)
class Spelling:
    """Options about the format of a file; None where the file decides.

    Attributes:
        wanted: columns and symbol.
        dates: ``day-first`` or ``month-first``.
        decimal: ``point`` or ``comma``.
        skip_bad: leave out rows that are no bars.
    """

    wanted: Wanted
    dates: str | None = None
    decimal: str | None = None
    skip_bad: bool = False


@dataclass(slots=True)
class Staging:
    """The rows of a file, and what was found while it was read.

    Attributes:
        connection: holds the table ``bars`` if ``arrays`` is None.
        source: the file.
        zoned: True if the file's times have an offset from UTC, or are instants.
        zone: the zone that the file's times name, if its offset changes over the year.
        notes: assumptions, and what was left out.
        symbols: names in the file, with their first row, last row and number of rows; one empty name if it has none.
        arrays: all rows of a file with one symbol, if it was read without a table.
        volume: the role of the column with the volume, or empty.
        bad_rows: places and reasons of the first rows that were left out.
        bad_count: number of rows that were left out.
    """

    connection: duckdb.DuckDBPyConnection
    source: Source
    zoned: bool
    zone: ZoneInfo | None
    notes: list[str]
    symbols: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    arrays: RawBars | None = None
    volume: str = ""
    bad_rows: list[str] = field(default_factory=list)
    bad_count: int = 0

    @property
    def shown(self) -> Path:
        """The file's name for messages."""
        return self.source.shown

    def place(self, row: int) -> str:
        """Return the line (or the row) of a row, for messages."""
        return self.places([row])[0]

    def places(self, rows: list[int]) -> list[str]:
        """Return the lines (or the rows) of ascending rows, for messages."""
        lines = self.source.lines
        found = lines.of_rows(rows) if lines is not None else []
        if len(found) == len(rows):
            return [f"line {line}" for line in found]
        return [f"row {row + 1}" for row in rows]

    def raw_bars(self, symbol: str) -> RawBars:
        """Return the rows of one symbol."""
        if self.arrays is not None:
            return self.arrays
        first, last, count = self.symbols[symbol]
        columns: dict[str, np.ndarray] = {
            name: np.empty(count, dtype=np.int64 if name in ("row", "time", "zone") else np.float64)
            for name in ("row", "time", "zone", *PRICES, "volume")
        }
        volume = f"coalesce({self.volume}, 'nan'::DOUBLE)" if self.volume else "'nan'::DOUBLE"
        filled = 0
        for begin in range(first, last + 1, _ROWS_PER_QUERY):
            piece = self.connection.execute(
                f"SELECT rowid AS row, time, coalesce(zone, 0) AS zone, {', '.join(PRICES)}, {volume} AS volume "
                "FROM bars WHERE rowid >= $begin AND rowid < $end AND symbol = $symbol AND bad IS NULL",
                {"begin": begin, "end": min(begin + _ROWS_PER_QUERY, last + 1), "symbol": symbol},
            ).fetchnumpy()
            size = len(piece["row"])
            for name, values in columns.items():
                values[filled : filled + size] = piece[name]
            filled += size
        row, time, offset = columns.pop("row"), columns.pop("time"), columns.pop("zone")
        return RawBars(row, time, offset if self.zoned else None, columns)


def stage_file(plain: PlainFile, shown: Path, workspace: Path, spelling: Spelling, watch: Watch) -> Staging:
    """Read a file: with DuckDB's types if its first rows show the formats, else as text by the formats of all cells.

    Raises:
        BadInputError: the file has no columns of bars, or times or numbers are ambiguous; or (unless bad rows may be
            left out) a row has the wrong number of columns, an invalid time or a price that is not a number.
        CancelledError: on request.
    """
    connection = connect(workspace / "staging.duckdb", workspace)
    try:
        source = open_source(connection, plain, shown, spelling.wanted)
        staging = _typed(connection, source, spelling, watch) or _from_text(connection, source, spelling, watch)
        if not staging.symbols:
            remedy = "leave out --skip-bad to see what is wrong" if staging.bad_count else "fetch it again"
            raise BadInputError(f"{shown} has no bars: {remedy}")
        _choose_volume(staging)
        return staging
    except BaseException:
        connection.close()
        raise


def _typed(connection: duckdb.DuckDBPyConnection, source: Source, spelling: Spelling, watch: Watch) -> Staging | None:
    if source.layout is None or not source.layout.sample:
        return None
    reading = typed_reading(source, survey_sample(source), spelling.decimal, spelling.dates)
    if reading is None:
        return None
    staging = Staging(connection, source, reading.zoned, reading.zones.name, list(reading.notes))
    try:
        if "symbol" in source.roles or source.spare_volumes:
            complete = _fill_table(staging, reading, watch, (0.0, 1.0))
        else:
            complete = _fill_arrays(staging, reading, watch)
    except duckdb.Error:
        complete = False  # reading as text finds the line and the error
    if complete:
        return staging
    connection.execute("DROP TABLE IF EXISTS bars")
    return None


def _fill_arrays(staging: Staging, reading: Reading, watch: Watch) -> bool:
    source = staging.source
    volume = "coalesce(volume, 'nan'::DOUBLE)" if source.volumes else "'nan'::DOUBLE"
    columns = watch.arrays(
        staging.connection,
        f"SELECT {reading.time} AS time, {', '.join(PRICES)}, {volume} AS volume FROM ({reading.relation})",
        source.parameters,
        share=(0.0, 1.0),
    )
    if any(isinstance(values, np.ma.MaskedArray) and values.mask.any() for values in columns.values()):
        return False
    values = {name: np.asarray(column) for name, column in columns.items()}
    time = values.pop("time").astype(np.int64, copy=False)
    n = len(time)
    offset = np.full(n, int(reading.offset)) if reading.zoned else None
    staging.arrays = RawBars(np.arange(n), time, offset, values)
    if n:
        staging.symbols[source.symbol] = (0, n - 1, n)
    return True


def _fill_table(staging: Staging, reading: Reading, watch: Watch, share: tuple[float, float]) -> bool:
    """Create the table ``bars``, and return True if every row has a time and prices."""
    source = staging.source
    watch.run(
        staging.connection,
        f"CREATE TABLE bars AS SELECT {reading.symbol} AS symbol, {reading.time} AS time, "
        f"CAST({reading.offset} AS INTEGER) AS zone, "
        f"{', '.join(f'{value} AS {role}' for role, value in reading.numbers.items())}, "
        f"CAST({reading.bad} AS VARCHAR) AS bad FROM ({reading.relation})",
        source.parameters,
        share=share,
    )
    for name, first, last, count in staging.connection.execute(
        "SELECT symbol, min(rowid), max(rowid), count(*) FROM bars WHERE bad IS NULL GROUP BY symbol ORDER BY symbol"
    ).fetchall():
        staging.symbols[name] = (first, last, count)
    empty = " OR ".join(f"{name} IS NULL" for name in ("time", *PRICES))
    found = staging.connection.execute(f"SELECT count(*) FROM bars WHERE bad IS NULL AND ({empty})").fetchone()
    return found is not None and found[0] == 0


def _from_text(connection: duckdb.DuckDBPyConnection, source: Source, spelling: Spelling, watch: Watch) -> Staging:
    if source.layout is not None:
        _refuse_wide_lines(source, watch)
    try:
        survey = survey_file(connection, source, watch, share=(0.0, _LOOKED))
        wrong = _lines_without_row(connection, source, spelling.skip_bad) if source.layout is not None else ([], 0)
        if not survey.times:
            raise BadInputError(f"{source.shown} has no bars{_not_its_rows(source, wrong[1])}")
        reading = text_reading(source, survey, spelling.decimal, spelling.dates)
        staging = Staging(connection, source, reading.zoned, reading.zones.name, list(reading.notes))
        _fill_table(staging, reading, watch, (_LOOKED, 1.0))
    except duckdb.Error as error:
        raise source.unreadable(error) from error
    _look_at_bad_rows(staging, wrong, spelling.skip_bad)
    return staging


def _refuse_wide_lines(source: Source, watch: Watch) -> None:
    """Raise BadInputError for a line with far too many columns, which would keep DuckDB busy for minutes."""
    most = len(source.names) + _MOST_SURPLUS
    sign = source.delimiter.encode()
    with source.path.open("rb") as file:
        for number, line in enumerate(file, 1):
            # A line with so many delimiters has at least as many bytes.
            if len(line) > most and line.count(sign) >= most:
                raise BadInputError(
                    f"{source.shown}, line {number}: has {line.count(sign) + 1:,} columns where {len(source.names)} are"
                    " expected; correct the line, or take it out of the file"
                )
            if number % _LINES_BETWEEN_LOOKS == 0:
                watch.cancellation.raise_if_requested()


def _lines_without_row(
    connection: duckdb.DuckDBPyConnection, source: Source, skip_bad: bool
) -> tuple[list[tuple[int, str]], int]:
    """Return the first lines with a wrong number of columns, with the reason, and the number of such lines.

    Raises:
        BadInputError: there are such lines and they may not be left out, or a line has another error, such as an open
            quote, after which rows cannot be separated.
    """
    rejected = connection.execute(
        "SELECT line, arg_max(error_message, broken), bool_or(broken) AS broken, count(*) OVER () FROM (SELECT *, "
        "error_type NOT IN ('MISSING COLUMNS', 'TOO MANY COLUMNS') AS broken FROM reject_errors) "
        "WHERE trim(csv_line) NOT IN ('', '\"\"') GROUP BY line ORDER BY broken DESC, line LIMIT 1"
    ).fetchall()
    if not rejected or source.lines is None:
        return [], 0
    line, reason, broken, least = rejected[0]
    if broken:
        raise BadInputError(
            f"{source.shown}, line {line}: {str(reason).rstrip('.')}; correct the line, or leave it out of the file"
        )
    found, count = source.lines.without_row(_NAMED)
    width = len(source.names)
    listed = [(at, f"has {_columns(number)} where {width} are expected") for at, number in found]
    if count < least:  # DuckDB and csv differ on the quotes: the reading of the rows counts
        listed, count = [(line, f"is no row ({str(reason).rstrip('.')})")], least
    if not skip_bad:
        more = f" (and {count - 1} more such lines)" if count > 1 else ""
        if source.layout is not None and not source.layout.sample:
            raise BadInputError(
                f"{source.shown}, line {listed[0][0]}: {listed[0][1]}{more}{_not_its_rows(source, count)}"
            )
        raise BadInputError(
            f"{source.shown}, line {listed[0][0]}: {listed[0][1]}{more}; correct the file, or leave such rows out with "
            "--skip-bad"
        )
    return listed, count


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _not_its_rows(source: Source, count: int) -> str:
    if not count:
        return ": fetch it again"
    return (
        "; the header's separator is not that of the rows, or numbers with a decimal comma stand between commas "
        "without quotes: write the file with one separator that is in no number, such as a semicolon"
    )


def _look_at_bad_rows(staging: Staging, lines: tuple[list[tuple[int, str]], int], skip_bad: bool) -> None:
    """Refuse rows that are no bars, or record the first of them and their number, with the lines that are no rows."""
    bad = staging.connection.execute(
        f"SELECT rowid, bad, count(*) OVER () FROM bars WHERE bad IS NOT NULL ORDER BY rowid LIMIT {_NAMED}"
    ).fetchall()
    count = bad[0][2] if bad else 0
    if bad and not skip_bad:
        more = f" (and {count - 1} more such rows)" if count > 1 else ""
        raise BadInputError(
            f"{staging.shown}, {staging.place(bad[0][0])}: {bad[0][1]}{more}; correct the file, or leave such rows out "
            "with --skip-bad"
        )
    places = staging.places([row for row, _, _ in bad]) if bad else []
    reasons = [f"line {line} {reason}" for line, reason in lines[0]]
    reasons += [f"{place}: {reason}" for place, (_, reason, _) in zip(places, bad, strict=True)]
    staging.bad_rows, staging.bad_count = reasons[:_NAMED], count + lines[1]


def _choose_volume(staging: Staging) -> None:
    """Choose the first volume column that is not 0 throughout, and note the columns that are left out."""
    source = staging.source
    roles = source.volumes
    chosen = roles[0] if roles else ""
    if len(roles) > 1:
        largest = staging.connection.execute(
            f"SELECT {', '.join(f'coalesce(max({role}), 0)' for role in roles)} FROM bars WHERE bad IS NULL"
        ).fetchone()
        assert largest is not None
        chosen = next((role for role, value in zip(roles, largest, strict=True) if value > 0), chosen)
    staging.volume = chosen
    names = {role: source.names[source.columns[role]] for role in roles}
    left_out = [name for name in source.left_out if name != names.get(chosen)]
    if chosen not in ("", "volume"):
        left_out.insert(0, names["volume"])
        staging.notes.append(f"volume is taken from {names[chosen]}: {names['volume']} has none on any bar")
    if left_out:
        staging.notes.append(f"left out: {', '.join(left_out)}")

"""Survey of all cells of a file, from which the formats of its times and numbers are determined."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import duckdb

from ktrdr.core.data.vendor.number_format import CURRENCIES, GROUPING_SPACES, SUFFIXES, Cell, cell_of
from ktrdr.core.data.vendor.staging_times import may_end_day_sql, zone_text_sql
from ktrdr.core.data.vendor.vendor_source import PRICES, Source
from ktrdr.core.data.vendor.vendor_times import split_zone
from ktrdr.core.data.vendor.watched import Watch

__all__ = [
    "UNKNOWN_VOLUMES",
    "Survey",
    "survey_file",
    "survey_sample",
    "text_sql",
    "time_text_sql",
]

UNKNOWN_VOLUMES = ("", "-", "nan", "null", "none", "na", "n/a")
"""Values, in lower case, with which vendors mark an unknown volume."""

_FIRST = r"^([0-9]{1,2})[-/.]"
_SECOND = r"^[0-9]{1,2}[-/.]([0-9]{1,2})"
_LONGEST = 64
_INTEGERS = ("BIGINT", "INTEGER", "UBIGINT", "UINTEGER", "HUGEINT")


@dataclass(slots=True)
class Survey:
    """One example of every kind of cell in a file.

    Attributes:
        prices, volumes: numbers; text that is not a number has the kind ``none``.
        times: times without their zones, the most common kind first.
        zones: the zones at the end of times, as written; an empty text if a time has none.
        largest: the largest first and second number of dates like ``31.12.2017``.
        day_end: True if a time may be 24:00, the end of a day.
    """

    prices: list[Cell] = field(default_factory=list)
    volumes: list[Cell] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    largest: tuple[int, int] = (0, 0)
    day_end: bool = False

    def add_number(self, text: str, *, volume: bool) -> None:
        """Add a price or a volume."""
        if volume:
            if text.strip().lower() not in UNKNOWN_VOLUMES:
                self.volumes.append(cell_of(text, volume=True))
        else:
            self.prices.append(cell_of(text))

    def add_time(self, text: str, zone: str) -> None:
        """Add a time; the most common kind must come first."""
        bare = text[: len(text) - len(zone)].strip()
        if bare not in self.times:
            self.times.append(bare)
        if zone not in self.zones:
            self.zones.append(zone)


def survey_sample(source: Source) -> Survey:
    """Return the survey of the first rows of a text file."""
    found = Survey()
    layout = source.layout
    assert layout is not None
    for row in layout.sample:
        text = _joined(row[source.roles["day"]] if "day" in source.roles else None, row[source.roles["time"]])
        found.add_time(text, split_zone(text)[1])
        numbers = [int(match[1]) if (match := re.search(pattern, text)) else 0 for pattern in (_FIRST, _SECOND)]
        found.largest = (max(found.largest[0], numbers[0]), max(found.largest[1], numbers[1]))
        for role in PRICES:
            found.add_number(row[source.roles[role]], volume=False)
        for role in source.volumes:
            found.add_number(row[source.columns[role]], volume=True)
    return found


def survey_file(
    connection: duckdb.DuckDBPyConnection, source: Source, watch: Watch, *, share: tuple[float, float]
) -> Survey:
    """Return the survey of all rows; for Parquet, of the text columns only.

    Raises:
        CancelledError: on request.
        duckdb.Error: the file cannot be read.
    """
    cells = ["{'role': 't', 'x': " + time_text_sql(source) + "}"]
    cells += [
        f"{{'role': '{'p' if role in PRICES else 'v'}', 'x': {text_sql(role)}}}"
        for role in (*PRICES, *source.volumes)
        if source.type_of(role) == "VARCHAR"
    ]
    signs = (GROUPING_SPACES + CURRENCIES + "+-").replace("'", "''")
    suffixes = "".join(SUFFIXES) + "".join(SUFFIXES).lower()
    time = "cell.role = 't'"

    def largest(pattern: str) -> str:
        return f"max(CASE WHEN {time} THEN TRY_CAST(regexp_extract(x, '{pattern}', 1) AS INTEGER) END)"

    sql = (
        f"SELECT role, any_value(x), count(*) AS n, zone, day_end, {largest(_FIRST)}, {largest(_SECOND)} FROM ("
        f"SELECT cell.role AS role, cell, left(cell.x, {_LONGEST}) AS x, "
        f"CASE WHEN {time} THEN {zone_text_sql('cell.x')} ELSE '' END AS zone, "
        f"CASE WHEN {time} THEN {may_end_day_sql('cell.x')} ELSE false END AS day_end "
        f"FROM (SELECT unnest([{', '.join(cells)}]) AS cell FROM ({source.relation()})) WHERE cell.x IS NOT NULL) "
        # Of the digits of a number only a first or last 0 matters.
        f"GROUP BY role, zone, day_end, {_shape_sql('x')}, "
        f"{time} OR left(ltrim(x, '{signs}'), 1) = '0', {time} OR right(rtrim(x, '{signs}{suffixes}'), 1) = '0' "
        "ORDER BY n DESC, 2"
    )
    found = Survey()
    for role, text, _, zone, day_end, first, second in watch.run(
        connection, sql, source.parameters, share=share
    ).fetchall():
        if role == "t":
            found.add_time(str(text), str(zone or ""))
            found.day_end |= bool(day_end)
            found.largest = (max(found.largest[0], first or 0), max(found.largest[1], second or 0))
        else:
            found.add_number(str(text), volume=role == "v")
    return found


def text_sql(role: str) -> str:
    """Return SQL for the cell of a role as text, stripped."""
    return f"trim(CAST({role} AS VARCHAR))"


def time_text_sql(source: Source) -> str:
    """Return SQL for the time as text; day and time of day are joined."""
    if source.type_of("time") in _INTEGERS or source.type_of("time") in ("DOUBLE", "FLOAT"):
        return "CAST(CAST(time AS HUGEINT) AS VARCHAR)"
    return f"concat({text_sql('day')}, ' ', {text_sql('time')})" if "day" in source.roles else text_sql("time")


def _shape_sql(text: str) -> str:
    """Return SQL for ``text`` with every digit replaced by 9."""
    return f"translate({text}, '012345678', '999999999')"


def _joined(day: str | None, time: str) -> str:
    return time if day is None else f"{day} {time}"

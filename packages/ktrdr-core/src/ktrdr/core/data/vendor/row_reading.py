"""SQL that reads the values of a bar from the rows of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktrdr.core.data.vendor.file_survey import (
    UNKNOWN_VOLUMES,
    Survey,
    text_sql,
    time_text_sql,
)
from ktrdr.core.data.vendor.number_format import NumberFormat, decide_format
from ktrdr.core.data.vendor.staging_numbers import number_sql
from ktrdr.core.data.vendor.staging_times import NO_ZONES, Zones, nanoseconds_sql, offset_sql, read_zones, zone_text_sql
from ktrdr.core.data.vendor.vendor_source import PRICES, Source
from ktrdr.core.data.vendor.vendor_times import bare_clock, time_format
from ktrdr.core.errors import BadInputError

__all__ = ["Reading", "text_reading", "typed_reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """SQL for the values of a row.

    Attributes:
        relation: the rows, in the order of the file.
        symbol, time, offset: the symbol; nanoseconds since 1970 as written; minutes east of UTC as written, or null.
        numbers: prices and volumes by role, DOUBLE, null if the cell is not a number.
        bad: the reason why the row is no bar, or null.
        zones: the zones of the times.
        zoned: True if the times are instants.
        notes: assumptions.
    """

    relation: str
    symbol: str
    time: str
    offset: str
    numbers: Mapping[str, str]
    bad: str
    zones: Zones
    zoned: bool
    notes: tuple[str, ...]


def _instant_reading(source: Source) -> tuple[str, Zones, bool, str] | None:
    """Return SQL, zones, whether the times are instants, and a note, if the column has a time type; else None."""
    kind = source.type_of("time")
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return "epoch_ns(time)", NO_ZONES, True, "times are instants (UTC) by their type"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return "epoch_ns(time::TIMESTAMP_NS)", NO_ZONES, False, ""
    return None


def text_reading(source: Source, survey: Survey, decimal: str | None, dates: str | None) -> Reading:
    """Return how to read text columns, by the formats found in all of the file.

    Raises:
        BadInputError: the format of times or numbers is unknown or ambiguous.
    """
    shown = str(source.shown)
    numbers = decide_format(survey.prices, survey.volumes, source.delimiter, decimal, shown)
    given = _instant_reading(source)
    if given is not None:
        time, zones, zoned, note = given
        offset = "0" if zoned else "NULL"
    else:
        zones = read_zones(survey.zones, source.shown)
        found = time_format(survey.times, survey.largest, dates, shown)
        zoned, note = found.epoch or bool(zones.offsets), found.note
        text = time_text_sql(source)
        zone = zone_text_sql(text)
        bare = text if not any(survey.zones) else f"trim(left({text}, length({text}) - length({zone})))"
        time = nanoseconds_sql(bare, found, day_end=survey.day_end)
        offset = "0" if found.epoch else offset_sql(zone, zones)
    values = {role: _number(source, role, numbers) for role in (*PRICES, *source.volumes)}
    symbol = f"coalesce({text_sql('symbol')}, '')" if "symbol" in source.roles else _literal(source.symbol)
    notes = tuple(text for text in (*source.notes, numbers.note, note) if text)
    return Reading(source.relation(), symbol, time, offset, values, _bad(source, time, values), zones, zoned, notes)


def typed_reading(source: Source, survey: Survey, decimal: str | None, dates: str | None) -> Reading | None:
    """Return how to read the file with DuckDB's own types, which is fast, or None if that could be wrong.

    The first rows must determine the formats of times and numbers. A later row in another format then causes a null or
    an error, because its number is no DOUBLE or its time has none of the formats; the caller must then use
    :func:`text_reading`.

    Args:
        source: a text file.
        survey: of its first rows.
        decimal: ``point`` or ``comma`` if the user gave the decimal sign.
        dates: ``day-first`` or ``month-first`` if the user gave it.
    """
    cells = [*survey.prices, *survey.volumes]
    plain = all(cell.kind in ("point", "whole", "either point") for cell in cells) and decimal != "comma"
    marked = any(cell.currency or cell.spaced or cell.suffix for cell in cells)
    told = any(cell.kind == "point" for cell in cells) or decimal == "point"
    if source.layout is None or not plain or marked or not told or len(survey.zones) != 1:
        return None
    try:
        found = time_format(survey.times, survey.largest, dates, str(source.shown))
        zones = read_zones(survey.zones, source.shown)
    except BadInputError:
        return None  # all rows may decide; else text_reading raises the error
    if found.clock and ("day" in source.roles or any(len(bare_clock(text)) != found.clock for text in survey.times)):
        return None  # leading zeros are or may be missing, which only the length of a time shows
    if found.epoch:
        found = dataclasses.replace(found, whole=all(text.isdecimal() for text in survey.times))
    types = dict.fromkeys((*PRICES, *source.volumes), "DOUBLE") | {"time": "VARCHAR"}
    text = "concat(day, ' ', time)" if "day" in source.roles else "time"
    if survey.zones[0] and not found.epoch:
        found = dataclasses.replace(found, formats=_with_zone(source, found.formats, survey.zones[0]))
    if found.clock or found.length:
        raw = len(source.layout.sample[0][source.roles["time"]])
        found = dataclasses.replace(found, clock=0, length=raw)
    time = nanoseconds_sql(text, found, day_end=False)
    offset = "0" if found.epoch else (str(next(iter(zones.offsets.values()))) if zones.offsets else "NULL")
    symbol = f"coalesce({text_sql('symbol')}, '')" if "symbol" in source.roles else _literal(source.symbol)
    zoned = found.epoch or bool(zones.offsets)
    notes = tuple(text for text in (*source.notes, found.note) if text)
    values = {role: role for role in (*PRICES, *source.volumes)}
    return Reading(source.relation(types), symbol, time, offset, values, "NULL", zones, zoned, notes)


def _with_zone(source: Source, formats: Sequence[str], zone: str) -> tuple[str, ...]:
    """Return formats that end with the literal ``zone``, after as many blanks as in the first row."""
    assert source.layout is not None
    before = source.layout.sample[0][source.roles["time"]].removesuffix(zone)
    blanks = " " * (len(before) - len(before.rstrip()))
    return tuple(f"{form}{blanks}{zone.replace('%', '%%')}" for form in formats)


def _number(source: Source, role: str, found: NumberFormat) -> str:
    if source.type_of(role) != "VARCHAR":
        return f"TRY_CAST({role} AS DOUBLE)"
    value = number_sql(text_sql(role), found, volume=role in source.volumes)
    return f"CASE WHEN {_unknown(role)} THEN NULL ELSE {value} END" if role in source.volumes else value


def _unknown(role: str) -> str:
    known = ", ".join(_literal(text) for text in UNKNOWN_VOLUMES)
    return f"({role} IS NULL OR lower({text_sql(role)}) IN ({known}))"


def _bad(source: Source, time: str, values: Mapping[str, str]) -> str:
    day = "CAST(day AS VARCHAR), ' ', " if "day" in source.roles else ""
    shown = f"{day}left(CAST(time AS VARCHAR), 40)"
    problems = [f"WHEN ({time}) IS NULL THEN concat('time ', chr(39), {shown}, chr(39), ' cannot be read')"]
    for role in (*PRICES, *source.volumes[:1]):
        may_be_empty = f"AND NOT {_unknown(role)} " if role == "volume" else ""
        problems.append(
            f"WHEN ({values[role]}) IS NULL {may_be_empty}THEN "
            f"CASE WHEN {role} IS NULL OR {text_sql(role)} = '' THEN '{role} is missing' ELSE "
            f"concat('{role} ', chr(39), left({text_sql(role)}, 40), chr(39), ' is not a number') END"
        )
    return f"CASE {' '.join(problems)} END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

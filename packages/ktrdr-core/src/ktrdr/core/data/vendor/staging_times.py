"""SQL that reads the times of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ktrdr.core.data.vendor.vendor_times import (
    CLOCK_PATTERN,
    EPOCHS,
    ZONE_PATTERN,
    TimeFormat,
    zone_offset,
)
from ktrdr.core.errors import BadInputError

__all__ = ["NO_ZONES", "Zones", "may_end_day_sql", "nanoseconds_sql", "offset_sql", "read_zones", "zone_text_sql"]

_DAY = 86_400_000_000_000
# The end of a day by ISO 8601, with or without colons.
_DAYS_END = r"([ T])24(:?00(:?00)?(\.0+)?)$"
_MAY_END_DAY = r"[ T]24:?00"


@dataclass(frozen=True, slots=True)
class Zones:
    """The zones of the times of a file.

    Attributes:
        offsets: minutes east of UTC by spelling; empty if the times have no offset.
        name: the zone that all times name, if its offset changes over the year; else None.
    """

    offsets: Mapping[str, int]
    name: ZoneInfo | None = None


NO_ZONES = Zones({})
"""The zones of a file whose times have none."""


def read_zones(zones: Sequence[str], shown: Path) -> Zones:
    """Return the zones that the different ends of times spell.

    Raises:
        BadInputError: an end is not a zone, or the zones are too different for one file.
    """
    named = sorted({zone for zone in zones if zone})
    if not named:
        return NO_ZONES
    if "" in zones:
        raise BadInputError(f"{shown} mixes times with a zone ({named[0]}) and without; write all of them in one way")
    offsets = {zone: zone_offset(zone) for zone in named}
    known = {zone: offset for zone, offset in offsets.items() if offset is not None}
    if len(known) == len(named):
        # One zone with daylight saving has two offsets, an hour apart (half an hour on Lord Howe Island).
        distinct = sorted(set(known.values()))
        if len(distinct) == 1 or (len(distinct) == 2 and distinct[1] - distinct[0] in (30, 60)):
            return Zones(known)
    elif len(named) == 1:
        return Zones({}, _zone(named[0], shown))
    raise BadInputError(f"{shown} mixes time zones ({', '.join(named[:4])}); write all times in one zone, best in UTC")


def _zone(name: str, shown: Path) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInputError(
            f"{shown}: {name!r} is not a known time zone; write it as Z, +01:00 or a name of the IANA database such "
            "as US/Eastern"
        ) from None


def zone_text_sql(text: str) -> str:
    """Return SQL for the zone at the end of the time in the SQL ``text``, empty if there is none."""
    zone = f"regexp_extract({text}, '{ZONE_PATTERN}', 1)"
    return f"CASE WHEN regexp_matches({text}, '{CLOCK_PATTERN}') THEN {zone} ELSE '' END"


def offset_sql(zone: str, zones: Zones) -> str:
    """Return SQL for the minutes east of UTC that the SQL ``zone`` spells, null if it spells none."""
    if not zones.offsets:
        return "NULL"
    cases = " ".join(f"WHEN '{name}' THEN {minutes}" for name, minutes in zones.offsets.items())
    return f"CASE {zone} {cases} END"


def nanoseconds_sql(text: str, found: TimeFormat, *, day_end: bool) -> str:
    """Return SQL for the nanoseconds since 1970 of the SQL ``text``, a time without zone; null if it is not a time.

    ``day_end`` is True if some times may be the end of a day, see :func:`may_end_day_sql`.
    """
    if found.epoch:
        # Decimal arithmetic: a double does not represent today's nanoseconds exactly.
        number = f"TRY_CAST({text} AS DECIMAL(28, 9))"
        if found.whole:  # much faster, but it would round a fraction
            number = f"CASE WHEN NOT contains({text}, '.') THEN TRY_CAST({text} AS BIGINT) END"
        cases = " ".join(
            f"WHEN number >= {least} AND number < {100 * least} THEN TRY_CAST(number * {each} AS BIGINT)"
            for least, each in EPOCHS.values()
        ).replace("number", f"({number})")
        return f"CASE {cases} END"
    if found.clock:
        digits = f"regexp_extract({text}, '[ T]([0-9]{{1,{found.clock}}})$', 1)"
        padded = f"concat(left({text}, length({text}) - length({digits})), lpad({digits}, {found.clock}, '0'))"
        text = f"CASE WHEN {digits} = '' THEN {text} ELSE {padded} END"
    formats = ", ".join(f"'{form}'" for form in found.formats)
    if found.length:
        # %H would read the 23 of 23000 as hours.
        return f"CASE WHEN length({text}) = {found.length} THEN {_instant(text, formats)} END"
    if not day_end:
        return _instant(text, formats)
    start = f"replace(regexp_replace({text}, '{_DAYS_END}', '\\1@\\2'), '@', '00')"
    next_day = f"{_instant(start, formats)} + {_DAY}"
    return f"CASE WHEN regexp_matches({text}, '{_DAYS_END}') THEN {next_day} ELSE {_instant(text, formats)} END"


def _instant(text: str, formats: str) -> str:
    return f"epoch_ns(try_strptime({text}, [{formats}])::TIMESTAMP_NS)"


def may_end_day_sql(text: str) -> str:
    """Return SQL that is true if the SQL ``text`` may be the end of a day, 24:00, with or without a zone.

    By ISO 8601, 24:00 is 00:00 of the next day.
    """
    return f"regexp_matches({text}, '{_MAY_END_DAY}')"

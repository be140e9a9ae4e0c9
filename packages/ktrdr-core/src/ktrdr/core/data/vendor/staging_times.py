"""Times of a vendor's file as SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ktrdr.core.data.vendor.vendor_times import ZONE_PATTERN, TimeFormat, parse_offset
from ktrdr.core.errors import BadInputError

__all__ = ["nanoseconds_sql", "without_zone", "zone_offsets", "zone_sql"]


def without_zone(text: str) -> str:
    """Return a time as text without what says its zone."""
    match = re.search(ZONE_PATTERN, text) if re.search(r"\d{4}.*:\d", text) else None
    return text[: match.start(1)].strip() if match else text


def zone_offsets(zones: list[str], shown: Path) -> dict[str, int]:
    """Return minutes east of UTC by spelling; empty if no time has a zone."""
    named = [zone for zone in zones if zone]
    if not named:
        return {}
    if len(named) != len(zones):
        raise BadInputError(f"{shown} mixes times with a zone ({named[0]}) and without; write all of them in one way")
    offsets: dict[str, int] = {}
    for zone in named:
        offset = parse_offset(zone)
        if offset is None:
            raise BadInputError(f"{shown}: {zone!r} is no offset from UTC; write it as Z or +01:00")
        offsets[zone] = offset
    # One zone with daylight saving has two offsets, an hour apart (half an hour on Lord Howe Island).
    distinct = sorted(set(offsets.values()))
    if len(distinct) > 2 or (len(distinct) == 2 and distinct[1] - distinct[0] not in (30, 60)):
        raise BadInputError(
            f"{shown} mixes time zones ({', '.join(named[:4])}); write all times in one zone, best in UTC"
        )
    return offsets


def zone_sql(zone: str, offsets: Mapping[str, int]) -> str:
    """Return SQL for the minutes east of UTC that the SQL ``zone`` spells, null if there are no ``offsets``."""
    if not offsets:
        return "NULL"
    cases = " ".join(f"WHEN '{name}' THEN {minutes}" for name, minutes in offsets.items())
    return f"CASE {zone} {cases} END"


def nanoseconds_sql(text: str, found: TimeFormat) -> str:
    """Return SQL for nanoseconds since 1970 of the SQL ``text``, null where it is no time."""
    if found.epoch:
        # Decimal arithmetic: a double does not hold nanoseconds of today exactly.
        return f"TRY_CAST(TRY_CAST({text} AS DECIMAL(28, 9)) * {found.epoch} AS BIGINT)"
    formats = ", ".join(f"'{form}'" for form in found.formats)
    return f"epoch_ns(try_strptime({text}, [{formats}])::TIMESTAMP_NS)"

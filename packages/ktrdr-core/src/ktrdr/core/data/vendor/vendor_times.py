"""How a vendor writes times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ktrdr.core.errors import BadInputError

__all__ = ["ZONE_PATTERN", "TimeFormat", "parse_offset", "time_format"]

ZONE_PATTERN = r"\d\s*((?:Z|UTC|GMT)?(?:(?:[+-]\d{2}:?\d{2})|(?:[+-]\d{1,2}))?)$"
"""What follows a time of day: nothing, ``Z``, ``UTC``, ``+01:00``, ``GMT+0100``, ``+00``."""

_EPOCH_DIGITS = {"s": (9, 10), "ms": (12, 13), "us": (15, 16), "ns": (18, 19)}
_EPOCH_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_CLOCKS = (
    "%H:%M:%S",
    "%H:%M",
    "%H:%M:%S.%f",
    "%H:%M:%S.%n",
    "%I:%M %p",
    "%I:%M:%S %p",
    "%I-%p",
    "%H%M%S",
    "%H%M",
    "%H",
)


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How to read all times of a file.

    Attributes:
        epoch: nanoseconds of one unit for numbers since 1970, else 0.
        formats: ``strptime`` formats to try, else empty.
        note: what was assumed, or empty.
    """

    epoch: int = 0
    formats: tuple[str, ...] = ()
    note: str = ""


def time_format(sample: Sequence[str], first_numbers: tuple[int, int], dates: str | None, shown: str) -> TimeFormat:
    """Return the format of times like those in ``sample``.

    Args:
        sample: some of the texts, without zones.
        first_numbers: of the whole file, the largest first and second number of texts like ``31.12.2017``.
        dates: ``day-first``, ``month-first`` or None to tell by these.
        shown: the file, for messages.

    Raises:
        BadInputError: no known way to write a time, or day and month cannot be told apart.
    """
    text = next((value.strip() for value in sample if value.strip()), "")
    number = re.fullmatch(r"(\d+)(\.\d+)?", text)
    if number and not _is_compact_date(text):
        for unit, lengths in _EPOCH_DIGITS.items():
            if len(number[1]) in lengths:
                return TimeFormat(_EPOCH_NANOSECONDS[unit], note=f"times are read as epoch {unit}")
    if _is_compact_date(text):
        joined = tuple("%Y%m%d" + clock for clock in ("", "%H%M", "%H%M%S") if len(text) == 8 + clock.count("%") * 2)
        return TimeFormat(formats=joined)
    if re.match(r"\d{8}[ T]", text):
        return TimeFormat(formats=_with_clocks("%Y%m%d", text[8]))
    parts = re.match(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?!\d)(.?)", text)
    if parts and len(parts[1]) == 4:
        return TimeFormat(formats=_with_clocks(f"%Y{parts[2]}%m{parts[2]}%d", parts[5]))
    if parts and len(parts[4]) == 4:
        order, note = _day_or_month_first(first_numbers, dates, parts[2], shown)
        fields = ("%d", "%m") if order == "day-first" else ("%m", "%d")
        return TimeFormat(formats=_with_clocks(parts[2].join((*fields, "%Y")), parts[5]), note=note)
    for pattern, form in (
        (r"\d{1,2}-[A-Za-z]{3}-\d{4}(.?)", "%d-%b-%Y"),
        (r"\d{1,2} [A-Za-z]{3} \d{4}(.?)", "%d %b %Y"),
        (r"[A-Za-z]{3} \d{1,2}, \d{4}(.?)", "%b %d, %Y"),
    ):
        named = re.match(pattern, text)
        if named:
            return TimeFormat(formats=_with_clocks(form, named[1]))
    raise BadInputError(
        f"{shown}: {text[:40]!r} is no time known here; write times as 2017-01-31 14:00, 31.01.2017 14:00, "
        "20170131 140000, or seconds or milliseconds since 1970"
    )


def parse_offset(text: str) -> int | None:
    """Return the minutes east of UTC that ``Z``, ``UTC``, ``+01:00`` or ``GMT+0100`` say, None for anything else."""
    match = re.fullmatch(r"(Z|UTC|GMT)?(?:([+-])(\d{1,2}):?(\d{2})?)?", text.strip())
    if not match or not match[0]:
        return None
    minutes = int(match[3] or 0) * 60 + int(match[4] or 0)
    if minutes > 14 * 60:
        return None
    return -minutes if match[2] == "-" else minutes


def _is_compact_date(text: str) -> bool:
    return len(text) in (8, 12, 14) and re.match(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])\d*$", text) is not None


def _with_clocks(date: str, separator: str) -> tuple[str, ...]:
    if not separator:
        return (date, *(f"{date} {clock}" for clock in _CLOCKS))
    return (*(f"{date}{separator}{clock}" for clock in _CLOCKS), date)


def _day_or_month_first(
    first_numbers: tuple[int, int], dates: str | None, separator: str, shown: str
) -> tuple[str, str]:
    if dates is not None:
        return dates, ""
    first, second = first_numbers
    if first > 12 and second > 12:
        raise BadInputError(f"{shown}: dates are day-first and month-first in one column; write them as 2017-01-31")
    if first > 12:
        return "day-first", "dates are read day-first"
    if second > 12:
        return "month-first", "dates are read month-first"
    if separator == ".":
        return "day-first", "dates are read day-first, as is usual with points"
    raise BadInputError(
        f"{shown}: day and month cannot be told apart in its dates; say --dates day-first or --dates month-first"
    )

"""Recognition of the time format of a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ktrdr.core.errors import BadInputError

__all__ = [
    "CLOCK_PATTERN",
    "EPOCHS",
    "ZONE_PATTERN",
    "TimeFormat",
    "bare_clock",
    "epoch_unit",
    "parse_offset",
    "split_zone",
    "time_format",
    "zone_offset",
]

_OFFSET = r"(?:Z|UTC|GMT)?(?:(?:[+-]\d{2}:?\d{2})|(?:[+-]\d{1,2}))?"
_NAME = r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)+|[A-Z]{3,4}"
ZONE_PATTERN = rf"(?:\d|[AaPp][Mm])\s*({_OFFSET}|{_NAME})$"
"""Pattern of the end of a time of day: nothing, ``Z``, ``UTC``, ``+01:00``, ``GMT+0100``, ``US/Eastern``, ``EST``."""

CLOCK_PATTERN = r"[0-9]{4}.*:[0-9]|[0-9]\s*[A-Z]"
"""Pattern of texts that can end with a zone: with a time of day or with letters, unlike a bare date."""

EPOCHS = {"s": (10**8, 10**9), "ms": (10**11, 10**6), "us": (10**14, 10**3), "ns": (10**17, 1)}
"""Units of epoch times: the smallest number of the unit (the largest is 100 times as much), and its nanoseconds."""

_ABBREVIATIONS = {"EST": -300, "EDT": -240, "CET": 60, "CEST": 120, "JST": 540, "HKT": 480}
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
    """The time format of a file.

    Attributes:
        epoch: True for numbers since 1970, each in a unit of :data:`EPOCHS`.
        whole: True if such numbers must not have a fraction.
        formats: ``strptime`` formats to try; empty for epochs.
        clock: number of digits of times of day without colons, including leading zeros that may be missing; 0 if there
            are none.
        length: length of the whole text if only it separates the parts; else 0.
        note: the assumption, or empty.
    """

    epoch: bool = False
    whole: bool = False
    formats: tuple[str, ...] = ()
    clock: int = 0
    length: int = 0
    note: str = ""


def time_format(sample: Sequence[str], first_numbers: tuple[int, int], dates: str | None, shown: str) -> TimeFormat:
    """Return the format of times like those in ``sample``.

    Args:
        sample: one text of each kind, without zones, the most common first.
        first_numbers: the largest first and second number of texts like ``31.12.2017`` in the whole file.
        dates: ``day-first``, ``month-first``, or None to decide by these numbers.
        shown: the file, for messages.

    Raises:
        BadInputError: the format is unknown, or day and month cannot be distinguished.
    """
    text = next((value.strip() for value in sample if value.strip()), "")
    if epoch_unit(text):
        units = [unit for unit in EPOCHS if any(epoch_unit(value) == unit for value in sample)]
        return TimeFormat(epoch=True, note=f"times are read as epoch {' and '.join(units)}")
    if _is_compact_date(text):
        joined = tuple("%Y%m%d" + clock for clock in ("", "%H%M", "%H%M%S") if len(text) == 8 + clock.count("%") * 2)
        return TimeFormat(formats=joined, length=len(text))
    clock = _clock_digits(sample)
    if re.match(r"\d{8}[ T]", text):
        return TimeFormat(formats=_with_clocks("%Y%m%d", text[8]), clock=clock)
    parts = re.match(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?!\d)(.?)", text)
    if parts and len(parts[1]) == 4:
        return TimeFormat(formats=_with_clocks(f"%Y{parts[2]}%m{parts[2]}%d", parts[5]), clock=clock)
    if parts and len(parts[4]) == 4:
        order, note = _day_or_month_first(first_numbers, dates, parts[2], shown)
        fields = ("%d", "%m") if order == "day-first" else ("%m", "%d")
        return TimeFormat(formats=_with_clocks(parts[2].join((*fields, "%Y")), parts[5]), clock=clock, note=note)
    for pattern, form in (
        (r"\d{1,2}-[A-Za-z]{3}-\d{4}(.?)", "%d-%b-%Y"),
        (r"\d{1,2} [A-Za-z]{3} \d{4}(.?)", "%d %b %Y"),
        (r"[A-Za-z]{3} \d{1,2}, \d{4}(.?)", "%b %d, %Y"),
    ):
        named = re.match(pattern, text)
        if named:
            return TimeFormat(formats=_with_clocks(form, named[1]), clock=clock)
    raise BadInputError(
        f"{shown}: {text[:40]!r} is not in a known time format; write times as 2017-01-31 14:00, 31.01.2017 14:00, "
        "20170131 140000, or seconds or milliseconds since 1970, or name another column with --column time=NAME"
    )


def parse_offset(text: str) -> int | None:
    """Return the minutes east of UTC of ``Z``, ``UTC``, ``+01:00`` or ``GMT+0100``, None for anything else."""
    match = re.fullmatch(r"(Z|UTC|GMT)?(?:([+-])(\d{1,2}):?(\d{2})?)?", text.strip())
    if not match or not match[0]:
        return None
    minutes = int(match[3] or 0) * 60 + int(match[4] or 0)
    if minutes > 14 * 60:
        return None
    return -minutes if match[2] == "-" else minutes


def zone_offset(text: str) -> int | None:
    """Return the minutes east of UTC of the zone at the end of a time, None if they change over the year."""
    offset = parse_offset(text)
    return _ABBREVIATIONS.get(text) if offset is None else offset


def split_zone(text: str) -> tuple[str, str]:
    """Split a time into the text without its zone, and the zone as written, which may be empty."""
    match = re.search(ZONE_PATTERN, text) if re.search(CLOCK_PATTERN, text) else None
    if match is None or match[1].upper() in ("AM", "PM"):
        return text, ""
    return text[: match.start(1)].strip(), match[1]


def epoch_unit(text: str) -> str:
    """Return the unit of :data:`EPOCHS` of a number in text, or nothing for a date in digits or another text."""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or _is_compact_date(text):
        return ""
    value = int(text.partition(".")[0])
    return next((unit for unit, (least, _) in EPOCHS.items() if least <= value < 100 * least), "")


def bare_clock(text: str) -> str:
    """Return the time of day without colons at the end of a time without zone, or an empty text."""
    match = re.search(r"[ T](\d{1,6})$", text)
    return match[1] if match else ""


def _clock_digits(sample: Sequence[str]) -> int:
    """Return the number of digits, with leading zeros, of times of day such as ``93000``; 0 if there are none."""
    longest = max((len(bare_clock(value)) for value in sample), default=0)
    return longest + longest % 2


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
        return "day-first", "dates are read day-first"
    raise BadInputError(
        f"{shown}: day and month cannot be told apart in its dates; say --dates day-first or --dates month-first"
    )

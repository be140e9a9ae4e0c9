"""Times for the store, ``datetime64[ns]`` in UTC: parse, check and format them."""

from __future__ import annotations

import datetime as dt

import numpy as np

from ktrdr.core.dates import parse_instant
from ktrdr.core.errors import BadInputError

__all__ = ["check_order", "format_end", "format_time", "instant_of", "last_day", "parse_time"]


def parse_time(text: str, name: str = "time") -> np.datetime64:
    """Return an ISO 8601 time as ``datetime64[ns]``, UTC; a time without a zone is UTC.

    Args:
        text: a date, or a date and a time.
        name: of the option or argument, for messages.

    Raises:
        BadInputError: ``text`` is not such a time, or is outside of 1678 to 2261.
    """
    try:
        parsed = parse_instant(text).replace(tzinfo=None)
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}") from None
    if not 1678 <= parsed.year <= 2261:
        raise BadInputError(f"{name}: {text!r} is outside 1678 to 2261, the years KTRDR can count in nanoseconds")
    return np.datetime64(parsed, "ns")


def check_order(start: np.datetime64 | None, end: np.datetime64 | None) -> None:
    """Check that ``[start, end)`` is not empty; ``None`` means no limit on that side.

    Raises:
        BadInputError: the end is not after the start.
    """
    if start is not None and end is not None and end <= start:
        raise BadInputError(
            f"the end ({format_time(end)}) is not after the start ({format_time(start)}); a bar that opens at the end"
            " is not among them, so give a later one"
        )


def format_end(end: np.datetime64 | dt.datetime) -> str:
    """Format the close of the last bar of a span like :func:`format_time`, with midnight as 24:00 of the day before.

    So a span ends on the day of its last bar: ``2010-12-31 24:00``, not ``2011-01-01 00:00``.
    """
    time = instant_of(end)
    text = format_time(time)
    return f"{last_day(time)} 24:00" if text.endswith(" 00:00") else text


def last_day(end: np.datetime64 | dt.datetime) -> str:
    """Return the day (``YYYY-MM-DD``, UTC) of the bar that closes at ``end``, the last one of a span."""
    return str((instant_of(end) - np.timedelta64(1, "ns")).astype("datetime64[D]"))


def instant_of(time: np.datetime64 | dt.datetime) -> np.datetime64:
    """Return a time, aware or ``datetime64``, as ``datetime64[ns]`` in UTC."""
    if isinstance(time, np.datetime64):
        return time.astype("datetime64[ns]")
    return np.datetime64(time.astimezone(dt.UTC).replace(tzinfo=None), "ns")


def format_time(time: np.datetime64) -> str:
    """Format a time for a person: ``YYYY-MM-DD HH:MM``, UTC, with seconds only if they are not 0."""
    text = str(time.astype("datetime64[s]")).replace("T", " ")
    return text[:-3] if text.endswith(":00") else text

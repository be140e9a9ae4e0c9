"""Points in time as the store takes them: ``datetime64[ns]``, UTC."""

from __future__ import annotations

import datetime as dt

import numpy as np

from ktrdr.core.errors import BadInputError

__all__ = ["format_time", "parse_time"]


def parse_time(text: str, name: str = "time") -> np.datetime64:
    """Return the instant that ISO 8601 ``text`` names, UTC where it has no zone.

    Raises:
        BadInputError: ``text`` is no date or date and time.
    """
    try:
        parsed = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadInputError(f"{name} {text!r} is no date: write it as 2017-01-31 or 2017-01-31T14:00 (UTC)") from None
    if parsed.tzinfo is not None:
        parsed = parsed.astimezone(dt.UTC).replace(tzinfo=None)
    if not 1678 <= parsed.year <= 2261:
        raise BadInputError(f"{name} {text!r} is outside 1678 to 2261, the years KTRDR can count in nanoseconds")
    return np.datetime64(parsed, "ns")


def format_time(time: np.datetime64) -> str:
    """Return ``YYYY-MM-DD HH:MM``, with seconds only where there are any; for a person, UTC."""
    text = str(time.astype("datetime64[s]")).replace("T", " ")
    return text[:-3] if text.endswith(":00") else text

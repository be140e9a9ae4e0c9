"""Points in time as the store takes them: ``datetime64[ns]``, UTC."""

from __future__ import annotations

import numpy as np

from ktrdr.core.dates import parse_instant
from ktrdr.core.errors import BadInputError

__all__ = ["check_order", "format_time", "parse_time"]


def parse_time(text: str, name: str = "time") -> np.datetime64:
    """Return the instant that ISO 8601 ``text`` names, UTC where it has no zone.

    Raises:
        BadInputError: ``text`` is no date or date and time.
    """
    try:
        parsed = parse_instant(text).replace(tzinfo=None)
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}") from None
    if not 1678 <= parsed.year <= 2261:
        raise BadInputError(f"{name}: {text!r} is outside 1678 to 2261, the years KTRDR can count in nanoseconds")
    return np.datetime64(parsed, "ns")


def check_order(start: np.datetime64 | None, end: np.datetime64 | None) -> None:
    """Check that ``[start, end)`` can hold a bar; ``None`` leaves that side open.

    Raises:
        BadInputError: the end is not after the start.
    """
    if start is not None and end is not None and end <= start:
        raise BadInputError(
            f"the end ({format_time(end)}) is not after the start ({format_time(start)}); a bar that opens at the end"
            " is not among them, so give a later one"
        )


def format_time(time: np.datetime64) -> str:
    """Return ``YYYY-MM-DD HH:MM``, with seconds only where there are any; for a person, UTC."""
    text = str(time.astype("datetime64[s]")).replace("T", " ")
    return text[:-3] if text.endswith(":00") else text

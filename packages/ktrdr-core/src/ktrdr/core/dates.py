"""Parsing of days and times in ISO 8601, UTC."""

from __future__ import annotations

import datetime as dt
import re

from ktrdr.core.errors import BadInputError

__all__ = ["parse_day", "parse_instant"]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_AS_A_DAY = "2017-01-31"


def parse_day(text: str) -> dt.date:
    """Return the day ``YYYY-MM-DD``.

    Raises:
        BadInputError: ``text`` has another format, or there is no such day. The message begins with the text, so that
            the caller can put the name of the option or key before it.
    """
    if not _DAY.fullmatch(text):
        raise BadInputError(f"{text!r} is not a date: write it as {_AS_A_DAY}")
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(f"{text!r} is not a date: {error}; write it as {_AS_A_DAY}") from None


def parse_instant(text: str) -> dt.datetime:
    """Return the time of an ISO 8601 text, timezone-aware in UTC. A text without time zone is in UTC.

    Raises:
        BadInputError: ``text`` is neither a date nor a date with a time. The message begins with the text.
    """
    try:
        parsed = dt.datetime.fromisoformat(text.strip())
        return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise BadInputError(f"{text!r} is not a date: write it as {_AS_A_DAY} or {_AS_A_DAY}T14:00 (UTC)") from None

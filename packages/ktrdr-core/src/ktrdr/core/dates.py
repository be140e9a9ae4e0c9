"""Days and times as people write them, in ISO 8601 and UTC, refused in the same words wherever they are asked for."""

from __future__ import annotations

import datetime as dt
import re

from ktrdr.core.errors import BadInputError

__all__ = ["parse_day", "parse_instant"]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_AS_A_DAY = "2017-01-31"


def parse_day(text: str) -> dt.date:
    """Return the day that ``text`` names.

    Raises:
        BadInputError: it is written otherwise than ``YYYY-MM-DD``, or there is no such day. The sentence begins with
            the text: whoever asked for the day puts before it where it stands.
    """
    if not _DAY.fullmatch(text):
        raise BadInputError(f"{text!r} is no date: write it as {_AS_A_DAY}")
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(f"{text!r} is no date: {error}; write it as {_AS_A_DAY}") from None


def parse_instant(text: str) -> dt.datetime:
    """Return the instant that ISO 8601 ``text`` names, aware and in UTC; UTC too where ``text`` has no zone.

    Raises:
        BadInputError: ``text`` is no date and no date with a time, in a sentence that begins with the text.
    """
    try:
        parsed = dt.datetime.fromisoformat(text.strip())
        return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise BadInputError(f"{text!r} is no date: write it as {_AS_A_DAY} or {_AS_A_DAY}T14:00 (UTC)") from None

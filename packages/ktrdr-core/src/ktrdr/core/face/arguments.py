"""What users pass to the functions of the face, as the workflows take it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import Settings
from ktrdr.core.jobs.refusals import read_settings

__all__ = ["DayLike", "SymbolsLike", "TimeLike", "settings_of"]

S = TypeVar("S", bound=Settings)

DayLike: TypeAlias = str | dt.date | np.datetime64 | None
"""A day: ``"2017-01-31"``, a date, or a date and time at midnight (pandas' too); ``None`` for the default."""

TimeLike: TypeAlias = str | dt.datetime | np.datetime64 | None
"""A time: ISO 8601 text, a datetime (pandas' too) or ``datetime64``; UTC where it has no zone."""

SymbolsLike: TypeAlias = str | Iterable[str] | None
"""A symbol or several; ``None`` for the default."""


def settings_of(kind: type[S], symbols: SymbolsLike, start: DayLike, end: DayLike, **values: Any) -> S:
    """Return settings of ``kind``.

    Raises:
        BadInputError: one of them is wrong; the message names it.
    """
    given: dict[str, Any] = {
        "symbols": (symbols,) if isinstance(symbols, str) else _listed(symbols),
        "start": _day_of(start, "start"),
        "end": _day_of(end, "end"),
    }
    return read_settings(kind, given | values)


def _day_of(value: DayLike, name: str) -> object:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, dt.datetime):
        if value != value:  # pandas.NaT
            raise BadInputError(f"{name}: {value!r} is not a date: write it as 2017-01-31")
        if value.tzinfo is not None:
            value = value.astimezone(dt.UTC)
        if value.time() != dt.time():
            raise BadInputError(f"{name} is a day, not a time: give {value.date()} instead of {value.isoformat()}")
        return value.date()
    return value


def _listed(values: object) -> object:
    """Return several values as a tuple; anything else is left to the settings, which refuse it."""
    return tuple(values) if isinstance(values, Iterable) else values

"""The calendar of a stored symbol: show it, with its source, and change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.calendar_choice import choose_reading
from ktrdr.core.data.symbol_spelling import readings
from ktrdr.core.data.timeframe import TIMEFRAMES

__all__ = ["StoredCalendar", "change_calendar", "listed_calendar", "stored_calendar"]


@dataclass(frozen=True, slots=True)
class StoredCalendar:
    """The calendar of a symbol, which holds for all its timeframes.

    Attributes:
        symbol: the symbol.
        calendar: its name, see :mod:`ktrdr.core.data.calendars`.
        told_by: source of the calendar: ``stored`` with the data, ``times`` of the bars (for a ticker with several
            readings), or ``name`` of the symbol.
        choices: names of the possible calendars if the times of the bars do not decide; mostly empty.
        warning: what else to do after a change; empty if nothing.
    """

    symbol: str
    calendar: str
    told_by: str
    choices: tuple[str, ...] = ()
    warning: str = ""

    @property
    def statement(self) -> str:
        """One sentence for a person."""
        told = {
            "stored": "stored with the data",
            "times": "derived from the times of its bars, not stored",
            "name": "derived from the symbol's name, not stored",
        }[self.told_by]
        if not self.choices:
            return f"{self.calendar}, {told}"
        commands = " or ".join(f"`ktrdr data calendar {self.symbol} {name}`" for name in self.choices)
        return f"{self.calendar}, {told}; its bars do not show whether that is right: set it with {commands}"

    def to_json(self) -> dict[str, Any]:
        """Return the calendar as plain values."""
        return {
            "symbol": self.symbol,
            "calendar": self.calendar,
            "told_by": self.told_by,
            "choices": list(self.choices),
            "warning": self.warning,
        }


def listed_calendar(symbol: str, stored: str | None) -> dict[str, Any]:
    """Return ``calendar`` (``None`` if the symbol has several readings) and ``calendar_stored``, for a list."""
    told = readings(symbol)
    name = stored if stored is not None else told[0].calendar if len(told) == 1 else None
    return {"calendar": name, "calendar_stored": stored is not None}


def stored_calendar(store: BarStore, symbol: str) -> StoredCalendar:
    """Return the calendar of ``symbol``.

    Raises:
        NotFoundError: no data set of it is stored.
    """
    stored = store.calendar(symbol)
    if stored is not None:
        return StoredCalendar(symbol, stored, "stored")
    # Weeks last: weekly bars do not distinguish calendars.
    timeframe = next((each for each in (*reversed(TIMEFRAMES[:-1]), "1w") if store.has(symbol, each)), None)
    if timeframe is None:
        raise store.missing(symbol)
    told = readings(symbol)
    if len(told) == 1:
        return StoredCalendar(symbol, told[0].calendar, "name")
    chosen = choose_reading(symbol, store.read(symbol, timeframe).time.astype(np.int64))
    if chosen is not None:
        return StoredCalendar(symbol, chosen.calendar, "times")
    return StoredCalendar(symbol, told[0].calendar, "name", tuple(each.calendar for each in told))


def change_calendar(store: BarStore, symbol: str, calendar: str) -> StoredCalendar:
    """Store ``calendar`` with all timeframes of ``symbol``.

    Raises:
        BadInputError: there is no such calendar, or no data set of ``symbol`` is stored.
        StoreError: the disk is full or not writable.
    """
    name = store.set_calendar(symbol, calendar)
    warning = ""
    if name not in ("FX", "24/7") and store.has(symbol, "1d"):
        time = store.read(symbol, "1d").time
        odd = np.flatnonzero(time != time.astype("datetime64[D]"))
        if len(odd):
            hour = str(time[odd[0]].astype("datetime64[m]"))[-5:]
            warning = (
                f"{len(odd):,} of its daily bars are not labelled with the date of their session (the first with "
                f"{hour}): `ktrdr data delete {symbol} 1d`, and import them again with --calendar {name}"
            )
    return StoredCalendar(symbol, name, "stored", warning=warning)

"""Which calendar a file's bars get: said, stored, noted in the file, or told by the symbol and the times."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.calendar_choice import choose_reading, either_or
from ktrdr.core.data.calendars import check_calendar
from ktrdr.core.data.consistency import common_step
from ktrdr.core.data.parquet import calendar_in_file
from ktrdr.core.data.symbol_spelling import readings
from ktrdr.core.data.timeframe import TIMEFRAMES
from ktrdr.core.data.vendor.vendor_files import PlainFile
from ktrdr.core.errors import BadInputError

__all__ = ["known_calendar", "noted_calendar", "settled_calendar"]

_DAY = 86_400_000_000_000


def noted_calendar(plain: PlainFile, shown: str) -> str | None:
    """Return the calendar that a Parquet file notes, as ``ktrdr data export`` writes it; ``None`` if it notes none.

    Raises:
        BadInputError: it notes one that is unknown.
    """
    noted = calendar_in_file(plain.path) if plain.is_parquet else None
    try:
        return None if noted is None else check_calendar(noted)
    except BadInputError as error:
        raise BadInputError(f"{shown} notes a calendar: {error}; say another one with --calendar") from None


def known_calendar(store: BarStore, symbol: str, noted: str | None) -> tuple[str | None, str | None]:
    """Return the calendar of ``symbol`` before its bars are looked at, ``None`` if there is none, and a note or none.

    What is stored goes before what the file notes: an export from before it was changed does not change it back. Of a
    symbol with several readings that was stored without one, the stored bars may tell it.
    """
    stored = store.calendar(symbol)
    if stored is not None:
        other = noted is not None and noted != stored
        note = f"the file notes the calendar {noted}; that of {symbol} stays {stored}, --calendar {noted} changes it"
        return stored, note if other else None
    if noted is not None or len(readings(symbol)) == 1:
        return noted, None
    timeframe = next((each for each in reversed(TIMEFRAMES) if each != "1w" and store.has(symbol, each)), None)
    if timeframe is None:
        return None, None
    chosen = choose_reading(symbol, store.read(symbol, timeframe).time.astype(np.int64))
    return (None, None) if chosen is None else (chosen.calendar, _taken_for(symbol, chosen.what, chosen.calendar))


def settled_calendar(
    symbol: str,
    time: np.ndarray,
    offset: np.ndarray | None,
    zone: ZoneInfo | dt.timezone | None,
    calendar: str | None,
    where: str,
    *,
    closes: bool = False,
    alone: bool = True,
) -> tuple[str | None, str | None]:
    """Return the calendar to store with bars of ``symbol``, ``None`` if its spelling tells it, and a note or none.

    Args:
        symbol: as it is to be stored.
        time: int64 ``(n,)`` nanoseconds, ascending: the times as written.
        offset: int64 ``(n,)`` minutes they are ahead of UTC, where they say it themselves.
        zone: of times that do not, where it is given.
        calendar: what is known already; is returned as it is.
        where: the file, for the message.
        closes: whether the times are those of closes.
        alone: whether it is the only symbol of the file.

    Raises:
        BadInputError: the symbol could be several things, and the times do not tell.
    """
    if calendar is not None or len(readings(symbol)) == 1:
        return calendar, None
    if closes:
        time = time - common_step(time)
    if offset is None and zone is not None:
        offset = _offsets(time, zone)
    chosen = choose_reading(symbol, time, offset)
    if chosen is None:
        raise BadInputError(f"{where}: {either_or(symbol, alone=alone)}")
    return chosen.calendar, _taken_for(symbol, chosen.what, chosen.calendar)


def _taken_for(symbol: str, what: str, calendar: str) -> str:
    return f"by the times of its bars {symbol} is {what} ({calendar}); `ktrdr data calendar {symbol} NAME` changes that"


def _offsets(time: np.ndarray, zone: ZoneInfo | dt.timezone) -> np.ndarray:
    """Return how many minutes ``zone`` is ahead of UTC at noon of each day: near enough to tell days and nights."""
    days, index = np.unique(time // _DAY, return_inverse=True)
    noon = dt.datetime(1970, 1, 1, 12, tzinfo=zone)
    minutes = [
        int(((noon + dt.timedelta(days=int(day))).utcoffset() or dt.timedelta()).total_seconds()) // 60 for day in days
    ]
    return np.array(minutes, dtype=np.int64)[index]

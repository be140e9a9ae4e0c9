"""The calendar of imported bars: given, stored, in the file, or derived from symbol and times."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.calendar_choice import choose_reading, either_or
from ktrdr.core.data.calendars import check_calendar
from ktrdr.core.data.consistency import common_step
from ktrdr.core.data.parquet import calendar_in_file, world_in_file
from ktrdr.core.data.symbol_spelling import readings
from ktrdr.core.data.timeframe import TIMEFRAMES
from ktrdr.core.data.vendor.vendor_files import PlainFile
from ktrdr.core.errors import BadInputError

__all__ = ["check_real", "known_calendar", "noted_calendar", "settled_calendar"]

_DAY = 86_400_000_000_000


def check_real(plain: PlainFile, shown: str) -> None:
    """Check that a file has no bars of a synthetic market, which would pass for real ones once they are imported.

    Raises:
        BadInputError: it is a Parquet file with such bars.
    """
    world = world_in_file(plain.path) if plain.is_parquet else None
    if world is not None:
        raise BadInputError(
            f"{shown} has bars of the synthetic market {world[:64]!a}, which are not imported; make them with "
            "`ktrdr data synthesize`"
        )


def noted_calendar(plain: PlainFile, shown: str) -> str | None:
    """Return the calendar in a Parquet file that ``ktrdr data export`` wrote; ``None`` if it has none.

    Raises:
        BadInputError: the calendar is unknown.
    """
    noted = calendar_in_file(plain.path) if plain.is_parquet else None
    try:
        return None if noted is None else check_calendar(noted)
    except BadInputError as error:
        raise BadInputError(f"{shown} notes a calendar: {error}; say another one with --calendar") from None


def known_calendar(store: BarStore, symbol: str, noted: str | None) -> tuple[str | None, str | None]:
    """Return the calendar of ``symbol`` as far as it is known without the new bars, and a note; each may be None.

    The stored calendar takes precedence over the one in the file, so that an old export does not revert a change. If a
    symbol with several readings is stored without a calendar, its stored bars may decide.
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
    """Return the calendar to store with bars of ``symbol``, ``None`` if the symbol implies it, and a note or None.

    Args:
        symbol: the name to store the bars under.
        time: int64 ``(n,)`` nanoseconds since 1970, ascending: the times as written.
        offset: int64 ``(n,)`` minutes that the times are ahead of UTC, if the file has offsets.
        zone: of times without an offset, if known.
        calendar: the known calendar; it is returned unchanged.
        where: the file, for the message.
        closes: True if the times are closes.
        alone: True if it is the only symbol of the file.

    Raises:
        BadInputError: the symbol has several readings, and the times do not decide.
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
    """Return the minutes that ``zone`` is ahead of UTC at noon of each day, which is exact enough here."""
    days, index = np.unique(time // _DAY, return_inverse=True)
    noon = dt.datetime(1970, 1, 1, 12, tzinfo=zone)
    minutes = [
        int(((noon + dt.timedelta(days=int(day))).utcoffset() or dt.timedelta()).total_seconds()) // 60 for day in days
    ]
    return np.array(minutes, dtype=np.int64)[index]

"""Rows of an import in UTC and in order of time; wrong order is refused with its line."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.calendars import calendar_for
from ktrdr.core.data.shifted_clock import TimesRead
from ktrdr.core.data.times import format_time
from ktrdr.core.data.vendor.import_calendar import settled_calendar
from ktrdr.core.data.vendor.import_options import ImportOptions
from ktrdr.core.data.vendor.local_times import to_utc
from ktrdr.core.data.vendor.raw_bars import StagedRows
from ktrdr.core.errors import BadInputError

__all__ = ["OrderedRows", "add_note", "order_rows"]

_MINUTE = 60_000_000_000
_HOUR = 3_600_000_000_000
_DAY = 86_400_000_000_000
_NAMED = 10


@dataclass(frozen=True, slots=True, eq=False)
class OrderedRows:
    """Rows of one symbol, ascending in time.

    Attributes:
        time: int64 ``(n,)``, nanoseconds since 1970, UTC: the open or the close, as in the file.
        rows: int64 ``(n,)``, their positions in the file.
        columns: float64 ``(n,)`` each: prices and volume.
        calendar: to store with the bars; None if the symbol implies it.
        read: how the times were read.
        unclear: places and reasons of the first rows that were left out because their local time occurs twice or never.
        unclear_count: number of such rows.
    """

    time: np.ndarray
    rows: np.ndarray
    columns: Mapping[str, np.ndarray]
    calendar: str | None
    read: TimesRead
    unclear: tuple[str, ...]
    unclear_count: int


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """Times as written: int64 nanoseconds, positions of their rows, and minutes east of UTC or None."""

    time: np.ndarray
    rows: np.ndarray
    offset: np.ndarray | None

    def kept(self, chosen: np.ndarray | slice) -> _Written:
        offset = None if self.offset is None else self.offset[chosen]
        return _Written(self.time[chosen], self.rows[chosen], offset)


def order_rows(staging: StagedRows, source: str, target: str, where: str, options: ImportOptions) -> OrderedRows:
    """Return the rows of the symbol ``source``, which is stored as ``target``.

    Raises:
        BadInputError: the times are not in order, a local time is ambiguous (unless such rows may be left out), or the
            symbol is.
    """
    raw = staging.raw_bars(source)
    written, columns = _Written(raw.time, raw.row, raw.offset), dict(raw.prices)
    del raw
    zone = None if written.offset is not None else (staging.zone or options.zone)
    if _newest_first(written, zone):
        turned = slice(None, None, -1)
        written, columns = written.kept(turned), {name: values[turned] for name, values in columns.items()}
        add_note(staging, f"{'' if not source else target + ': '}rows were newest first and were reversed")
    calendar, note = settled_calendar(
        target,
        written.time,
        written.offset,
        zone,
        options.calendar,
        where,
        closes=options.label == "close",
        alone=len(staging.symbols) == 1,
    )
    if note is not None:
        add_note(staging, note)
    read = _times_read(written.offset, zone, staging, options)
    if _keeps_dates(written.time, target, calendar):
        zone, written = None, dataclasses.replace(written, offset=None)
    time, unclear = _instants(written, zone)
    reasons: tuple[str, ...] = ()
    if len(unclear):
        reasons = _reasons(written, unclear, zone, staging)
        if not options.skip_bad:
            more = f" (and {len(unclear) - 1} more such rows)" if len(unclear) > 1 else ""
            raise BadInputError(
                f"{where}, {reasons[0]}{more}; leave such rows out with --skip-bad, or import a file in UTC"
            )
        keep = np.ones(len(time), dtype=bool)
        keep[unclear] = False
        time, written = time[keep], written.kept(keep)
        columns = {name: values[keep] for name, values in columns.items()}
    _refuse_disorder(staging, where, time, written, named=zone is not None or staging.zoned)
    return OrderedRows(time, written.rows, columns, calendar, read, reasons, len(unclear))


def add_note(staging: StagedRows, text: str) -> None:
    """Add a note about an assumption, once."""
    if text not in staging.notes:
        staging.notes.append(text)


def _newest_first(written: _Written, zone: ZoneInfo | dt.timezone | None) -> bool:
    step = np.diff(written.time if written.offset is None else written.time - written.offset * _MINUTE)
    back = int(np.count_nonzero(step < 0))
    # If the newest row comes first, clocks that go back cause a step forward.
    return back > 0 and (back == len(step) or (isinstance(zone, ZoneInfo) and 2 * back > len(step)))


def _keeps_dates(written: np.ndarray, symbol: str, calendar: str | None) -> bool:
    """Return True if the times are dates of daily bars of an exchange, labelled with midnight of any zone.

    Such a date names the session, and every session ends before 24:00 UTC of its date.
    """
    return not (written % _DAY).any() and calendar_for(symbol, calendar).name not in ("FX", "24/7")


def _instants(written: _Written, zone: ZoneInfo | dt.timezone | None) -> tuple[np.ndarray, np.ndarray]:
    """Return nanoseconds since 1970, UTC, and the positions of the rows without a definite instant."""
    if isinstance(zone, ZoneInfo):
        return to_utc(written.time, zone)
    time = written.time
    if written.offset is not None:
        time = time - written.offset * _MINUTE
    elif zone is not None:
        time = time - int(zone.utcoffset(None).total_seconds()) * 1_000_000_000
    return time, np.empty(0, dtype=np.int64)


def _times_read(
    offset: np.ndarray | None, zone: ZoneInfo | dt.timezone | None, staging: StagedRows, options: ImportOptions
) -> TimesRead:
    """Return how the times were read; ``offset`` are the offsets in the file, minutes east of UTC."""
    if offset is None:
        return TimesRead(zone or dt.UTC, options.label, said=staging.zone is not None)
    minutes = np.unique(offset)
    said = dt.timezone(dt.timedelta(minutes=int(minutes[0]))) if len(minutes) == 1 else None
    return TimesRead(said, options.label, said=True)


def _reasons(written: _Written, unclear: np.ndarray, zone: object, staging: StagedRows) -> tuple[str, ...]:
    first = unclear[:_NAMED]
    first = first[np.argsort(written.rows[first])]
    places = staging.places([int(row) for row in written.rows[first]])
    return tuple(
        f"{place}: {_shown(time)} occurs once although clocks in {zone} show it twice, or never occurs there"
        for place, time in zip(places, written.time[first], strict=True)
    )


def _refuse_disorder(staging: StagedRows, where: str, time: np.ndarray, written: _Written, *, named: bool) -> None:
    """Raise BadInputError if instants do not ascend; ``named`` is True if their zone is known."""
    step = np.diff(time)
    bad = np.flatnonzero(step <= 0)
    if not len(bad):
        return
    first = int(bad[0])
    before, after = (_shown(written.time[row]) for row in (first, first + 1))
    more = f" (and {len(bad) - 1} more such rows)" if len(bad) > 1 else ""
    place = staging.place(int(written.rows[first + 1]))
    zone = ""
    if not named and _clocks_may_go_back(int(written.time[first + 1]), int(step[first])):
        zone = ", or name the zone with --timezone if its clocks go back there"
    if step[first] == 0:
        raise BadInputError(
            f"{where}, {place}: the time {after} occurs twice{more}; keep the row that counts in the file{zone}"
        )
    raise BadInputError(f"{where}, {place}: {after} comes after {before}{more}; sort the file by time{zone}")


def _clocks_may_go_back(written: int, step: int) -> bool:
    """Return True if a step back may be due to clocks: less than an hour, in the first hours of a day."""
    return step > -_HOUR and written % _DAY <= 4 * _HOUR


def _shown(time: np.integer) -> str:
    return format_time(np.datetime64(int(time), "ns"))

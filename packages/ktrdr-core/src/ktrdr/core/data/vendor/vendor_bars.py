"""Rows of a vendor's file as bars: in order, in UTC, without error, or refused with the line."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import calendar_for
from ktrdr.core.data.consistency import find_inconsistencies, first_inconsistency
from ktrdr.core.data.shifted_clock import TimesRead
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.data.validation import Finding, ValidationReport, validate_bars
from ktrdr.core.data.vendor.local_times import to_utc
from ktrdr.core.data.vendor.short_bars import align, describe_short_bars, find_short_bars
from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    from ktrdr.core.data.vendor.staging import Staging

__all__ = ["ImportOptions", "checked_bars", "detect_timeframe"]

_MINUTE = 60_000_000_000
_HOUR = 3_600_000_000_000
_DAY = 86_400_000_000_000
_STEPS_LOOKED_AT = 200_000
_NAMED = 10


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user said of a file; see :func:`~ktrdr.core.data.vendor.importer.import_file`."""

    timeframe: Timeframe | None
    zone: ZoneInfo | dt.timezone | None
    calendar: str | None
    label: str
    skip_bad: bool
    align: bool = False


def checked_bars(staging: Staging, source: str, target: str, options: ImportOptions) -> tuple[Bars, ValidationReport]:
    """Return the bars of one symbol, in order and without error, and the report on them."""
    raw = staging.raw_bars(source)
    where = f"{staging.shown}{': ' + target if source else ''}"
    written, rows, columns = raw.time, raw.row, dict(raw.prices)
    offset = raw.offset
    del raw
    zone = _zone_of(written, offset, target, options, staging)
    step = np.diff(written if offset is None else written - offset * _MINUTE)
    back = int(np.count_nonzero(step < 0))
    # Clocks that go back make a step forward among rows that are newest first.
    if len(step) and (back == len(step) or (isinstance(zone, ZoneInfo) and 2 * back > len(step))):
        written, rows = written[::-1], rows[::-1]
        columns = {name: values[::-1] for name, values in columns.items()}
        offset = None if offset is None else offset[::-1]
        _note(staging, f"{'' if not source else target + ': '}rows were newest first and are turned round")
    del step
    left_out: list[Finding] = []
    time, unclear = _instants(written, offset, zone, target, options)
    if len(unclear):
        reasons = _reasons(written, rows, unclear, zone, staging)
        if not options.skip_bad:
            more = f" (and {len(unclear) - 1} more such rows)" if len(unclear) > 1 else ""
            raise BadInputError(
                f"{where}, {reasons[0]}{more}; leave such rows out with --skip-bad, or import a file in UTC"
            )
        left_out.append(_left_out(reasons, len(unclear)))
        keep = np.ones(len(time), dtype=bool)
        keep[unclear] = False
        time, written, rows = time[keep], written[keep], rows[keep]
        columns = {name: values[keep] for name, values in columns.items()}
    _refuse_disorder(staging, where, time, written, rows, named=zone is not None)
    found = options.timeframe or detect_timeframe(time)
    if found is None:
        raise BadInputError(_no_timeframe(where, time))
    if options.timeframe is not None:
        _check_timeframe(where, time, found)
    if options.label == "close":
        time = time - found.nanoseconds
    odd = np.flatnonzero(time % _MINUTE)
    if len(odd):
        raise BadInputError(
            f"{where}, {staging.place(int(rows[odd[0]]))}: {np.datetime64(int(time[odd[0]]), 'ns')} is not a whole "
            "minute; round the times in the file to the minute in which a bar opens"
        )
    order = ("open", "high", "low", "close", "volume")
    bars = Bars(
        target,
        found,
        np.ascontiguousarray(time).view("datetime64[ns]"),
        *(np.ascontiguousarray(columns[name]) for name in order),
    )
    if staging.bad_count and not staging.symbols.keys() - {source}:
        left_out.append(_left_out(staging.bad_rows, staging.bad_count))
    elif staging.bad_count:
        what = (
            "1 row of the file is no bar and was"
            if staging.bad_count == 1
            else (f"{staging.bad_count:,} rows of the file are no bars and were")
        )
        _note(staging, f"{what} left out ({staging.bad_rows[0]})")
    bad = [error for error in find_inconsistencies(bars) if error.kind not in ("unordered", "duplicate", "overlap")]
    if bad and options.skip_bad:
        keep = np.ones(len(bars), dtype=bool)
        for error in bad:
            # One warning per row, whatever all is wrong with it.
            fresh = int(np.count_nonzero(keep[error.rows]))
            keep[error.rows] = False
            if fresh:
                left_out.append(_left_out([error.message], fresh))
        bars = Bars(target, found, bars.time[keep], *(getattr(bars, name)[keep] for name in order))
        rows = rows[keep]
        if not len(bars):
            raise BadInputError(f"{where} has no bars without errors: leave out --skip-bad to see what is wrong")
    if options.align and (options.skip_bad or not bad):
        bars, rows, aligned = _aligned(bars, rows)
        left_out.append(aligned)
    first = first_inconsistency(bars)
    if first is not None:
        remedy = (
            "correct the file"
            if first.kind == "overlap"
            else "correct the file, or leave such rows out with --skip-bad"
        )
        if first.kind == "overlap":
            remedy = _overlap_remedy(bars, int(first.rows[0]))
        raise BadInputError(f"{where}, {staging.place(int(rows[first.rows[0]]))}: {first.message}; {remedy}")
    report = validate_bars(bars, options.calendar, _times_read(offset, staging, options))
    findings = (*left_out, *report.findings)
    return bars, ValidationReport(
        report.symbol, report.timeframe, report.rows, report.calendar, report.gaps, report.missing_bars, findings
    )


def _aligned(bars: Bars, rows: np.ndarray) -> tuple[Bars, np.ndarray, Finding]:
    """Return the bars with short ones on the grid, the rows of the file they come from, and what to say of it."""
    short = find_short_bars(bars.time.view(np.int64), bars.timeframe.nanoseconds)
    if short is None:
        return bars, rows, Finding("aligned", "warning", "no short bars were found, so --align changed nothing", 0)
    count, merged = len(short.rows), int(short.merged.sum())
    what = "1 short bar was" if count == 1 else f"{count:,} short bars were"
    text = f"{what} put on the grid, {merged:,} of them merged with the grid's bar of the same slot"
    finding = Finding("aligned", "warning", text, count, tuple(bars.time[short.rows[:10]]))
    bars, kept = align(bars, short)
    return bars, rows[kept], finding


def _times_read(offset: np.ndarray | None, staging: Staging, options: ImportOptions) -> TimesRead:
    """Return how times were read whose offsets in the file (minutes east of UTC) are ``offset``."""
    if staging.zone is not None:
        return TimesRead(staging.zone, options.label, said=True)
    if offset is None:
        return TimesRead(options.zone or dt.UTC, options.label)
    minutes = np.unique(offset)
    zone = dt.timezone(dt.timedelta(minutes=int(minutes[0]))) if len(minutes) == 1 else None
    return TimesRead(zone, options.label, said=True)


def _overlap_remedy(bars: Bars, row: int) -> str:
    """Return what to do where the bar of ``row`` opens before the one before it has closed."""
    short = find_short_bars(bars.time.view(np.int64), bars.timeframe.nanoseconds)
    if short is not None and np.isin([row - 1, row], short.rows).any():
        return describe_short_bars(bars, short)
    return (
        f"{bars.timeframe} bars must be {bars.timeframe} apart: leave one of the two out of the file, or say "
        "--timeframe if they are bars of another length"
    )


def _left_out(reasons: list[str], count: int) -> Finding:
    what = "1 row is no bar and was" if count == 1 else f"{count:,} rows are no bars and were"
    return Finding("left_out", "warning", f"{what} left out: {'; '.join(reasons)}", count)


def _note(staging: Staging, text: str) -> None:
    if text not in staging.notes:
        staging.notes.append(text)


def _refuse_disorder(
    staging: Staging, where: str, time: np.ndarray, written: np.ndarray, rows: np.ndarray, *, named: bool
) -> None:
    """Refuse instants that do not ascend; ``named`` says that a zone is known whose clocks may go back."""
    step = np.diff(time)
    bad = np.flatnonzero(step <= 0)
    if not len(bad):
        return
    first = int(bad[0])
    before, after = (format_time(np.datetime64(int(written[i]), "ns")) for i in (first, first + 1))
    more = f" (and {len(bad) - 1} more such rows)" if len(bad) > 1 else ""
    place = staging.place(int(rows[first + 1]))
    zone = ""
    if not named and _clocks_may_go_back(int(written[first + 1]), int(step[first])):
        zone = ", or name the zone with --timezone if its clocks go back there"
    if step[first] == 0:
        raise BadInputError(
            f"{where}, {place}: the time {after} is there twice{more}; keep the row that counts in the file{zone}"
        )
    raise BadInputError(f"{where}, {place}: {after} comes after {before}{more}; sort the file by time{zone}")


def _clocks_may_go_back(written: int, step: int) -> bool:
    """Tell whether a step back to this time looks like clocks: by at most an hour, in the first hours of a day."""
    return step > -_HOUR and written % _DAY <= 4 * _HOUR


def _zone_of(
    written: np.ndarray,
    offset: np.ndarray | None,
    symbol: str,
    options: ImportOptions,
    staging: Staging,
) -> ZoneInfo | dt.timezone | None:
    """Return the zone of times that do not say their offset; None where they are UTC or keep what they say.

    Daily bars of an exchange that are labelled with midnight, wherever, keep their date: it names the session, and
    every session is over by 24:00 UTC of its date.
    """
    zone = staging.zone or options.zone
    if zone is None or offset is not None or _keeps_dates(written, symbol, options):
        return None
    return zone


def _keeps_dates(written: np.ndarray, symbol: str, options: ImportOptions) -> bool:
    return not (written % _DAY).any() and calendar_for(symbol, options.calendar).name not in ("FX", "24/7")


def _instants(
    written: np.ndarray,
    offset: np.ndarray | None,
    zone: ZoneInfo | dt.timezone | None,
    symbol: str,
    options: ImportOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Return nanoseconds since 1970, UTC, and the positions of the rows whose instant cannot be told."""
    clear = np.empty(0, dtype=np.int64)
    if offset is not None:
        return (written if _keeps_dates(written, symbol, options) else written - offset * _MINUTE), clear
    if zone is None:
        return written, clear
    if isinstance(zone, ZoneInfo):
        return to_utc(written, zone)
    return written - int(zone.utcoffset(None).total_seconds()) * 1_000_000_000, clear


def _reasons(written: np.ndarray, rows: np.ndarray, unclear: np.ndarray, zone: object, staging: Staging) -> list[str]:
    first = unclear[:_NAMED]
    order = np.argsort(rows[first])
    places = staging.places([int(row) for row in rows[first][order]])
    times = [np.datetime64(int(time), "ns") for time in written[first][order]]
    return [
        f"{place}: {format_time(time)} comes once where clocks in {zone} show it twice, or never comes there"
        for place, time in zip(places, times, strict=True)
    ]


def detect_timeframe(time: np.ndarray) -> Timeframe | None:
    """Return the timeframe that equals the most common step of ascending ``time`` (``int64`` ns), None if none does.

    Of steps that are equally common the shortest counts.
    """
    if len(time) < 2:
        return None
    steps, counts = np.unique(np.diff(time[:_STEPS_LOOKED_AT]), return_counts=True)
    common = int(steps[np.argmax(counts)])
    return next((Timeframe(name) for name in TIMEFRAMES if Timeframe(name).nanoseconds == common), None)


def _no_timeframe(where: str, time: np.ndarray) -> str:
    if len(time) < 2:
        return f"{where} has a single bar, which does not tell its timeframe: give it with --timeframe"
    steps, counts = np.unique(np.diff(time), return_counts=True)
    step = dt.timedelta(seconds=int(steps[np.argmax(counts)]) / 1e9)
    return (
        f"{where}: most bars are {step} apart, which is none of the timeframes {', '.join(TIMEFRAMES)}; "
        "import bars of one of these, or say --timeframe if they are such bars with many missing"
    )


def _check_timeframe(where: str, time: np.ndarray, timeframe: Timeframe) -> None:
    """Refuse a timeframe that no two bars are apart."""
    if len(time) > 1 and not (np.diff(time) == timeframe.nanoseconds).any():
        short = find_short_bars(time, timeframe.nanoseconds)
        if short is not None and short.complete:
            return  # 4h bars of a share are at 09:30 and 12:00: no two of them are 4h apart
        found = detect_timeframe(time)
        told = f"leave out --timeframe: they look like {found}" if found is not None else "import bars of that length"
        raise BadInputError(f"{where}: no two bars are {timeframe} apart, so these are no {timeframe} bars; {told}")

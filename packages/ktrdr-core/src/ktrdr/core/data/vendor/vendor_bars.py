"""Rows of a vendor's file as bars: in order, in UTC, without error, or refused with the line."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import calendar_for
from ktrdr.core.data.consistency import find_inconsistencies
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.data.validation import Finding, ValidationReport, validate_bars
from ktrdr.core.data.vendor.import_calendar import settled_calendar
from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    from ktrdr.core.data.vendor.staging import Staging

__all__ = ["ImportOptions", "checked_bars", "detect_timeframe"]

_MINUTE = 60_000_000_000
_DAY = 86_400_000_000_000
_STEPS_LOOKED_AT = 200_000


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user said of a file; see :func:`~ktrdr.core.data.vendor.importer.import_file`."""

    timeframe: Timeframe | None
    zone: ZoneInfo | dt.timezone | None
    calendar: str | None
    label: str
    skip_bad: bool


def checked_bars(staging: Staging, source: str, target: str, options: ImportOptions) -> tuple[Bars, ValidationReport]:
    """Return the bars of one symbol, in order and without error, and the report on them."""
    raw = staging.raw_bars(source)
    where = f"{staging.shown}{': ' + target if source else ''}"
    time, rows, columns = raw.time, raw.row, dict(raw.prices)
    offset = raw.offset
    del raw
    step = np.diff(time if offset is None else time - offset * _MINUTE)
    if len(step) and (step < 0).all():
        time, rows = time[::-1], rows[::-1]
        columns = {name: values[::-1] for name, values in columns.items()}
        offset = None if offset is None else offset[::-1]
        step = -step[::-1]
        _note(staging, f"{'' if not source else target + ': '}rows were newest first and are turned round")
    _refuse_disorder(staging, where, step, time, rows)
    del step
    alone, closes = len(staging.symbols) == 1, options.label == "close"
    chosen, note = settled_calendar(
        target, time, offset, options.zone, options.calendar, where, closes=closes, alone=alone
    )
    if note is not None:
        _note(staging, note)
    options = dataclasses.replace(options, calendar=chosen)
    time = _to_utc(time, offset, rows, target, options, staging, where)
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
            "minute; a bar's time is its open (or, with --label close, its close)"
        )
    order = ("open", "high", "low", "close", "volume")
    bars = Bars(
        target,
        found,
        np.ascontiguousarray(time).view("datetime64[ns]"),
        *(np.ascontiguousarray(columns[name]) for name in order),
        calendar=chosen,
    )
    left_out: list[Finding] = []
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
        bars = Bars(target, found, bars.time[keep], *(getattr(bars, name)[keep] for name in order), calendar=chosen)
        rows = rows[keep]
        if not len(bars):
            raise BadInputError(f"{where} has no bars without errors")
    for error in find_inconsistencies(bars):
        remedy = (
            "correct the file"
            if error.kind == "overlap"
            else "correct the file, or leave such rows out with --skip-bad"
        )
        if error.kind == "overlap":
            remedy = f"{found} bars must be {found} apart; check --timeframe and --timezone"
        raise BadInputError(f"{where}, {staging.place(int(rows[error.rows[0]]))}: {error.message}; {remedy}")
    report = validate_bars(bars)
    findings = (*left_out, *report.findings)
    return bars, ValidationReport(
        report.symbol, report.timeframe, report.rows, report.calendar, report.gaps, report.missing_bars, findings
    )


def _left_out(reasons: list[str], count: int) -> Finding:
    what = "1 row is no bar and was" if count == 1 else f"{count:,} rows are no bars and were"
    return Finding("left_out", "warning", f"{what} left out: {'; '.join(reasons)}", count)


def _note(staging: Staging, text: str) -> None:
    if text not in staging.notes:
        staging.notes.append(text)


def _refuse_disorder(staging: Staging, where: str, step: np.ndarray, time: np.ndarray, rows: np.ndarray) -> None:
    bad = np.flatnonzero(step <= 0)
    if not len(bad):
        return
    first = int(bad[0])
    before, after = (format_time(np.datetime64(int(time[i]), "ns")) for i in (first, first + 1))
    more = f" (and {len(bad) - 1} more such rows)" if len(bad) > 1 else ""
    place = staging.place(int(rows[first + 1]))
    if step[first] == 0:
        raise BadInputError(f"{where}, {place}: the time {after} is there twice{more}; keep the one that counts")
    raise BadInputError(f"{where}, {place}: {after} comes after {before}{more}; sort the file by time")


def _to_utc(
    time: np.ndarray,
    offset: np.ndarray | None,
    rows: np.ndarray,
    symbol: str,
    options: ImportOptions,
    staging: Staging,
    where: str,
) -> np.ndarray:
    """Return nanoseconds since 1970, UTC.

    Daily bars of an exchange that are labelled with midnight, wherever, keep their date: it names the session, and
    every session is over by 24:00 UTC of its date.
    """
    if offset is None and options.zone is None:
        return time
    daily = not (time % _DAY).any() and calendar_for(symbol, options.calendar).name not in ("FX", "24/7")
    if daily:
        return time
    if offset is not None:
        return time - offset * _MINUTE
    if isinstance(options.zone, dt.timezone):
        return time - int(options.zone.utcoffset(None).total_seconds()) * 1_000_000_000
    import pandas as pd

    local = pd.DatetimeIndex(time.view("datetime64[ns]"))
    utc = local.tz_localize(options.zone, ambiguous="NaT", nonexistent="NaT")
    unclear = np.flatnonzero(utc.isna())
    if len(unclear):
        row = int(unclear[0])
        raise BadInputError(
            f"{where}, {staging.place(int(rows[row]))}: {format_time(np.datetime64(int(time[row]), 'ns'))} "
            f"comes twice or not at all in {options.zone}, where clocks change; import a file in UTC"
        )
    return utc.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]").view(np.int64)


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
        "if they are one of these nevertheless, say so with --timeframe"
    )


def _check_timeframe(where: str, time: np.ndarray, timeframe: Timeframe) -> None:
    """Refuse a timeframe that no two bars are apart."""
    if len(time) > 1 and not (np.diff(time) == timeframe.nanoseconds).any():
        found = detect_timeframe(time)
        told = f"; they look like {found}" if found is not None else ""
        raise BadInputError(f"{where}: no two bars are {timeframe} apart, so these are no {timeframe} bars{told}")

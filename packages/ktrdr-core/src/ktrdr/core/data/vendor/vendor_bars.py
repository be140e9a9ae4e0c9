"""Bars of the rows of an import: in order, in UTC and without errors; errors are refused with their line."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import common_step, find_inconsistencies, first_inconsistency
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.data.validation import Finding, ValidationReport, validate_bars
from ktrdr.core.data.vendor.import_options import ImportOptions
from ktrdr.core.data.vendor.ordered_rows import OrderedRows, add_note, order_rows
from ktrdr.core.data.vendor.raw_bars import StagedRows
from ktrdr.core.data.vendor.short_bars import align, describe_short_bars, find_short_bars
from ktrdr.core.errors import BadInputError

__all__ = ["checked_bars", "detect_timeframe"]

_MINUTE = 60_000_000_000
_COLUMNS = ("open", "high", "low", "close", "volume")


def checked_bars(
    staging: StagedRows, source: str, target: str, options: ImportOptions
) -> tuple[Bars, ValidationReport]:
    """Return the bars of one symbol, in order and without errors, and the report on them."""
    where = f"{staging.shown}{': ' + target if source else ''}"
    ordered = order_rows(staging, source, target, where, options)
    bars = _bars(ordered, target, _opens(ordered, where, staging, options))
    rows = ordered.rows
    findings = [_left_out(list(ordered.unclear), ordered.unclear_count)] if ordered.unclear_count else []
    if staging.bad_count and not staging.symbols.keys() - {source}:
        findings.append(_left_out(staging.bad_rows, staging.bad_count))
    elif staging.bad_count:
        what = (
            "1 row of the file is no bar and was"
            if staging.bad_count == 1
            else f"{staging.bad_count:,} rows of the file are no bars and were"
        )
        add_note(staging, f"{what} left out ({staging.bad_rows[0]})")
    if options.skip_bad:
        keep, reasons = _possible(bars)
        findings += reasons
        if reasons:
            bars, rows = _chosen(bars, keep), rows[keep]
        if not len(bars):
            raise BadInputError(f"{where} has no bars without errors: leave out --skip-bad to see what is wrong")
    if options.align:
        bars, rows, aligned = _aligned(bars, rows)
        findings.append(aligned)
    first = first_inconsistency(bars)
    if first is not None:
        remedy = "correct the file, or leave such rows out with --skip-bad"
        if first.kind == "overlap":
            remedy = _overlap_remedy(bars, int(first.rows[0]))
        raise BadInputError(f"{where}, {staging.place(int(rows[first.rows[0]]))}: {first.message}; {remedy}")
    report = validate_bars(bars, read=ordered.read)
    return bars, dataclasses.replace(report, findings=(*findings, *report.findings))


@dataclass(frozen=True, slots=True, eq=False)
class _Opens:
    """Opens of bars, int64 nanoseconds since 1970, UTC, and their length."""

    time: np.ndarray
    timeframe: Timeframe


def _opens(ordered: OrderedRows, where: str, staging: StagedRows, options: ImportOptions) -> _Opens:
    """Return the opens of the bars, computed from their closes if necessary; they must be whole minutes."""
    time = ordered.time
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
            f"{where}, {staging.place(int(ordered.rows[odd[0]]))}: {np.datetime64(int(time[odd[0]]), 'ns')} is not a "
            "whole minute; round the times in the file to the minute in which a bar opens"
        )
    return _Opens(time, found)


def _bars(ordered: OrderedRows, symbol: str, opens: _Opens) -> Bars:
    return Bars(
        symbol,
        opens.timeframe,
        np.ascontiguousarray(opens.time).view("datetime64[ns]"),
        *(np.ascontiguousarray(ordered.columns[name]) for name in _COLUMNS),
        calendar=ordered.calendar,
    )


def _chosen(bars: Bars, keep: np.ndarray) -> Bars:
    columns = (getattr(bars, name)[keep] for name in _COLUMNS)
    return Bars(bars.symbol, bars.timeframe, bars.time[keep], *columns, calendar=bars.calendar, world=bars.world)


def _possible(bars: Bars) -> tuple[np.ndarray, list[Finding]]:
    """Return a mask of the possible bars, and one warning for each kind of error of the others."""
    keep = np.ones(len(bars), dtype=bool)
    findings = []
    for error in find_inconsistencies(bars):
        if error.kind in ("unordered", "duplicate", "overlap"):
            continue
        fresh = int(np.count_nonzero(keep[error.rows]))
        keep[error.rows] = False
        if fresh:
            findings.append(_left_out([error.message], fresh))
    return keep, findings


def _aligned(bars: Bars, rows: np.ndarray) -> tuple[Bars, np.ndarray, Finding]:
    """Return the bars with short bars moved to the grid, the rows they come from, and the finding about it."""
    short = find_short_bars(bars.time.view(np.int64), bars.timeframe.nanoseconds)
    if short is None:
        return bars, rows, Finding("aligned", "warning", "no short bars were found, so --align changed nothing", 0)
    count, merged = len(short.rows), int(short.merged.sum())
    what = "1 short bar was" if count == 1 else f"{count:,} short bars were"
    text = f"{what} put on the grid, {merged:,} of them merged with the grid's bar of the same slot"
    finding = Finding("aligned", "warning", text, count, tuple(bars.time[short.rows[:10]]))
    bars, kept = align(bars, short)
    return bars, rows[kept], finding


def _overlap_remedy(bars: Bars, row: int) -> str:
    """Return the remedy for the bar of ``row``, which opens before the bar before it has closed."""
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


def detect_timeframe(time: np.ndarray) -> Timeframe | None:
    """Return the timeframe that equals the most common step of ``time``, None if no timeframe does.

    Of equally common steps the shortest counts.

    Args:
        time: int64 ``(n,)``, ascending nanoseconds.
    """
    common = common_step(time)
    return next((Timeframe(name) for name in TIMEFRAMES if Timeframe(name).nanoseconds == common), None)


def _no_timeframe(where: str, time: np.ndarray) -> str:
    if len(time) < 2:
        return f"{where} has a single bar, which does not tell its timeframe: give it with --timeframe"
    step = dt.timedelta(seconds=common_step(time) / 1e9)
    return (
        f"{where}: most bars are {step} apart, which is not one of the timeframes {', '.join(TIMEFRAMES)}; "
        "import bars of one of these, or say --timeframe if they are such bars with many missing"
    )


def _check_timeframe(where: str, time: np.ndarray, timeframe: Timeframe) -> None:
    """Raise BadInputError if no two bars are one ``timeframe`` apart."""
    if len(time) > 1 and not (np.diff(time) == timeframe.nanoseconds).any():
        short = find_short_bars(time, timeframe.nanoseconds)
        if short is not None and short.complete:
            return  # 4h bars of a share are at 09:30 and 12:00: no two of them are 4h apart
        found = detect_timeframe(time)
        told = f"leave out --timeframe: they look like {found}" if found is not None else "import bars of that length"
        raise BadInputError(f"{where}: no two bars are {timeframe} apart, so these are no {timeframe} bars; {told}")

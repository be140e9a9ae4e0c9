"""From a vendor's file to stored bars: all of a file or nothing, and nothing made up.

Times are brought to UTC, columns to their roles; what does not fit is refused with the line it is in, what is merely
odd is reported.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import calendar_for
from ktrdr.core.data.consistency import find_inconsistencies
from ktrdr.core.data.disk import is_out_of_room, why_not_written
from ktrdr.core.data.store import BarStore, StoreError, WriteReport
from ktrdr.core.data.symbols import check_symbol
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.data.validation import Finding, ValidationReport, validate_bars
from ktrdr.core.data.vendor_files import plain_file, stem
from ktrdr.core.data.vendor_times import parse_offset
from ktrdr.core.errors import BadInputError
from ktrdr.core.operations.cancellation import Cancellation
from ktrdr.core.operations.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["ImportReport", "detect_timeframe", "import_file"]

_MINUTE = 60_000_000_000
_DAY = 86_400_000_000_000
_STEPS_LOOKED_AT = 200_000
# A symbol at the start of a file's name: all of it, or followed by a timeframe (EURUSD_1h_2017, BTCUSDT-1m-2024-01).
_SYMBOL_IN_NAME = re.compile(
    r"(?P<symbol>[A-Z^][A-Z0-9^]*(?:[.=-][A-Z0-9]+)*?)(?:$|[_-](?:\d{1,2}[mhdw]|[MHD]\d{1,2}|W1)(?:[_.-].*)?$)"
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        path: the file.
        writes: what changed in the store, one per symbol.
        validations: what is odd, one per symbol, in the same order.
        notes: what was assumed, and what of the file was left out.
    """

    path: Path
    writes: tuple[WriteReport, ...]
    validations: tuple[ValidationReport, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        datasets = [
            {
                "symbol": write.symbol,
                "timeframe": write.timeframe,
                "added": write.added,
                "replaced": write.replaced,
                "unchanged": write.unchanged,
                "rows": write.rows,
                "validation": validation.to_json(),
            }
            for write, validation in zip(self.writes, self.validations, strict=True)
        ]
        return {"file": str(self.path), "datasets": datasets, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class _Wishes:
    timeframe: Timeframe | None
    zone: ZoneInfo | dt.timezone | None
    calendar: str | None
    label: str
    skip_bad: bool


def import_file(
    path: Path,
    store: BarStore,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    timezone: str | None = None,
    calendar: str | None = None,
    columns: Mapping[str, str] | None = None,
    dates: str | None = None,
    label: str = "open",
    skip_bad: bool = False,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> ImportReport:
    """Import a CSV or Parquet file (plain, gzip or zip) into ``store``.

    Args:
        path: the file.
        store: where the bars go; bars of the same time are replaced.
        symbol: whose bars they are, or the one to take from a file with several. By default what the file's column
            or its name says.
        timeframe: of the bars; by default told by the most common step between them.
        timezone: of times that do not say their own, such as ``America/New_York`` or ``+02:00``; default UTC.
        calendar: for the report, see :func:`~ktrdr.core.data.calendars.calendar_for`.
        columns: the file's column for a role (``time``, ``day``, ``open``, ...), where its spelling is not known.
        dates: ``day-first`` or ``month-first``, where the file alone does not tell.
        label: ``open`` or ``close``: what a bar's time is in the file. Stored is always the open.
        skip_bad: leave out rows that are no bars (and report them) instead of refusing the file. Bars in disorder or
            with the same time are refused all the same.
        progress: hears of the steps.
        cancellation: is asked while the file is read, and between symbols.

    Raises:
        BadInputError: the file or an argument is wrong; nothing was changed.
        CancelledError: on request; nothing was changed.
        StoreError: the store or the temporary directory cannot be written; nothing was changed.
    """
    from ktrdr.core.data.staging import Staging, stage_file
    from ktrdr.core.data.watched import Watch

    path = Path(path)
    if label not in ("open", "close"):
        raise BadInputError(f"label `{label}` is neither `open` nor `close`")
    if dates not in (None, "day-first", "month-first"):
        raise BadInputError(f"dates `{dates}` is neither `day-first` nor `month-first`")
    if symbol is not None:
        check_symbol(symbol)
    wishes = _Wishes(
        Timeframe(timeframe) if timeframe is not None else None,
        _zone(timezone) if timezone is not None else None,
        calendar,
        label,
        skip_bad,
    )
    stop = cancellation or Cancellation()
    with _workspace() as workspace:
        progress(ProgressEvent("reading", message=path.name))
        plain = plain_file(path, workspace)
        watch = Watch(progress, stop, "reading", path.name)
        staging: Staging = stage_file(plain, path, workspace, columns or {}, dates, skip_bad, watch)
        try:
            progress(ProgressEvent("reading", fraction=1.0, message=path.name))
            if wishes.zone is not None and staging.zoned:
                raise BadInputError(f"{path}: its times say their own zone; leave out --timezone")
            names = _names(staging, symbol)
            validations: list[ValidationReport] = []
            bars: Bars | None = None
            for position, (source, target) in enumerate(names.items()):
                stop.raise_if_requested()
                bars, validation = _checked(staging, source, target, wishes)
                validations.append(validation)
                done = position + 1
                progress(ProgressEvent("checking", done, len(names), "symbols", done / len(names), target))

            def each() -> Iterator[Bars]:
                for position, (source, target) in enumerate(names.items()):
                    stop.raise_if_requested()
                    yield bars if bars is not None and len(names) == 1 else _checked(staging, source, target, wishes)[0]
                    done = position + 1
                    progress(ProgressEvent("writing", done, len(names), "symbols", done / len(names), target))

            writes = store.write_all(each())
        finally:
            staging.connection.close()
    return ImportReport(path, tuple(writes), tuple(validations), tuple(staging.notes))


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """Yield a temporary directory."""
    import duckdb

    try:
        with tempfile.TemporaryDirectory(prefix="ktrdr-import-") as folder:
            yield Path(folder)
    except (OSError, duckdb.Error) as error:
        if not is_out_of_room(error):
            raise
        raise StoreError(
            f"cannot write to the temporary directory {tempfile.gettempdir()}: {why_not_written(error)}; nothing was "
            "changed; make room there, or name another directory with TMPDIR"
        ) from error


def detect_timeframe(time: np.ndarray) -> Timeframe | None:
    """Return the timeframe that equals the most common step of ascending ``time`` (``int64`` ns), None if none does.

    Of steps that are equally common the shortest counts.
    """
    if len(time) < 2:
        return None
    steps, counts = np.unique(np.diff(time[:_STEPS_LOOKED_AT]), return_counts=True)
    common = int(steps[np.argmax(counts)])
    return next((Timeframe(name) for name in TIMEFRAMES if Timeframe(name).nanoseconds == common), None)


def _names(staging: Any, symbol: str | None) -> dict[str, str]:
    """Return, for each symbol to take from the file, the symbol to store it as."""
    found = list(staging.symbols)
    if found == [""]:
        if symbol is None:
            symbol = _symbol_of_name(staging.shown)
            staging.notes.append(f"symbol {symbol} is taken from the file's name")
        return {"": symbol}
    if "" in found:
        row = staging.symbols[""][0]
        raise BadInputError(f"{staging.shown}, {staging.place(row)}: the symbol is missing")
    if symbol is None:
        for name in found:
            try:
                check_symbol(name)
            except BadInputError as error:
                remedy = "; --symbol gives another name" if len(found) == 1 else ""
                raise BadInputError(f"{staging.shown}: {error}{remedy}") from None
        return {name: name for name in found}
    if symbol in found:
        others = [name for name in found if name != symbol]
        if others:
            staging.notes.append(f"left out: {len(others)} other symbols ({', '.join(others[:8])})")
        return {symbol: symbol}
    if len(found) == 1:
        staging.notes.append(f"symbol {found[0]} is stored as {symbol}")
        return {found[0]: symbol}
    raise BadInputError(f"{staging.shown} has no bars of {symbol}; it has {', '.join(found[:20])}")


def _symbol_of_name(path: Path) -> str:
    match = _SYMBOL_IN_NAME.fullmatch(stem(path))
    if match is None:
        raise BadInputError(
            f"{path} has no column with the symbol, and its name does not start with one as in EURUSD_1h.csv: "
            "give it with --symbol"
        )
    return check_symbol(match["symbol"])


def _checked(staging: Any, source: str, target: str, wishes: _Wishes) -> tuple[Bars, ValidationReport]:
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
    time = _to_utc(time, offset, rows, target, wishes, staging, where)
    found = wishes.timeframe or detect_timeframe(time)
    if found is None:
        raise BadInputError(_no_timeframe(where, time))
    if wishes.timeframe is not None:
        _check_timeframe(where, time, found)
    if wishes.label == "close":
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
    )
    left_out: list[Finding] = []
    if staging.bad_count and not staging.symbols.keys() - {source}:
        left_out.append(_left_out(staging.bad_rows, staging.bad_count))
    elif staging.bad_count:
        _note(staging, f"{staging.bad_count} rows of the file are no bars and were left out ({staging.bad_rows[0]})")
    bad = [error for error in find_inconsistencies(bars) if error.kind not in ("unordered", "duplicate", "overlap")]
    if bad and wishes.skip_bad:
        keep = np.ones(len(bars), dtype=bool)
        for error in bad:
            keep[error.rows] = False
            left_out.append(_left_out([error.message], len(error.rows)))
        bars = Bars(target, found, bars.time[keep], *(getattr(bars, name)[keep] for name in order))
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
    report = validate_bars(bars, wishes.calendar)
    findings = (*left_out, *report.findings)
    return bars, ValidationReport(
        report.symbol, report.timeframe, report.rows, report.calendar, report.gaps, report.missing_bars, findings
    )


def _left_out(reasons: list[str], count: int) -> Finding:
    return Finding("left_out", "warning", f"{count} rows are no bars and were left out: {'; '.join(reasons)}", count)


def _note(staging: Any, text: str) -> None:
    if text not in staging.notes:
        staging.notes.append(text)


def _refuse_disorder(staging: Any, where: str, step: np.ndarray, time: np.ndarray, rows: np.ndarray) -> None:
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
    wishes: _Wishes,
    staging: Any,
    where: str,
) -> np.ndarray:
    """Return nanoseconds since 1970, UTC.

    Daily bars of an exchange that are labelled with midnight, wherever, keep their date: it names the session, and
    every session is over by 24:00 UTC of its date.
    """
    if offset is None and wishes.zone is None:
        return time
    daily = not (time % _DAY).any() and calendar_for(symbol, wishes.calendar).name not in ("FX", "24/7")
    if daily:
        return time
    if offset is not None:
        return time - offset * _MINUTE
    if isinstance(wishes.zone, dt.timezone):
        return time - int(wishes.zone.utcoffset(None).total_seconds()) * 1_000_000_000
    import pandas as pd

    local = pd.DatetimeIndex(time.view("datetime64[ns]"))
    utc = local.tz_localize(wishes.zone, ambiguous="NaT", nonexistent="NaT")
    unclear = np.flatnonzero(utc.isna())
    if len(unclear):
        row = int(unclear[0])
        raise BadInputError(
            f"{where}, {staging.place(int(rows[row]))}: {format_time(np.datetime64(int(time[row]), 'ns'))} "
            f"comes twice or not at all in {wishes.zone}, where clocks change; import a file in UTC"
        )
    return utc.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]").view(np.int64)


def _zone(name: str) -> ZoneInfo | dt.timezone:
    minutes = parse_offset(name)
    if minutes is not None:
        return dt.timezone(dt.timedelta(minutes=minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInputError(
            f"unknown time zone `{name}`: write it as UTC, +02:00 or Europe/Berlin (names of the IANA database)"
        ) from None


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

"""The second half of an import, from rows to stored bars, for files and DataFrames."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ktrdr.core.data.bar_store import BarStore, WriteReport
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import check_calendar
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.validation import ValidationReport
from ktrdr.core.data.vendor.import_calendar import known_calendar
from ktrdr.core.data.vendor.import_options import ImportOptions
from ktrdr.core.data.vendor.raw_bars import StagedRows
from ktrdr.core.data.vendor.vendor_bars import checked_bars
from ktrdr.core.data.vendor.vendor_times import parse_offset
from ktrdr.core.errors import BadInputError
from ktrdr.core.names import check_symbol
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["import_options", "store_rows", "target_names"]


def import_options(
    timeframe: str | None, timezone: str | None, calendar: str | None, label: str, *, skip_bad: bool, align: bool
) -> ImportOptions:
    """Return the options of an import, checked.

    Raises:
        BadInputError: there is no such timeframe, time zone, calendar or label.
    """
    if label not in ("open", "close"):
        raise BadInputError(f"label `{label}` is neither `open` nor `close`")
    return ImportOptions(
        Timeframe(timeframe) if timeframe is not None else None,
        _zone(timezone) if timezone is not None else None,
        check_calendar(calendar) if calendar is not None else None,
        label,
        skip_bad,
        align,
    )


def target_names(staging: StagedRows, symbol: str | None, unnamed: Callable[[], str]) -> dict[str, str]:
    """Return, for each symbol to import, the symbol to store it as.

    Args:
        staging: the rows.
        symbol: the symbol that the user gave, or None.
        unnamed: returns the symbol, or raises, if neither the rows nor the user name one.

    Raises:
        BadInputError: a symbol is missing or cannot be one, or ``symbol`` is not among several.
    """
    found = list(staging.symbols)
    if found == [""]:
        return {"": symbol if symbol is not None else unnamed()}
    if "" in found and symbol not in found:
        row = staging.symbols[""][0]
        raise BadInputError(
            f"{staging.shown}, {staging.place(row)}: the symbol is missing; correct the file, or take one symbol with "
            "--symbol"
        )
    if symbol is None:
        for name in found:
            try:
                check_symbol(name)
            except BadInputError as error:
                remedy = (
                    "--symbol gives another name"
                    if len(found) == 1
                    else "rename it in the file, or take one with --symbol"
                )
                raise BadInputError(f"{staging.shown}: {error}; {remedy}") from None
        return {name: name for name in found}
    if symbol in found:
        others = [name or "none" for name in found if name != symbol]
        if others:
            staging.notes.append(f"left out: {len(others)} other symbols ({', '.join(others[:8])})")
        return {symbol: symbol}
    if len(found) == 1:
        staging.notes.append(f"symbol {found[0]} is stored as {symbol}")
        return {found[0]: symbol}
    raise BadInputError(f"{staging.shown} has no bars of {symbol}: take {' or '.join(found[:20])} with --symbol")


def store_rows(
    staging: StagedRows,
    names: Mapping[str, str],
    options: ImportOptions,
    store: BarStore,
    *,
    noted: str | None,
    progress: Progress,
    stop: Cancellation,
) -> tuple[list[WriteReport], list[ValidationReport]]:
    """Check the bars of each symbol and store them: all of them or none.

    Args:
        staging: the rows.
        names: by symbol of the rows, the symbol to store it as.
        options: options of the user.
        store: receives the bars.
        noted: the calendar that the file notes, if any.
        progress: receives reports of the steps ``checking`` and ``writing``.
        stop: is checked between symbols.

    Returns:
        The changes in the store, and the findings, both in the order of ``names``.

    Raises:
        BadInputError: the rows are no bars; nothing was changed.
        CancelledError: on request; nothing was changed.
        StoreError: the store cannot be written; nothing was changed.
    """
    if options.zone is not None and (staging.zoned or staging.zone is not None):
        raise BadInputError(f"{staging.shown}: its times say their own zone; leave out --timezone")

    def checked(source: str, target: str) -> tuple[Bars, ValidationReport]:
        known, note = (options.calendar, None) if options.calendar else known_calendar(store, target, noted)
        if note is not None and note not in staging.notes:
            staging.notes.append(note)
        return checked_bars(staging, source, target, dataclasses.replace(options, calendar=known))

    validations: list[ValidationReport] = []
    bars: Bars | None = None
    for position, (source, target) in enumerate(names.items()):
        stop.raise_if_requested()
        bars, validation = checked(source, target)
        validations.append(validation)
        done = position + 1
        progress(ProgressEvent("checking", done, len(names), "symbols", done / len(names), target))

    def each() -> Iterator[Bars]:
        for position, (source, target) in enumerate(names.items()):
            stop.raise_if_requested()
            # With several symbols only one is in memory at a time, so each is computed twice.
            kept = bars if len(names) == 1 else None
            yield kept if kept is not None else checked(source, target)[0]
            done = position + 1
            progress(ProgressEvent("writing", done, len(names), "symbols", done / len(names), target))

    return store.write_all(each()), validations


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

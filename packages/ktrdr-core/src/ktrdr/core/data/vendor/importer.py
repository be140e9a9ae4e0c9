"""Import of CSV and Parquet files: a file is stored completely or not at all, and no value is invented.

Times are converted to UTC, and columns are mapped to their roles. Errors are refused with their line; other findings
are reported.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.data.bar_store import BarStore, WriteReport
from ktrdr.core.data.validation import ValidationReport
from ktrdr.core.data.vendor.import_calendar import check_real, noted_calendar
from ktrdr.core.data.vendor.staged_import import import_options, store_rows, target_names
from ktrdr.core.data.vendor.vendor_columns import Wanted, check_roles
from ktrdr.core.data.vendor.vendor_files import plain_file, stem
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.disk_space import cannot_write, is_out_of_room
from ktrdr.core.files.temporary import temporary_directory
from ktrdr.core.names import check_symbol
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

if TYPE_CHECKING:
    from ktrdr.core.data.vendor.staging import Staging

__all__ = ["ImportReport", "import_file"]

# A symbol at the start of a file's name: all of it, or followed by a timeframe (EURUSD_1h_2017, BTCUSDT-1m-2024-01).
_SYMBOL_IN_NAME = re.compile(
    r"(?P<symbol>[A-Z^][A-Z0-9^]*(?:[.=-][A-Z0-9]+)*?)(?:$|[_-](?:\d{1,2}[mhdw]|[MHD]\d{1,2}|W1)(?:[_.-].*)?$)"
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of an import.

    Attributes:
        path: the file.
        writes: changes in the store, one per symbol.
        validations: findings, one report per symbol, in the same order.
        notes: assumptions, and parts of the file that were left out.
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
    decimal: str | None = None,
    label: str = "open",
    skip_bad: bool = False,
    align: bool = False,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> ImportReport:
    """Import a CSV or Parquet file (plain, gzip or zip) into ``store``.

    Args:
        path: the file.
        store: receives the bars; stored bars of the same time are replaced.
        symbol: the symbol of the bars, or the one to take from a file with several. By default it comes from a column
            or from the file's name.
        timeframe: of the bars; by default the most common step between them.
        timezone: zone of times without one, such as ``America/New_York`` or ``+02:00``; default UTC.
        calendar: is stored with the bars, for all timeframes of the symbol. The default is the stored one, the one in
            the file, or the one that symbol and times imply (:mod:`ktrdr.core.data.calendar_choice`).
        columns: the file's column for a role (``time``, ``day``, ``open``, ...) if its heading is not known; the
            column's number, from 1, if the file has no header.
        dates: ``day-first`` or ``month-first``, if the file does not show it.
        decimal: ``point`` or ``comma``: the decimal sign, if the file does not show it.
        label: ``open`` or ``close``: the meaning of a bar's time in the file. The store uses the open.
        skip_bad: leave out rows that are no bars, and report them, instead of refusing the file: impossible bars, lines
            with another number of columns, ambiguous local times. Bars in wrong order or with the same time are
            refused nevertheless.
        align: put short bars that open a session before the grid of the timeframe begins (09:30, 10:00, 11:00, ...) on
            the grid (09:00), merge them with the grid's bar if there is one, and report both.
        progress: receives reports of the steps.
        cancellation: is checked while the file is read, and between symbols.

    Returns:
        The changes in the store, the findings and the assumptions.

    Raises:
        BadInputError: the file or an argument is wrong; nothing was changed.
        CancelledError: on request; nothing was changed.
        StoreError: the store or the temporary directory cannot be written; nothing was changed.
    """
    from ktrdr.core.data.vendor.staging import Spelling, stage_file
    from ktrdr.core.data.vendor.watched import Watch

    path = Path(path)
    if dates not in (None, "day-first", "month-first"):
        raise BadInputError(f"dates `{dates}` is neither `day-first` nor `month-first`")
    if decimal not in (None, "point", "comma"):
        raise BadInputError(f"decimal `{decimal}` is neither `point` nor `comma`")
    check_roles(columns or {})
    if symbol is not None:
        check_symbol(symbol)
    options = import_options(timeframe, timezone, calendar, label, skip_bad=skip_bad, align=align)
    stop = cancellation or Cancellation()
    with _workspace() as workspace:
        progress(ProgressEvent("reading", message=path.name))
        plain = plain_file(path, workspace)
        watch = Watch(progress, stop, "reading", path.name)
        spelling = Spelling(Wanted(columns or {}, symbol), dates, decimal, skip_bad)
        staging = stage_file(plain, path, workspace, spelling, watch)
        try:
            progress(ProgressEvent("reading", fraction=1.0, message=path.name))
            check_real(plain, str(path))
            noted = None if calendar is not None else noted_calendar(plain, str(path))
            names = target_names(staging, symbol, lambda: _symbol_of_name(staging))
            writes, validations = store_rows(staging, names, options, store, noted=noted, progress=progress, stop=stop)
        finally:
            staging.connection.close()
    return ImportReport(path, tuple(writes), tuple(validations), tuple(staging.notes))


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """Yield a temporary directory."""
    import duckdb

    try:
        with temporary_directory("ktrdr-import-") as folder:
            yield folder
    except (OSError, duckdb.Error) as error:
        if not is_out_of_room(error):
            raise
        outcome = "nothing was changed; make room there, or name another directory with TMPDIR"
        raise cannot_write(f"to the temporary directory {tempfile.gettempdir()}", error, outcome) from error


def _symbol_of_name(staging: Staging) -> str:
    """Return the symbol that the file's name starts with, and note that."""
    match = _SYMBOL_IN_NAME.fullmatch(stem(staging.shown))
    if match is None:
        raise BadInputError(
            f"{staging.shown} has no column with the symbol, and its name does not start with one as in "
            "EURUSD_1h.csv: give it with --symbol"
        )
    staging.notes.append(f"symbol {match['symbol']} is taken from the file's name")
    return check_symbol(match["symbol"])

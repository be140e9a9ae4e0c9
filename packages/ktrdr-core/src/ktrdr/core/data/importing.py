"""Import of files and of the shipped sample, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ktrdr.core.data.bar_store import WriteReport, default_store
from ktrdr.core.data.import_result import ImportResult, import_result
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.validation import ValidationReport
from ktrdr.core.errors import BadInputError, CancelledError, KtrdrError, StoreError

__all__ = ["import_files", "import_sample"]


def import_files(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    timezone: str | None = None,
    dates: str | None = None,
    decimal: str | None = None,
    label: str = "open",
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    align: bool = False,
    calendar: str | None = None,
) -> ImportResult:
    """Import CSV or Parquet files, plain, gzip or zip, as ``ktrdr data import`` does.

    Each file is imported whole or not at all. Bars that are stored already are replaced, so importing a file again
    changes nothing. Of several files those that are right are imported, and an error names the others.

    Args:
        paths: one file or several.
        symbol: the symbol of the bars, or the one to take from a file with several. By default it comes from a column
            of the file, or from its name (``EURUSD_1h.csv``).
        timeframe: length of a bar, such as ``"1h"``; by default the most common step between bars.
        timezone: zone of times without one, such as ``"America/New_York"`` or ``"+02:00"``; default UTC.
        dates: ``"day-first"`` or ``"month-first"``, for dates such as 02/03/2017.
        decimal: ``"point"`` or ``"comma"``: the decimal sign, where 1.234 could be 1234.
        label: ``"open"`` or ``"close"``: the meaning of a bar's time in the file; the store uses the open.
        columns: the file's column for a role, where its heading is not known: ``{"close": "PX_LAST"}``. Roles are
            ``time``, ``day``, ``open``, ``high``, ``low``, ``close``, ``volume`` and ``symbol``. In a file without
            headings columns have numbers from 1: ``{"close": "5"}``.
        skip_bad: leave out rows that are no bars, and report them, instead of refusing the file.
        align: put short bars that open a session on the grid of the timeframe, and report them.
        calendar: ``"FX"``, ``"24/7"`` or an exchange such as ``"XNYS"``, to store with the symbol; by default the one
            that is stored, or that follows from symbol and times.

    Returns:
        What changed: ``table`` (a DataFrame with one row per data set), ``warnings`` and ``notes``.

    Raises:
        BadInputError: a file or an argument is wrong; nothing of that file was stored.
        StoreError: the store cannot be written.

    Example:
        >>> import ktrdr.core as kt
        >>> from importlib.resources import files
        >>> result = kt.data.import_files(files("ktrdr.core.samples") / "EURUSD_1h_2017.csv.gz")
        >>> result.table[["symbol", "timeframe", "stored"]]
           symbol timeframe  stored
        0  EURUSD        1h    6225
        >>> result.notes
        ("symbol EURUSD is taken from the file's name",)
    """
    from ktrdr.core.data.vendor.importer import import_file

    files = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    if not files:
        raise BadInputError("there are no files to import: give at least one path")
    store = default_store()
    writes: list[WriteReport] = []
    validations: list[ValidationReport] = []
    notes: list[str] = []
    failed: list[KtrdrError] = []
    for path in files:
        try:
            with python_messages():
                report = import_file(
                    path,
                    store,
                    symbol=symbol,
                    timeframe=timeframe,
                    timezone=timezone,
                    calendar=calendar,
                    columns=columns,
                    dates=dates,
                    decimal=decimal,
                    label=label,
                    skip_bad=skip_bad,
                    align=align,
                )
        except CancelledError:
            raise
        except KtrdrError as error:
            if len(files) == 1:
                raise
            failed.append(error)
            continue
        writes += report.writes
        validations += report.validations
        notes += report.notes if len(files) == 1 else (f"{path}: {note}" for note in report.notes)
    if failed:
        kind = StoreError if isinstance(failed[0], StoreError) else BadInputError
        listed = "; ".join(str(error) for error in failed)
        raise kind(f"{len(failed)} of {len(files)} files were not imported, the others are stored: {listed}")
    return import_result(writes, validations, notes)


def import_sample() -> ImportResult:
    """Store the sample that comes with KTRDR: 6,225 hourly bars of EURUSD, the year 2017.

    Bars of ``EURUSD`` ``1h`` of 2017 that are stored already are replaced. Storing the sample again changes nothing.

    Returns:
        What changed.

    Raises:
        StoreError: the store cannot be written.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.data.import_sample().table[["symbol", "timeframe", "stored"]]
           symbol timeframe  stored
        0  EURUSD        1h    6225
    """
    from ktrdr.core.data.sample import sample_bars
    from ktrdr.core.data.validation import validate_bars

    bars = sample_bars()
    with python_messages():
        return import_result([default_store().write(bars)], [validate_bars(bars)], [])

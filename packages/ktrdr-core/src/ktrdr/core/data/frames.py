"""Stored bars as pandas DataFrames, and DataFrames as stored bars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.import_result import ImportResult, import_result
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.times import check_order, parse_time
from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_frame", "instant", "load"]


def load(
    symbol: str,
    timeframe: str,
    start: str | dt.date | np.datetime64 | None = None,
    end: str | dt.date | np.datetime64 | None = None,
) -> pd.DataFrame:
    """Return stored bars as a DataFrame.

    A timeframe that is not stored is resampled from the coarsest finer one that is stored and fits.

    Args:
        symbol: such as ``"EURUSD"``.
        timeframe: length of a bar, such as ``"1h"``.
        start: the first open; None for the first bar. Text such as ``"2017-01-31"`` or ``"2017-01-31T14:00"``, a date,
            a datetime or a pandas Timestamp; UTC where it has no zone.
        end: bars open before this time; None for the last bar. A day without a time of day means its 00:00, so that
            the bars of the day itself are not among them.

    Returns:
        Index ``time``: the open of each bar, ``datetime64[ns, UTC]``, ascending. Columns ``open``, ``high``, ``low``,
        ``close``, ``volume``: float64; ``volume`` is NaN where it is unknown.

    Raises:
        BadInputError: ``start`` or ``end`` is not a time, or the end is not after the start.
        NotFoundError: neither these bars nor suitable finer ones are stored; the message names the stored data sets.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> kt.data.load("EURUSD", "1h", start="2017-01-03", end="2017-01-04").shape
        (24, 5)
        >>> kt.data.load("EURUSD", "4h", start="2017-01-03", end="2017-01-04")["close"].round(4).tolist()
        [1.0485, 1.046, 1.0394, 1.0385, 1.0411, 1.0418]
    """
    from ktrdr.core.data.loading import load_bars

    first, until = instant(start, "start"), instant(end, "end")
    check_order(first, until)
    with python_messages():
        return load_bars(default_store(), symbol, timeframe, first, until).to_frame()


def from_frame(
    frame: pd.DataFrame,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    timezone: str | None = None,
    label: str = "open",
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    align: bool = False,
    calendar: str | None = None,
) -> ImportResult:
    """Store the bars of a DataFrame.

    The frame is checked like a file: it is stored whole or not at all, and bars that are stored already are replaced.
    Names of columns are recognized as the headings of files are (``open``, ``Open``, ``o``, ``adj close``, ...). The
    times are the index, if it is a DatetimeIndex, or a column such as ``time``, ``timestamp`` or ``date``. Rows must be
    in order of time; frames with the newest bar first are reversed.

    Args:
        frame: one row per bar. Times are datetimes with or without a zone; prices and volume are numbers. ``volume``
            may be missing, or NaN where it is unknown. A column ``symbol`` or headings with tickers (as yfinance gives
            them) may hold several symbols.
        symbol: the symbol of the bars, or the one to take from a frame with several. Not needed if the frame has a
            column or headings with symbols.
        timeframe: length of a bar, such as ``"1h"``; by default the most common step between bars.
        timezone: zone of times that have none, such as ``"America/New_York"`` or ``"+02:00"``; default UTC.
        label: ``"open"`` or ``"close"``: the meaning of a bar's time in the frame; the store uses the open.
        columns: the frame's column for a role, where its name is not known: ``{"close": "PX_LAST"}``. Roles are
            ``time``, ``open``, ``high``, ``low``, ``close``, ``volume`` and ``symbol``.
        skip_bad: leave out rows that are no bars, and report them, instead of refusing the frame.
        align: put short bars that open a session on the grid of the timeframe, and report them.
        calendar: ``"FX"``, ``"24/7"`` or an exchange such as ``"XNYS"``, to store with the symbol; by default the one
            that is stored, or that follows from symbol and times.

    Returns:
        What changed: ``table`` (a DataFrame with one row per data set), ``warnings`` and ``notes``.

    Raises:
        BadInputError: the frame or an argument is wrong; nothing was stored. The message names the row as
            ``frame.iloc`` takes it.
        StoreError: the store cannot be written.

    Example:
        >>> import pandas as pd
        >>> import ktrdr.core as kt
        >>> times = pd.date_range("2024-01-02 09:00", periods=3, freq="h", tz="Europe/Berlin")
        >>> prices = {"Open": [1.1, 1.2, 1.3], "High": [1.3] * 3, "Low": [1.0] * 3, "Close": [1.2, 1.3, 1.1]}
        >>> kt.data.from_frame(pd.DataFrame(prices, index=times), symbol="GBPUSD")
        <ImportResult GBPUSD 1h: 3 bars added, 0 replaced, 3 stored; 1 warning>
        >>> kt.data.load("GBPUSD", "1h").index[0]
        Timestamp('2024-01-02 08:00:00+0000', tz='UTC')
    """
    from ktrdr.core.data.frame_rows import read_frame
    from ktrdr.core.data.vendor.staged_import import import_options, store_rows, target_names
    from ktrdr.core.names import check_symbol
    from ktrdr.core.work.cancellation import Cancellation
    from ktrdr.core.work.progress import NO_PROGRESS

    def unnamed() -> str:
        raise BadInputError("the frame has no column with the symbol: give it with --symbol")

    with python_messages(noun="frame"):
        if symbol is not None:
            check_symbol(symbol)
        options = import_options(timeframe, timezone, calendar, label, skip_bad=skip_bad, align=align)
        rows = read_frame(frame, columns=columns or {}, symbol=symbol, skip_bad=skip_bad)
        names = target_names(rows, symbol, unnamed)
        writes, validations = store_rows(
            rows, names, options, default_store(), noted=None, progress=NO_PROGRESS, stop=Cancellation()
        )
    return import_result(writes, validations, rows.notes, noun="frame")


def instant(value: str | dt.date | np.datetime64 | None, name: str) -> np.datetime64 | None:
    """Return a time from a user as ``datetime64[ns]``, UTC; None for None.

    Args:
        value: text as the command line takes it, a date, a datetime (a pandas Timestamp is one) or a
            ``numpy.datetime64``; UTC where it has no zone.
        name: of the argument, for messages.

    Raises:
        BadInputError: the value is not such a time, or is outside of 1678 to 2261.
    """
    if value is None:
        return None
    if isinstance(value, np.datetime64):
        value = str(value.astype("datetime64[s]"))
    if not isinstance(value, str):
        if not isinstance(value, dt.date):
            raise BadInputError(
                f"{name}: {value!r} is not a date: give text such as '2017-01-31', a date, a datetime or a Timestamp"
            )
        value = value.isoformat()
    return parse_time(value, name)

"""The stored data sets: list, check, delete, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.data_check import DataCheck, check_data
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.stored_calendar import listed_calendar
from ktrdr.core.data.timeframe import Timeframe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check", "delete", "list"]


def list() -> pd.DataFrame:
    """Return the stored data sets, by symbol and then from the finest to the coarsest timeframe.

    Returns:
        One row per data set. Columns: ``symbol``, ``timeframe``; ``bars``, int64; ``start``, the open of the first
        bar, and ``end``, the close of the last one, ``datetime64[ns, UTC]``; ``calendar``, None if the symbol is
        ambiguous; ``calendar_stored``, False if the calendar follows from the symbol's name; ``bytes``, the size on
        disk, int64; ``world``, the name of the synthetic market, empty for imported bars.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> stored = kt.data.list().set_index(["symbol", "timeframe"])
        >>> stored.loc[("EURUSD", "1h"), ["bars", "calendar"]].to_dict()
        {'bars': 6225, 'calendar': 'FX'}
    """
    import numpy as np
    import pandas as pd

    found = default_store().datasets()
    calendars = [listed_calendar(info.symbol, info.calendar) for info in found]

    def times(name: str) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(np.array([getattr(info, name) for info in found], dtype="datetime64[ns]"), tz="UTC")

    return pd.DataFrame(
        {
            "symbol": pd.Series([info.symbol for info in found], dtype="str"),
            "timeframe": pd.Series([info.timeframe for info in found], dtype="str"),
            "bars": np.array([info.rows for info in found], dtype=np.int64),
            "start": times("start"),
            "end": times("end"),
            "calendar": pd.array([each["calendar"] for each in calendars], dtype=object),
            "calendar_stored": np.array([each["calendar_stored"] for each in calendars], dtype=np.bool_),
            "bytes": np.array([info.bytes for info in found], dtype=np.int64),
            "world": pd.Series([info.world for info in found], dtype="str"),
        }
    )


def check(symbol: str, timeframe: str, *, calendar: str | None = None) -> DataCheck:
    """Check stored bars: errors, gaps against the market's calendar, jumps that look like splits.

    Args:
        symbol: such as ``"EURUSD"``.
        timeframe: a stored one, such as ``"1h"``.
        calendar: ``"FX"``, ``"24/7"`` or an exchange such as ``"XNYS"``, for this check alone; by default that of the
            data set.

    Returns:
        ``passed``, and the DataFrames ``findings``, ``gaps`` and ``jumps``.

    Raises:
        BadInputError: there is no such calendar, or the stored files are damaged.
        NotFoundError: the data set is not stored; the message names the stored ones.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> found = kt.data.check("EURUSD", "1h")
        >>> found
        <DataCheck EURUSD 1h: 6,225 bars, no errors, 0 warnings; gaps by FX: 50 weekend, 2 holiday>
        >>> found.gaps["kind"].value_counts().to_dict()
        {'weekend': 50, 'holiday': 2}
        >>> found.jumps.empty
        True
    """
    with python_messages():
        return check_data(default_store().read(symbol, timeframe), calendar)


def delete(symbol: str, timeframe: str | None = None) -> None:
    """Delete the bars of a symbol: of one timeframe, or of all, without confirmation.

    Args:
        symbol: such as ``"EURUSD"``.
        timeframe: such as ``"1h"``; by default all timeframes of the symbol.

    Raises:
        NotFoundError: there are no such bars; the message names the stored data sets.
        StoreError: the store cannot be written.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> kt.data.delete("EURUSD", "1h")
        >>> "EURUSD" in kt.data.list()["symbol"].tolist()
        False
    """
    with python_messages():
        store = default_store()
        if timeframe is not None:
            store.delete(symbol, Timeframe(timeframe))
            return
        stored = [info.timeframe for info in store.datasets() if info.symbol == symbol]
        if not stored:
            raise store.missing(symbol)
        for each in stored:
            store.delete(symbol, each)

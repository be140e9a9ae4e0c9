"""Parameters and functions of routes that read stored bars."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends
from pydantic import AwareDatetime, BeforeValidator

from ktrdr.api.services import Opened
from ktrdr.core.dates import parse_instant
from ktrdr.core.jobs.refusals import validator

if TYPE_CHECKING:
    import numpy as np

    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.bars import Bars

__all__ = ["Instant", "Store", "TimeframeName", "bar_store", "load", "moment", "utc"]

TimeframeName = Literal["1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w"]

# The range of nanoseconds in int64, with room for a time zone.
_EARLIEST = dt.datetime(1700, 1, 1, tzinfo=dt.UTC)
_LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


async def bar_store(opened: Opened) -> BarStore:
    """Return the bar store of the server."""
    from ktrdr.core.data.bar_store import BarStore

    return BarStore(opened.home / "data")


Instant = Annotated[AwareDatetime, BeforeValidator(validator(parse_instant))]
"""A time of a bar, in UTC if it has no offset; errors have the messages of the command line."""


if TYPE_CHECKING:
    Store = Annotated[BarStore, Depends(bar_store)]
else:
    # FastAPI does not need the type, whose import would load numpy.
    Store = Annotated[Any, Depends(bar_store)]


def utc(time: np.datetime64) -> dt.datetime:
    """Return the time of a bar as an aware UTC time, to the microsecond."""
    return time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)


def moment(time: dt.datetime | None) -> np.datetime64 | None:
    """Return an aware time as ``datetime64[ns]`` in UTC; times before 1700 or after 2200 are clipped."""
    import numpy as np

    if time is None:
        return None
    time = min(max(time, _EARLIEST), _LATEST)
    return np.datetime64(time.astimezone(dt.UTC).replace(tzinfo=None), "ns")


def load(store: BarStore, symbol: str, timeframe: str, start: dt.datetime | None, end: dt.datetime | None) -> Bars:
    """Return the bars that open in ``[start, end)``, resampled from a finer timeframe if necessary.

    Raises:
        BadInputError: there are no such bars, or the end is not after the start.
    """
    from ktrdr.core.data.loading import load_bars
    from ktrdr.core.data.times import check_order

    first, until = moment(start), moment(end)
    check_order(first, until)
    return load_bars(store, symbol, timeframe, first, until)

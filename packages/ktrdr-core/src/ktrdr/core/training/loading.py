"""Data loading: the bars a strategy is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.strategy.model import DateRange

__all__ = ["load_symbol", "span_of"]


def span_of(dates: DateRange) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Return the half-open span ``[start, end)`` of inclusive days, as ``datetime64[ns]``; ``None`` is open."""
    start = None if dates.start is None else np.datetime64(dates.start, "ns")
    end = None if dates.end is None else np.datetime64(dates.end, "ns") + np.timedelta64(1, "D")
    return start, end


def load_symbol(store: BarStore, symbol: str, timeframes: Sequence[str], dates: DateRange) -> dict[str, Bars]:
    """Return ``symbol``'s bars that open on ``dates``, for each timeframe, the base timeframe first.

    Raises:
        BadInputError: there are none; the message says what is stored.
    """
    start, end = span_of(dates)
    bars = stored_inputs(store, symbol, timeframes, start, end)
    for timeframe, part in bars.items():
        if len(part):
            continue
        days = f"{dates.start or 'the beginning'} to {dates.end or 'the end'}"
        stored = next((info for info in store.datasets() if info.symbol == symbol), None)
        known = f"; stored are {format_time(stored.start)} to {format_time(stored.end)}" if stored else ""
        raise BadInputError(f"there are no {timeframe} bars of {symbol} from {days}{known}; choose other dates")
    return bars

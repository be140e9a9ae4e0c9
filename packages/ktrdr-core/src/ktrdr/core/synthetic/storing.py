"""Storing of synthetic markets: from the command line, from Python, and the shipped one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ktrdr.core.data.bar_store import BarStore, WriteReport, default_store
from ktrdr.core.data.frames import instant
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.resample import boundary_at_or_before
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.times import check_order
from ktrdr.core.errors import BadInputError
from ktrdr.core.synthetic.market import SyntheticMarket, market_bars, synthetic_market
from ktrdr.core.synthetic.processes import DEFAULT_BARS, DEFAULT_SEED, DEFAULT_START

if TYPE_CHECKING:
    from ktrdr.core.data.import_result import ImportResult

__all__ = ["default_start", "number_of_bars", "store_market", "synthesize"]


def store_market(
    market: SyntheticMarket, store: BarStore, symbol: str, timeframe: Timeframe, start: np.datetime64, n: int
) -> WriteReport:
    """Store ``n`` bars of a market. Bars that are stored already stay: a longer series continues a shorter one.

    Args:
        market: process, seed and parameters.
        store: receives the bars, with what they are made from.
        symbol: the symbol to store them under.
        timeframe: length of a bar.
        start: open of the first bar, UTC.
        n: number of bars.

    Returns:
        What changed.

    Raises:
        BadInputError: the bars cannot be made, or bars of another market or timeframe are stored under the symbol.
        StoreError: the store cannot be written.
    """
    return store.write(market_bars(market, symbol, timeframe, start, n), recipe=market.recipe(start))


def default_start(timeframe: Timeframe) -> np.datetime64:
    """Return the first open of a bar of ``timeframe`` from the default start of a market on, ``datetime64[ns]``."""
    start = np.datetime64(DEFAULT_START, "ns")
    boundary: np.datetime64 = boundary_at_or_before(np.array([start]), timeframe)[0]
    return start if boundary == start else boundary + np.timedelta64(timeframe.nanoseconds, "ns")


def number_of_bars(bars: int | None, start: np.datetime64, end: np.datetime64 | None, timeframe: Timeframe) -> int:
    """Return how many bars open in ``[start, end)``, or ``bars``, or the default number.

    Raises:
        BadInputError: both a number and an end are given, or the end is not after the start.
    """
    if end is None:
        return DEFAULT_BARS if bars is None else bars
    if bars is not None:
        raise BadInputError("the number of bars and the end are both given: leave out --bars or --end")
    check_order(start, end)
    return -(-int((end - start).astype("timedelta64[ns]").astype(np.int64)) // timeframe.nanoseconds)


def synthesize(
    symbol: str,
    process: str,
    *,
    seed: int = DEFAULT_SEED,
    bars: int | None = None,
    start: str | dt.date | np.datetime64 | None = None,
    end: str | dt.date | np.datetime64 | None = None,
    timeframe: str = "1h",
    parameters: Mapping[str, Any] | None = None,
) -> ImportResult:
    """Make bars of a market whose process is known, and store them, as ``ktrdr data synthesize`` does.

    The market is always open (calendar ``24/7``) and has no gaps. The same arguments give the same bars on every
    machine, and more bars continue fewer. The bars are named synthetic in every result that uses them.

    Args:
        symbol: the symbol to store them under; one that has no bars of another market or timeframe.
        process: ``"mean_reversion"``, ``"momentum"``, ``"regime_volatility"``, ``"garch"`` or ``"walk"``.
        seed: seed of every random number.
        bars: number of bars; by default those up to ``end``, else 17,520 (two years of hours).
        start: open of the first bar, UTC; by default 2017-01-01, or the first open after it: 2017-01-02
            for weeks.
        end: bars open before this time.
        timeframe: length of a bar.
        parameters: parameters of the process that differ from their defaults, such as ``{"reversion": 0.2}``.

    Returns:
        What changed.

    Raises:
        BadInputError: an argument is wrong, or bars of another market or timeframe are stored under the symbol.
        StoreError: the store cannot be written.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.data.synthesize("WALK", "walk", seed=3, bars=1000)
        <ImportResult WALK 1h: 1,000 bars added, 0 replaced, 1,000 stored>
        >>> kt.data.list().set_index("symbol").loc["WALK", "world"]
        'walk-3'
    """
    from ktrdr.core.data.import_result import import_result

    with python_messages():
        frame = Timeframe(timeframe)
        given, until = instant(start, "start"), instant(end, "end")
        first = default_start(frame) if given is None else given
        market = synthetic_market(process, seed, parameters)
        n = number_of_bars(bars, first, until, frame)
        return import_result([store_market(market, default_store(), symbol, frame, first, n)], [], [])

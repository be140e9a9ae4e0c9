"""Volume indicators. A bar with unknown volume (NaN) has no value and restarts the indicator; 0 is a valid volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.comparisons import equal
from ktrdr.core.indicators import ta
from ktrdr.core.indicators.types import IndicatorType, period, source
from ktrdr.core.indicators.windows import all_zero, anchored, mean, ratio, total
from ktrdr.core.parameters import Parameter

__all__ = ["INDICATORS"]

_Columns = Mapping[str, np.ndarray]
_Parameters = Mapping[str, Any]
_Outputs = Sequence[np.ndarray]

_DAY = np.timedelta64(1, "D")
_VWAP_PERIOD = 20


def _obv(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.OBV(c["close"], c["volume"]),)


def _vwap(c: _Columns, p: _Parameters) -> _Outputs:
    volume = c["volume"]
    origin, series = c["source"][:1], anchored(c["source"])
    value = series * volume
    if p["anchor"] == "day":
        start = _day_starts(c["time"])
        value, volume = _since(value, start), _since(volume, start)
    else:
        empty = all_zero(volume, p["period"])
        value, volume = (np.where(empty, 0.0, total(part, p["period"])) for part in (value, volume))
    return (origin + ratio(value, volume, neutral=series),)


def _period_of_a_rolling_window(p: _Parameters) -> str | None:
    if p["anchor"] == "rolling" or p["period"] == _VWAP_PERIOD:
        return None
    return "`period` has no effect with `anchor: day`; leave it out"


def _day_starts(time: np.ndarray) -> np.ndarray:
    """Return for each row the first row of its UTC day."""
    days = time.astype("datetime64[D]")
    first = np.flatnonzero(np.diff(days, prepend=days[:1] - _DAY))
    return np.repeat(first, np.diff(first, append=len(time)))


def _since(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the sum from row ``start`` to each row.

    Each day is summed separately, in a row of a (days, longest day) table: the difference of two running sums over all
    data would contain the rounding errors of all days before.
    """
    offset = np.arange(len(values)) - start
    day = np.cumsum(offset == 0) - 1
    table = np.zeros((int(day[-1]) + 1, int(offset.max()) + 1))
    table[day, offset] = values
    return np.cumsum(table, axis=1)[day, offset]


def _mfi(c: _Columns, p: _Parameters) -> _Outputs:
    typical = (c["high"] + c["low"] + c["close"]) / 3.0
    # Typical prices are compared with a tolerance, as in TA-Lib. Without money flow TA-Lib returns 0, which would mean
    # that there are only sellers.
    moved = ~equal(typical[1:], typical[:-1])
    result = ta.MFI(c["high"], c["low"], c["close"], c["volume"], p["period"])
    result[1:][all_zero(np.where(moved, c["volume"][1:], 0.0), p["period"])] = 50.0
    return (result,)


def _cmf(c: _Columns, p: _Parameters) -> _Outputs:
    result = ta.CMF(c["high"], c["low"], c["close"], c["volume"], p["period"])
    result[all_zero(c["volume"], p["period"])] = 0.0
    return (result,)


def _ad_line(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.AD(c["high"], c["low"], c["close"], c["volume"]),)


def _volume_ratio(c: _Columns, p: _Parameters) -> _Outputs:
    result = ratio(c["volume"], mean(c["volume"], p["period"]), neutral=1.0)
    result[all_zero(c["volume"], p["period"])] = 1.0
    return (result,)


INDICATORS: tuple[IndicatorType, ...] = (
    IndicatorType(
        "obv",
        "On-Balance Volume: running total of volume, added on a higher close, subtracted on a lower one.",
        "Granville, New Key to Stock Market Profits (1963); as TA-Lib OBV, which begins with the first bar's volume",
        ("obv",),
        _obv,
        lambda p: 0,
        ("close", "volume"),
        memory="cumulative",
    ),
    IndicatorType(
        "vwap",
        "Volume-Weighted Average Price, over a window of `period` bars, or since the first bar of the UTC day."
        " Where nothing was traded it is the series itself.",
        "Berkowitz, Logue & Noser, The Total Cost of Transactions on the NYSE, Journal of Finance 43:1 (1988)",
        ("vwap",),
        _vwap,
        lambda p: 0 if p["anchor"] == "day" else p["period"] - 1,
        ("time", "volume"),
        (
            period(_VWAP_PERIOD, description="bars in the window; not with `anchor: day`"),
            Parameter(
                "anchor",
                "str",
                "rolling",
                choices=("rolling", "day"),
                description="`rolling` window, or sums that restart with each `day` (UTC)",
            ),
            source("hlc3"),
        ),
        memory_by={"anchor": {"day": "day"}},
        rule=_period_of_a_rolling_window,
    ),
    IndicatorType(
        "mfi",
        "Money Flow Index: the share of rising bars in typical price times volume, from 0 to 100; 50 without any.",
        "Quong & Soudack, Volume-Weighted RSI: Money Flow, Stocks & Commodities 7:3 (1989); as TA-Lib MFI",
        ("mfi",),
        _mfi,
        lambda p: p["period"],
        ("high", "low", "close", "volume"),
        (period(14, minimum=2),),
    ),
    IndicatorType(
        "cmf",
        "Chaikin Money Flow: volume weighted by where the close is in the bar's range, from -1 to 1.",
        "Chaikin, in Achelis, Technical Analysis from A to Z (1995); as TA-Lib CMF",
        ("cmf",),
        _cmf,
        lambda p: p["period"] - 1,
        ("high", "low", "close", "volume"),
        (period(21, minimum=2),),
    ),
    IndicatorType(
        "ad_line",
        "Accumulation/Distribution Line: running total of volume weighted by where the close is in the bar's range.",
        "Chaikin, in Achelis, Technical Analysis from A to Z (1995); as TA-Lib AD",
        ("ad_line",),
        _ad_line,
        lambda p: 0,
        ("high", "low", "close", "volume"),
        aliases=("adline",),
        output_aliases={"line": "ad_line"},
        memory="cumulative",
    ),
    IndicatorType(
        "volume_ratio",
        "Volume relative to its simple mean over the window, this bar included; 1 is average.",
        "Relative volume, in Murphy, Technical Analysis of the Financial Markets (1999)",
        ("volume_ratio",),
        _volume_ratio,
        lambda p: p["period"] - 1,
        ("volume",),
        (period(20),),
        aliases=("volumeratio",),
    ),
)

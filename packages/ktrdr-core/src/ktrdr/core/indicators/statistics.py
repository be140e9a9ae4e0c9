"""Statistics of one series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.comparisons import lowest_equal
from ktrdr.core.indicators import ta
from ktrdr.core.indicators.types import MEANS, IndicatorType, period, source
from ktrdr.core.indicators.windows import anchored, flat, lagged, mean, ratio
from ktrdr.core.parameters import Parameter

__all__ = ["INDICATORS"]

_Columns = Mapping[str, np.ndarray]
_Parameters = Mapping[str, Any]
_Outputs = Sequence[np.ndarray]


def _zscore(c: _Columns, p: _Parameters) -> _Outputs:
    still = flat(c["source"], p["period"])
    series = anchored(c["source"])
    distance = series - mean(series, p["period"])
    deviation = ta.STDDEV(series, p["period"])
    distance[still] = deviation[still] = 0.0
    return (ratio(distance, deviation, neutral=0.0),)


def _returns(c: _Columns, p: _Parameters) -> _Outputs:
    earlier = lagged(c["source"], p["period"])
    if p["method"] == "log":
        return (np.log(c["source"] / earlier),)
    return (c["source"] / earlier - 1.0,)


def _linreg_slope(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.LINEARREG_SLOPE(anchored(c["source"]), p["period"]),)


def _percentile_rank(c: _Columns, p: _Parameters) -> _Outputs:
    series, bars = c["source"], p["period"]
    if p["source"] not in MEANS:
        return (ta.PERCENTRANK(series, bars),)
    # TA-Lib compares exactly. That is right for prices, but not for means, which are rounded.
    below, least = np.zeros(len(series)), lowest_equal(series)
    for lag in range(1, bars + 1):
        below[bars:] += series[bars - lag : len(series) - lag] < least[bars:]
    return (below * (100.0 / bars),)


INDICATORS: tuple[IndicatorType, ...] = (
    IndicatorType(
        "zscore",
        "Distance of the series from the mean of the window, in population standard deviations; 0 in a flat window.",
        "Standard score, in any text on statistics",
        ("zscore",),
        _zscore,
        lambda p: p["period"] - 1,
        parameters=(period(20, minimum=2), source()),
    ),
    IndicatorType(
        "returns",
        "Return over `period` bars, as a fraction or a log return.",
        "Campbell, Lo & MacKinlay, The Econometrics of Financial Markets (1997), 1.4",
        ("returns",),
        _returns,
        lambda p: p["period"],
        parameters=(
            period(1, description="bars to look back"),
            Parameter("method", "str", "simple", choices=("simple", "log"), description="kind of return"),
            source(),
        ),
        positive=True,
    ),
    IndicatorType(
        "linreg_slope",
        "Slope of the least-squares line through the window, in the series' unit per bar.",
        "Linear regression, in any text on statistics; as TA-Lib LINEARREG_SLOPE",
        ("linreg_slope",),
        _linreg_slope,
        lambda p: p["period"] - 1,
        parameters=(period(14, minimum=2), source()),
    ),
    IndicatorType(
        "percentile_rank",
        "Percent of the `period` values before this one that are below it.",
        "Connors & Alvarez, An Introduction to ConnorsRSI (2012); as TA-Lib PERCENTRANK",
        ("percentile_rank",),
        _percentile_rank,
        lambda p: p["period"],
        parameters=(period(100, minimum=2, description="earlier values compared with"), source()),
    ),
)

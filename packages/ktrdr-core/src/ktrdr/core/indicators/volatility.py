"""Ranges, bands and volatility."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.indicators import ta
from ktrdr.core.indicators.types import IndicatorType, multiplier, period, source
from ktrdr.core.indicators.windows import (
    all_zero,
    anchored,
    flat,
    highest,
    lowest,
    mean,
    ratio,
    settled,
    total,
    true_range,
)

__all__ = ["INDICATORS"]

_Columns = Mapping[str, np.ndarray]
_Parameters = Mapping[str, Any]
_Outputs = Sequence[np.ndarray]

_WILDER = "Wilder, New Concepts in Technical Trading Systems (1978)"
_BOLLINGER = "Bollinger, Bollinger on Bollinger Bands (2001)"


def _atr(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.ATR(c["high"], c["low"], c["close"], p["period"]),)


def _natr(c: _Columns, p: _Parameters) -> _Outputs:
    atr = ta.ATR(c["high"], c["low"], c["close"], p["period"])
    return (100.0 * ratio(atr, c["close"], neutral=0.0),)


def _deviation(values: np.ndarray, bars: int) -> np.ndarray:
    """Return the population standard deviation of each window, exactly zero in a flat window."""
    result = ta.STDDEV(values, bars)
    result[flat(values, bars)] = 0.0
    return result


def _bands(series: np.ndarray, bars: int, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    upper, middle, lower = ta.BBANDS(series, bars, factor, factor)
    still = flat(series, bars)
    upper[still] = lower[still] = middle[still]
    return upper, middle, lower


def _bbands(c: _Columns, p: _Parameters) -> _Outputs:
    return _bands(c["source"], p["period"], p["multiplier"])


def _bbands_width(c: _Columns, p: _Parameters) -> _Outputs:
    width = 2.0 * p["multiplier"] * _deviation(c["source"], p["period"])
    return (ratio(width, mean(c["source"], p["period"]), neutral=0.0),)


def _keltner(c: _Columns, p: _Parameters) -> _Outputs:
    middle = ta.EMA(c["source"], p["period"])
    reach = p["multiplier"] * ta.ATR(c["high"], c["low"], c["close"], p["atr_period"])
    return middle + reach, middle, middle - reach


def _donchian(c: _Columns, p: _Parameters) -> _Outputs:
    upper = highest(c["high"], p["period"])
    lower = lowest(c["low"], p["period"])
    return upper, (upper + lower) / 2.0, lower


def _squeeze(c: _Columns, p: _Parameters) -> _Outputs:
    series = anchored(c["source"])
    spread = p["bb_multiplier"] * _deviation(series, p["bb_period"])
    reach = p["kc_multiplier"] * ta.ATR(c["high"], c["low"], c["close"], p["atr_period"])
    # The space left above and below; they differ by twice the distance of the middles.
    apart = np.abs(mean(series, p["bb_period"]) - ta.EMA(series, p["kc_period"]))
    inside = np.maximum(reach - spread - apart, 0.0)
    return (ratio(inside, 2.0 * reach, neutral=0.0),)


def _volatility(c: _Columns, p: _Parameters) -> _Outputs:
    bars = p["period"]
    returns = np.log(c["source"][1:] / c["source"][:-1])
    result = np.full(len(c["source"]), np.nan)
    result[1:] = _deviation(returns, bars) * math.sqrt(bars / (bars - 1))
    return (result,)


def _stddev(c: _Columns, p: _Parameters) -> _Outputs:
    return (_deviation(c["source"], p["period"]),)


def _choppiness(c: _Columns, p: _Parameters) -> _Outputs:
    bars = p["period"]
    reach = settled(true_range(c["high"], c["low"], c["close"]), 1)
    path = total(reach, bars)
    path[all_zero(reach, bars)] = 0.0
    span = (highest(c["high"], bars) - lowest(c["low"], bars))[1:]
    # The neutral root makes a window without any movement come out at 50, the middle of the scale.
    roughness = np.log10(ratio(path, span, neutral=math.sqrt(bars)))
    result = np.full(len(c["high"]), np.nan)
    result[1:] = 100.0 * roughness / math.log10(bars)
    return (result,)


INDICATORS: tuple[IndicatorType, ...] = (
    IndicatorType(
        "atr",
        "Average True Range: smoothed range of a bar, gaps included, in the price's unit.",
        f"{_WILDER}; as TA-Lib ATR",
        ("atr",),
        _atr,
        lambda p: p["period"],
        ("high", "low", "close"),
        (period(14, description="bars of Wilder's smoothing"),),
        memory="recursive",
    ),
    IndicatorType(
        "natr",
        "Normalized Average True Range: ATR in percent of the close.",
        "Forman, Cross-Market Evaluations with Normalized Average True Range, Stocks & Commodities 24:5 (2006);"
        " as TA-Lib NATR",
        ("natr",),
        _natr,
        lambda p: p["period"],
        ("high", "low", "close"),
        (period(14, description="bars of Wilder's smoothing"),),
        memory="recursive",
    ),
    IndicatorType(
        "bbands",
        "Bollinger Bands: simple mean, and `multiplier` population standard deviations above and below.",
        f"{_BOLLINGER}; as TA-Lib BBANDS",
        ("upper", "middle", "lower"),
        _bbands,
        lambda p: p["period"] - 1,
        parameters=(
            period(20, minimum=2),
            multiplier(2.0, description="standard deviations between mean and band"),
            source(),
        ),
        aliases=("bollingerbands", "bollinger_bands"),
    ),
    IndicatorType(
        "bbands_width",
        "Bollinger BandWidth: distance between the bands as a fraction of the mean.",
        _BOLLINGER,
        ("bbands_width",),
        _bbands_width,
        lambda p: p["period"] - 1,
        parameters=(
            period(20, minimum=2),
            multiplier(2.0, description="standard deviations between mean and band"),
            source(),
        ),
        aliases=("bollingerbandwidth", "bollinger_band_width"),
    ),
    IndicatorType(
        "keltner",
        "Keltner Channels: exponential mean, and `multiplier` average true ranges above and below.",
        "Keltner, How to Make Money in Commodities (1960), in the form of Raschke & Connors, Street Smarts (1995);"
        " with `source: hlc3` as TA-Lib KC, once its average true range, which starts later, has settled",
        ("upper", "middle", "lower"),
        _keltner,
        lambda p: max(p["period"] - 1, p["atr_period"]),
        ("high", "low", "close"),
        (
            period(20, description="bars of the exponential mean"),
            period(10, "atr_period", description="bars of the average true range"),
            multiplier(2.0, description="average true ranges between mean and band"),
            source(),
        ),
        aliases=("keltnerchannels", "keltner_channels"),
        memory="recursive",
    ),
    IndicatorType(
        "donchian",
        "Donchian Channels: highest high, lowest low and their middle over the window, this bar included.",
        "Donchian, High Finance in Copper, Financial Analysts Journal 16:6 (1960); as TA-Lib DONCHIAN",
        ("upper", "middle", "lower"),
        _donchian,
        lambda p: p["period"] - 1,
        ("high", "low"),
        (period(20),),
        aliases=("donchianchannels", "donchian_channels"),
    ),
    IndicatorType(
        "squeeze",
        "Squeeze intensity: how far the Bollinger Bands are inside the Keltner Channels, as a fraction of the"
        " channels' width; 0 is outside, 0.5 the most.",
        "Carter, Mastering the Trade (2005), as a degree in the place of on and off",
        ("squeeze",),
        _squeeze,
        lambda p: max(p["bb_period"] - 1, p["kc_period"] - 1, p["atr_period"]),
        ("high", "low", "close"),
        (
            period(20, "bb_period", minimum=2, description="bars of the Bollinger Bands"),
            multiplier(2.0, "bb_multiplier", description="standard deviations between mean and Bollinger Band"),
            period(20, "kc_period", description="bars of the Keltner Channels' exponential mean"),
            multiplier(2.0, "kc_multiplier", description="average true ranges between mean and Keltner Channel"),
            period(10, "atr_period", description="bars of the average true range"),
            source(),
        ),
        aliases=("squeezeintensity", "squeeze_intensity"),
        memory="recursive",
    ),
    IndicatorType(
        "volatility",
        "Historical volatility: sample standard deviation of the log returns of the window, per bar, not annualized.",
        "Hull, Options, Futures, and Other Derivatives, estimating volatility from historical data",
        ("volatility",),
        _volatility,
        lambda p: p["period"],
        parameters=(period(20, minimum=2, description="returns in the window"), source()),
        positive=True,
    ),
    IndicatorType(
        "stddev",
        "Population standard deviation of the window.",
        "as TA-Lib STDDEV",
        ("stddev",),
        _stddev,
        lambda p: p["period"] - 1,
        parameters=(period(20, minimum=2), source()),
    ),
    IndicatorType(
        "choppiness",
        "Choppiness Index: sum of true ranges relative to the range of the window, from 0 (straight) to 100; 50 where"
        " nothing moved.",
        "Dreiss, Choppiness Index; Schwager, Technical Analysis (1996)",
        ("choppiness",),
        _choppiness,
        lambda p: p["period"],
        ("high", "low", "close"),
        (period(14, minimum=2),),
    ),
)

"""Oscillators and rates of change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.indicators import ta
from ktrdr.core.indicators.types import IndicatorType, period, source
from ktrdr.core.indicators.windows import (
    all_zero,
    flat,
    highest,
    lagged,
    lowest,
    mean,
    ratio,
    settled,
    total,
    true_range,
    unbroken,
)

__all__ = ["INDICATORS"]

_Columns = Mapping[str, np.ndarray]
_Parameters = Mapping[str, Any]
_Outputs = Sequence[np.ndarray]

_WILDER = "Wilder, New Concepts in Technical Trading Systems (1978)"


def _fast_below_slow(p: _Parameters) -> str | None:
    if p["fast_period"] < p["slow_period"]:
        return None
    return f"`fast_period` ({p['fast_period']}) must be below `slow_period` ({p['slow_period']})"


def _rsi(c: _Columns, p: _Parameters) -> _Outputs:
    result = ta.RSI(c["source"], p["period"])
    zero = result == 0.0
    if zero.any():
        # Only falls, or no movement; TA-Lib returns 0, oversold, for the latter too.
        moved = ta.RMA(np.abs(np.diff(c["source"])), p["period"])
        result[1:][zero[1:] & (moved == 0.0)] = 50.0
    return (result,)


def _roc(c: _Columns, p: _Parameters) -> _Outputs:
    earlier = lagged(c["source"], p["period"])
    return (100.0 * ratio(c["source"] - earlier, earlier, neutral=0.0),)


def _momentum(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.MOM(c["source"], p["period"]),)


def _cci(c: _Columns, p: _Parameters) -> _Outputs:
    typical = (c["high"] + c["low"] + c["close"]) / 3.0
    origin = c["close"][0]
    result = ta.CCI(*(c[name] - origin for name in ("high", "low", "close")), p["period"])
    result[flat(typical, p["period"])] = 0.0
    return (result,)


def _position(c: _Columns, bars: int) -> np.ndarray:
    """Return the position of the close in the range of the window, from 0 to 100; 50 in a window without range."""
    low = lowest(c["low"], bars)
    return ratio(100.0 * (c["close"] - low), highest(c["high"], bars) - low, neutral=50.0)


def _williams_r(c: _Columns, p: _Parameters) -> _Outputs:
    return (_position(c, p["period"]) - 100.0,)


def _stochastic(c: _Columns, p: _Parameters) -> _Outputs:
    first = p["k_period"] - 1
    k = mean(settled(_position(c, p["k_period"]), first), p["smooth_k"])
    d = mean(settled(k, p["smooth_k"] - 1), p["d_period"])
    n = len(c["close"])
    return _right_aligned(k, n), _right_aligned(d, n)


def _right_aligned(values: np.ndarray, n: int) -> np.ndarray:
    result = np.full(n, np.nan)
    result[n - len(values) :] = values
    return result


def _rvi(c: _Columns, p: _Parameters) -> _Outputs:
    spread = c["high"] - c["low"]
    vigor = mean(_symmetric(c["close"] - c["open"]), p["period"])
    reach = mean(_symmetric(spread), p["period"])
    # Each weighted value uses four bars, so a window without movement has period + 3 bars.
    still = all_zero(spread, p["period"] + 3)[3:]
    reach[still] = vigor[still] = 0.0
    line = settled(ratio(vigor, reach, neutral=0.0), p["period"] - 1)
    n = len(spread)
    return _right_aligned(line, n), _right_aligned(mean(line, p["signal_period"]), n)


def _symmetric(values: np.ndarray) -> np.ndarray:
    """Return the weighted mean (1, 2, 2, 1) of four bars; three rows shorter than ``values``."""
    return (values[3:] + 2.0 * values[2:-1] + 2.0 * values[1:-2] + values[:-3]) / 6.0


def _fisher(c: _Columns, p: _Parameters) -> _Outputs:
    bars = p["period"]
    middle = (c["high"] + c["low"]) / 2.0
    low = lowest(c["low"], bars)
    position = ratio(middle - low, highest(c["high"], bars) - low, neutral=0.5)
    raw = np.arctanh(np.clip(2.0 * settled(position, bars - 1) - 1.0, -0.999, 0.999))
    line = _right_aligned(ta.EMA(raw, p["smoothing"]), len(middle))
    return line, lagged(line, 1)


def _aroon(c: _Columns, p: _Parameters) -> _Outputs:
    down, up = ta.AROON(c["high"], c["low"], p["period"])
    return up, down, up - down


def _aroon_oscillator(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.AROONOSC(c["high"], c["low"], p["period"]),)


def _macd(c: _Columns, p: _Parameters) -> _Outputs:
    return ta.MACD(c["source"], p["fast_period"], p["slow_period"], p["signal_period"])


def _ppo(c: _Columns, p: _Parameters) -> _Outputs:
    slow = ta.EMA(c["source"], p["slow_period"])
    difference = ta.EMA(c["source"], p["fast_period"]) - slow
    line = settled(100.0 * ratio(difference, slow, neutral=0.0), p["slow_period"] - 1)
    signal = ta.EMA(line, p["signal_period"])
    n = len(slow)
    return _right_aligned(line, n), _right_aligned(signal, n), _right_aligned(line - signal, n)


def _trix(c: _Columns, p: _Parameters) -> _Outputs:
    smooth = c["source"]
    for _ in range(3):
        smooth = settled(ta.EMA(smooth, p["period"]), p["period"] - 1)
    return (_right_aligned(100.0 * ratio(np.diff(smooth), smooth[:-1], neutral=0.0), len(c["source"])),)


def _chande_momentum(c: _Columns, p: _Parameters) -> _Outputs:
    return (ta.CMO(c["source"], p["period"]),)


def _ultimate_oscillator(c: _Columns, p: _Parameters) -> _Outputs:
    names = ("fast_period", "medium_period", "slow_period")
    result = ta.ULTOSC(c["high"], c["low"], c["close"], *(p[name] for name in names))
    # A window in which nothing moved leans neither way; TA-Lib has 0 for it. It is one of the fast window at least.
    still = unbroken(c["high"] == c["low"], p["fast_period"])
    if still.any():
        previous = c["close"][:-1]
        bottom = np.minimum(c["low"][1:], previous)
        pressure = c["close"][1:] - bottom
        reach = np.maximum(c["high"][1:], previous) - bottom
        weighted = np.zeros(len(reach))
        for name, weight in zip(names, (4.0, 2.0, 1.0), strict=True):
            share = ratio(total(pressure, p[name]), total(reach, p[name]), neutral=0.5)
            share[all_zero(reach, p[name])] = 0.5
            weighted += weight * share
        result[1:][still[1:]] = weighted[still[1:]] * (100.0 / 7.0)
    return (result,)


def _ordered_periods(p: _Parameters) -> str | None:
    if p["fast_period"] < p["medium_period"] < p["slow_period"]:
        return None
    return "`fast_period`, `medium_period` and `slow_period` must be in ascending order"


def _vortex(c: _Columns, p: _Parameters) -> _Outputs:
    plus, minus = ta.VORTEX(c["high"], c["low"], c["close"], p["period"])
    if unbroken(c["high"] == c["low"], p["period"]).any():
        # The first row's true range belongs to no window: the movement of the first window begins at row 1.
        reach = true_range(c["high"], c["low"], c["close"])
        still = all_zero(reach, p["period"])
        # What remains is the movement from the last bar that had a range, over nothing: no value if there was any.
        rise = np.abs(c["high"][1:] - c["low"][:-1])
        fall = np.abs(c["low"][1:] - c["high"][:-1])
        for line, movement in ((plus, rise), (minus, fall)):
            moved = np.full(len(reach), np.nan)
            moved[1:] = highest(movement, p["period"])
            line[still] = np.where(moved == 0.0, 1.0, np.nan)[still]
    return plus, minus


INDICATORS: tuple[IndicatorType, ...] = (
    IndicatorType(
        "rsi",
        "Relative Strength Index: the share of rises in all movement, from 0 to 100; 50 where nothing moved.",
        f"{_WILDER}; Wilder's smoothing, started with a simple mean, as TA-Lib RSI",
        ("rsi",),
        _rsi,
        lambda p: p["period"],
        parameters=(period(14, minimum=2, description="bars of Wilder's smoothing"), source()),
        memory="recursive",
    ),
    IndicatorType(
        "roc",
        "Rate of Change: percent the series has moved since `period` bars ago.",
        "Murphy, Technical Analysis of the Financial Markets (1999); as TA-Lib ROC",
        ("roc",),
        _roc,
        lambda p: p["period"],
        parameters=(period(10, description="bars to look back"), source()),
    ),
    IndicatorType(
        "momentum",
        "Momentum: how far the series has moved since `period` bars ago, in its own unit.",
        "Murphy, Technical Analysis of the Financial Markets (1999); as TA-Lib MOM",
        ("momentum",),
        _momentum,
        lambda p: p["period"],
        parameters=(period(10, description="bars to look back"), source()),
    ),
    IndicatorType(
        "cci",
        "Commodity Channel Index: distance of the typical price from its mean, in mean deviations of 0.015.",
        "Lambert, Commodity Channel Index, Commodities magazine (October 1980); as TA-Lib CCI",
        ("cci",),
        _cci,
        lambda p: p["period"] - 1,
        ("high", "low", "close"),
        (period(20, minimum=2),),
    ),
    IndicatorType(
        "williams_r",
        "Williams %R: where the close is in the range of the window, from -100 (low) to 0 (high).",
        "Williams, How I Made One Million Dollars Last Year Trading Commodities (1973); as TA-Lib WILLR",
        ("williams_r",),
        _williams_r,
        lambda p: p["period"] - 1,
        ("high", "low", "close"),
        (period(14),),
        aliases=("williamsr",),
    ),
    IndicatorType(
        "stochastic",
        "Stochastic oscillator: where the close is in the range of the window, smoothed (k), and its mean (d).",
        "Lane, Lane's Stochastics, Stocks & Commodities 2:3 (1984); simple means, as TA-Lib STOCH",
        ("k", "d"),
        _stochastic,
        lambda p: p["k_period"] + p["smooth_k"] + p["d_period"] - 3,
        ("high", "low", "close"),
        (
            period(14, "k_period", description="bars of the range"),
            period(3, "d_period", description="bars of the mean of k"),
            period(3, "smooth_k", description="bars k itself is smoothed over; 1 is the fast stochastic"),
        ),
    ),
    IndicatorType(
        "rvi",
        "Relative Vigor Index: close against open, relative to the bar's range, and its mean as signal.",
        "Ehlers, Relative Vigor Index, Stocks & Commodities 20:1 (2002), with a simple mean as signal;"
        " not TA-Lib's RVI, which is Dorsey's Relative Volatility Index",
        ("rvi", "signal"),
        _rvi,
        lambda p: p["period"] + p["signal_period"] + 1,
        ("open", "high", "low", "close"),
        (period(10), period(4, "signal_period", description="bars of the mean that is the signal")),
    ),
    IndicatorType(
        "fisher",
        "Fisher Transform of where the bar's middle is in the range of the window; signal is the bar before.",
        "Ehlers, Using the Fisher Transform, Stocks & Commodities 20:11 (2002), with the range of highs and lows and"
        " one exponential mean, after the transform",
        ("fisher", "signal"),
        _fisher,
        lambda p: p["period"] + p["smoothing"] - 1,
        ("high", "low"),
        (
            period(10, description="bars of the range"),
            period(3, "smoothing", description="bars of the exponential mean; 1 does not smooth"),
        ),
        aliases=("fishertransform", "fisher_transform"),
        memory="recursive",
    ),
    IndicatorType(
        "aroon",
        "Aroon: how recent the highest high (up) and lowest low (down) are, from 0 to 100, and their difference.",
        "Chande, A Time Price Oscillator, Stocks & Commodities 13:9 (1995); as TA-Lib AROON",
        ("up", "down", "oscillator"),
        _aroon,
        lambda p: p["period"],
        ("high", "low"),
        (period(14, minimum=2, description="bars back to the oldest of the window"),),
    ),
    IndicatorType(
        "aroon_oscillator",
        "Aroon oscillator: Aroon up less Aroon down, from -100 to 100.",
        "Chande, A Time Price Oscillator, Stocks & Commodities 13:9 (1995); as TA-Lib AROONOSC",
        ("aroon_oscillator",),
        _aroon_oscillator,
        lambda p: p["period"],
        ("high", "low"),
        (period(14, minimum=2, description="bars back to the oldest of the window"),),
    ),
    IndicatorType(
        "macd",
        "Moving Average Convergence Divergence: fast less slow exponential mean, its signal, and the difference.",
        "Appel, Technical Analysis: Power Tools for Active Investors (2005); as TA-Lib MACD",
        ("macd", "signal", "histogram"),
        _macd,
        lambda p: p["slow_period"] + p["signal_period"] - 2,
        parameters=(
            period(12, "fast_period", minimum=2, description="bars of the fast exponential mean"),
            period(26, "slow_period", minimum=2, description="bars of the slow exponential mean"),
            period(9, "signal_period", description="bars of the signal's exponential mean"),
            source(),
        ),
        output_aliases={"line": "macd"},
        memory="recursive",
        rule=_fast_below_slow,
    ),
    IndicatorType(
        "ppo",
        "Percentage Price Oscillator: MACD in percent of the slow mean, its signal, and the difference.",
        "Appel, Technical Analysis: Power Tools for Active Investors (2005); exponential means, as TA-Lib PPO",
        ("ppo", "signal", "histogram"),
        _ppo,
        lambda p: p["slow_period"] + p["signal_period"] - 2,
        parameters=(
            period(12, "fast_period", minimum=2, description="bars of the fast exponential mean"),
            period(26, "slow_period", minimum=2, description="bars of the slow exponential mean"),
            period(9, "signal_period", description="bars of the signal's exponential mean"),
            source(),
        ),
        output_aliases={"line": "ppo"},
        memory="recursive",
        rule=_fast_below_slow,
    ),
    IndicatorType(
        "trix",
        "TRIX: percent by which a triple exponential mean moved since the bar before.",
        "Hutson, Good TRIX, Stocks & Commodities 1:5 (1983); as TA-Lib TRIX",
        ("trix",),
        _trix,
        lambda p: 3 * (p["period"] - 1) + 1,
        parameters=(period(15, description="bars of each exponential mean"), source()),
        memory="recursive",
    ),
    IndicatorType(
        "chande_momentum",
        "Chande Momentum Oscillator: rises less falls over all movement, from -100 to 100; 0 where nothing moved.",
        "Chande & Kroll, The New Technical Trader (1994), with Wilder's smoothing in the place of sums, as TA-Lib CMO",
        ("chande_momentum",),
        _chande_momentum,
        lambda p: p["period"],
        parameters=(period(14, minimum=2, description="bars of Wilder's smoothing"), source()),
        memory="recursive",
    ),
    IndicatorType(
        "ultimate_oscillator",
        "Ultimate Oscillator: buying pressure in all movement over three windows, from 0 to 100.",
        "Williams, The Ultimate Oscillator, Stocks & Commodities 3:4 (1985); as TA-Lib ULTOSC",
        ("ultimate_oscillator",),
        _ultimate_oscillator,
        lambda p: p["slow_period"],
        ("high", "low", "close"),
        (
            period(7, "fast_period", description="bars of the first window, weight 4"),
            period(14, "medium_period", description="bars of the second window, weight 2"),
            period(28, "slow_period", description="bars of the third window, weight 1"),
        ),
        rule=_ordered_periods,
    ),
    IndicatorType(
        "vortex",
        "Vortex: upward (plus) and downward (minus) movement between bars, relative to true range.",
        "Botes & Siepman, The Vortex Indicator, Stocks & Commodities 28:1 (2010); as TA-Lib VORTEX",
        ("plus", "minus"),
        _vortex,
        lambda p: p["period"],
        ("high", "low", "close"),
        (period(14, minimum=2),),
    ),
)

"""Moving averages, and indicators of the direction and strength of a trend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.comparisons import equal, highest_equal, lowest_equal, slack
from ktrdr.core.indicators import ta
from ktrdr.core.indicators.types import Formula, IndicatorType, Memory, multiplier, period, source
from ktrdr.core.indicators.windows import highest, lagged, lowest, mean, ratio, settled, true_range
from ktrdr.core.parameters import Parameter

__all__ = ["INDICATORS"]

_Columns = Mapping[str, np.ndarray]
_Parameters = Mapping[str, Any]
_Outputs = Sequence[np.ndarray]

# TA-Lib compares numbers to the last bit.
_TIES = ", with ties as decimals have them"
_WILDER = "Wilder, New Concepts in Technical Trading Systems (1978)"


def _average(function: str) -> Formula:
    def formula(c: _Columns, p: _Parameters) -> _Outputs:
        return (getattr(ta, function)(c["source"], p["period"]),)

    return formula


def _moving_average(
    name: str,
    description: str,
    reference: str,
    warmup: Callable[[_Parameters], int],
    *,
    default: int = 20,
    minimum: int = 1,
    aliases: tuple[str, ...] = (),
    memory: Memory = "recursive",
) -> IndicatorType:
    function = name.upper()
    return IndicatorType(
        name,
        description,
        f"{reference}; as TA-Lib {function}",
        (name,),
        _average(function),
        warmup,
        parameters=(period(default, minimum=minimum), source()),
        aliases=aliases,
        memory=memory,
    )


def _distance_from_ma(c: _Columns, p: _Parameters) -> _Outputs:
    series = c["source"]
    average = mean(series, p["period"]) if p["ma_type"] == "sma" else ta.EMA(series, p["period"])
    return (100.0 * ratio(series - average, average, neutral=0.0),)


def _adx(c: _Columns, p: _Parameters) -> _Outputs:
    """Compute the ADX like TA-Lib, whose sums start with one movement less than the period: here the first one is 0.

    TA-Lib compares the two movements of a bar to the last bit; here they are compared with the tolerance of prices.
    """
    bars = p["period"]
    plus, minus, reach = _movements(c["high"], c["low"], c["close"])
    reach, plus, minus = (ta.RMA(part, bars) for part in (reach, plus, minus))
    plus, minus = (100.0 * ratio(part, reach, neutral=0.0) for part in (plus, minus))
    # The mean begins one bar after the sums have their first values.
    strength = ta.RMA(settled(100.0 * ratio(np.abs(plus - minus), plus + minus, neutral=0.0), bars), bars)
    adx = np.full(len(reach), np.nan)
    adx[len(reach) - len(strength) :] = strength
    return adx, plus, minus


def _movements(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Wilder's upward and downward movement and the true range of each bar, 0 for the first.

    Only the larger one of an upward and a downward movement counts, and neither if they are equal.
    """
    up, down = high[1:] - high[:-1], low[:-1] - low[1:]
    least = slack(np.maximum(np.abs(high[1:]), np.abs(low[1:])))
    plus, minus, reach = np.zeros(len(high)), np.zeros(len(high)), true_range(high, low, close)
    np.copyto(plus[1:], up, where=(up - down > least) & (up > 0.0))
    np.copyto(minus[1:], down, where=(down - up > least) & (down > 0.0))
    reach[:1] = 0.0
    return plus, minus, reach


def _parabolic_sar(c: _Columns, p: _Parameters) -> _Outputs:
    high, low = c["high"], c["low"]
    factors = (p["initial_af"], p["step_af"], p["max_af"])
    # TA-Lib marks a falling trend, where the stop is above the price, by the sign.
    signed = ta.SAREXT(high, low, 0.0, 0.0, *factors, *factors)
    stop, direction = np.abs(signed), np.sign(signed)
    return _with_stops_reached(high, low, stop, direction, factors)


def _with_stops_reached(
    high: np.ndarray, low: np.ndarray, stop: np.ndarray, direction: np.ndarray, factors: tuple[float, float, float]
) -> _Outputs:
    """Return stop and direction, with a price equal to the stop counted as reaching it; TA-Lib compares the last bit.

    They are recomputed only from a bar where TA-Lib decided otherwise to the next turn that both have in common.
    """
    rising = _rises_first(high, low)
    before = np.concatenate(([1.0 if rising else -1.0], direction[1:-1]))
    at = np.where(direction > 0.0, low <= highest_equal(stop), high >= lowest_equal(stop))[1:]
    missed = np.flatnonzero(at & (direction[1:] == before)) + 1
    if rising and low[0] - low[1] > max(high[1] - high[0], 0.0):
        missed = np.concatenate(([1], missed))
    if not len(missed):
        return stop, direction
    turns = np.flatnonzero(direction[2:] != direction[1:-1]) + 2
    drawn_stop, drawn_direction = stop.copy(), direction.copy()
    done = 0
    for row in missed.tolist():
        if row <= done:
            continue
        turn = int(np.searchsorted(turns, row, side="right")) - 1
        start = int(turns[turn]) if turn >= 0 else 0
        if start:
            state = (start, bool(direction[start] > 0.0), float(stop[start]))
        else:
            state = (0, rising, float(low[0] if rising else high[0]))
        done = len(high)
        for bar, way, level, turned in _parabolic_rows(high.data, low.data, *state, factors):
            drawn_stop[bar], drawn_direction[bar] = level, way
            # After a turn only its stop and its bar matter, so from a common turn on both results are equal.
            if turned and bar > row and way == direction[bar] != direction[bar - 1] and level == stop[bar]:
                done = bar
                break
    return drawn_stop, drawn_direction


def _rises_first(high: np.ndarray, low: np.ndarray) -> bool:
    """Return True unless the first move is downward; equal moves are not."""
    up, down = high[1] - high[0], low[0] - low[1]
    return not (down > 0.0 and down - up > slack(high[1]))


def _parabolic_rows(
    high: memoryview, low: memoryview, row: int, rising: bool, stop: float, factors: tuple[float, float, float]
) -> Iterator[tuple[int, float, float, bool]]:
    """Yield row, direction, stop and True if the trend turned, for each row after ``row``.

    Args:
        high: float64 ``(n,)``.
        low: float64 ``(n,)``.
        row: the row of a turn, or 0 for the first row.
        rising: True if the trend rises after ``row``.
        stop: the stop at ``row``.
        factors: initial acceleration factor, step at a new extreme, and maximum.
    """
    initial, step, most = factors
    factor = initial
    extreme = high[row or 1] if rising else low[row or 1]
    for bar in range(row + 1, len(high)):
        if row:
            # The stop moves, but not into the ranges of the two bars before. TA-Lib ignores the very first bar here.
            stop += factor * (extreme - stop)
            near = max(bar - 2, 1)
            stop = min(stop, low[near], low[bar - 1]) if rising else max(stop, high[near], high[bar - 1])
        row = bar
        top, bottom = high[bar], low[bar]
        turned = bottom <= highest_equal(stop) if rising else top >= lowest_equal(stop)
        if turned:
            rising = not rising
            stop, factor = extreme, initial
            extreme = top if rising else bottom
            near = max(bar - 1, 1)
            stop = min(stop, low[near], bottom) if rising else max(stop, high[near], top)
        elif rising and top > extreme:
            extreme, factor = top, min(factor + step, most)
        elif not rising and bottom < extreme:
            extreme, factor = bottom, min(factor + step, most)
        yield bar, 1.0 if rising else -1.0, stop, turned


def _acceleration_in_order(p: _Parameters) -> str | None:
    if max(p["initial_af"], p["step_af"]) <= p["max_af"]:
        return None
    return "`initial_af` and `step_af` must not be above `max_af`"


def _supertrend(c: _Columns, p: _Parameters) -> _Outputs:
    prices, bars, width = (c["high"], c["low"], c["close"]), p["period"], p["multiplier"]
    line, _ = ta.SUPERTREND(*prices, bars, width)
    # TA-Lib compares a close with a band to the last bit. With bands that are wider by the tolerance, a close on a band
    # is not beyond it; if that makes no difference, the line of the requested width is returned.
    wider, direction = ta.SUPERTREND(*prices, bars, highest_equal(width))
    return np.where(equal(line, wider), line, wider), direction.astype(np.float64)


def _ichimoku(c: _Columns, p: _Parameters) -> _Outputs:
    tenkan, kijun, span_b = (
        (highest(c["high"], p[name]) + lowest(c["low"], p[name])) / 2.0
        for name in ("tenkan_period", "kijun_period", "senkou_b_period")
    )
    displacement = p["displacement"]
    return tenkan, kijun, lagged((tenkan + kijun) / 2.0, displacement), lagged(span_b, displacement)


def _af(name: str, default: float, description: str) -> Parameter:
    return Parameter(name, "float", default, 0.0, 1.0, exclusive_minimum=True, description=description)


INDICATORS: tuple[IndicatorType, ...] = (
    _moving_average(
        "sma",
        "Simple Moving Average.",
        "Murphy, Technical Analysis of the Financial Markets (1999)",
        lambda p: p["period"] - 1,
        aliases=("simplemovingaverage", "simple_moving_average"),
        memory="window",
    ),
    _moving_average(
        "ema",
        "Exponential Moving Average, weight 2 / (period + 1), started with a simple mean of `period` bars.",
        "Murphy, Technical Analysis of the Financial Markets (1999)",
        lambda p: p["period"] - 1,
        aliases=("exponentialmovingaverage", "exponential_moving_average"),
    ),
    _moving_average(
        "wma",
        "Weighted Moving Average, weights falling linearly with age.",
        "Murphy, Technical Analysis of the Financial Markets (1999)",
        lambda p: p["period"] - 1,
        aliases=("weightedmovingaverage", "weighted_moving_average"),
        memory="window",
    ),
    _moving_average(
        "dema",
        "Double Exponential Moving Average: twice the EMA less the EMA of the EMA.",
        "Mulloy, Smoothing Data with Faster Moving Averages, Stocks & Commodities 12:1 (1994)",
        lambda p: 2 * (p["period"] - 1),
    ),
    _moving_average(
        "tema",
        "Triple Exponential Moving Average: 3 EMA - 3 EMA of EMA + EMA of EMA of EMA.",
        "Mulloy, Smoothing Data with Faster Moving Averages, Stocks & Commodities 12:1 (1994)",
        lambda p: 3 * (p["period"] - 1),
    ),
    _moving_average(
        "kama",
        "Kaufman Adaptive Moving Average: fast (2 bars) in a steady trend, slow (30) in noise.",
        "Kaufman, Smarter Trading (1995)",
        lambda p: p["period"],
        default=10,
        minimum=2,
    ),
    _moving_average(
        "hma",
        "Hull Moving Average: WMA over the root of the period, of twice the half-period WMA less the WMA.",
        "Hull, How to Reduce Lag in a Moving Average (2005)",
        lambda p: p["period"] + int(p["period"] ** 0.5) - 2,
        minimum=2,
        memory="window",
    ),
    IndicatorType(
        "distance_from_ma",
        "Percent by which the series is above (or below) its moving average.",
        "Pring, Technical Analysis Explained (2002), price oscillators",
        ("distance_from_ma",),
        _distance_from_ma,
        lambda p: p["period"] - 1,
        parameters=(
            period(20),
            Parameter("ma_type", "str", "sma", choices=("sma", "ema"), description="kind of moving average"),
            source(),
        ),
        aliases=("distancefromma",),
        memory_by={"ma_type": {"ema": "recursive"}},
    ),
    IndicatorType(
        "adx",
        "Average Directional Index: strength of a trend, from 0 to 100, with the two directional indicators.",
        f"{_WILDER}; as TA-Lib ADX, PLUS_DI and MINUS_DI{_TIES}",
        ("adx", "plus_di", "minus_di"),
        _adx,
        lambda p: 2 * p["period"] - 1,
        ("high", "low", "close"),
        (period(14, minimum=2, description="bars of Wilder's smoothing"),),
        output_aliases={"di_plus": "plus_di", "di_minus": "minus_di"},
        memory="recursive",
    ),
    IndicatorType(
        "parabolic_sar",
        "Parabolic Stop And Reverse: a stop that nears the price faster as the trend lasts; direction is 1 or -1.",
        f"{_WILDER}; as TA-Lib SAREXT{_TIES}",
        ("sar", "direction"),
        _parabolic_sar,
        lambda p: 1,
        ("high", "low"),
        (
            _af("initial_af", 0.02, "acceleration factor a trend begins with"),
            _af("step_af", 0.02, "what each new extreme adds to it"),
            _af("max_af", 0.2, "its upper limit"),
        ),
        aliases=("parabolicsar", "sar"),
        memory="recursive",
        rule=_acceleration_in_order,
    ),
    IndicatorType(
        "supertrend",
        "SuperTrend: a trailing band `multiplier` true ranges from the bar's middle; direction is 1 or -1.",
        f"Seban, Tout le monde mérite d'être riche (2008); Wilder's average true range, as TA-Lib SUPERTREND{_TIES}",
        ("trend", "direction"),
        _supertrend,
        lambda p: p["period"],
        ("high", "low", "close"),
        (
            period(10, minimum=2, description="bars of the average true range"),
            multiplier(3.0, description="average true ranges between the bar's middle and the band"),
        ),
        output_aliases={"supertrend": "trend"},
        memory="recursive",
    ),
    IndicatorType(
        "ichimoku",
        "Ichimoku Kinko Hyo: conversion and base line, and the cloud that stands at this bar, drawn `displacement` bars"
        " ago. The lagging span is left out: it is the close that will be known `displacement` bars later.",
        "Hosoda, Ichimoku Kinko Hyo (1969); Elliott, Ichimoku Charts (2007)",
        ("tenkan", "kijun", "senkou_a", "senkou_b"),
        _ichimoku,
        lambda p: max(p["tenkan_period"], p["kijun_period"], p["senkou_b_period"]) - 1 + p["displacement"],
        ("high", "low"),
        (
            period(9, "tenkan_period", description="bars of the conversion line"),
            period(26, "kijun_period", description="bars of the base line"),
            period(52, "senkou_b_period", description="bars of leading span B"),
            period(26, "displacement", minimum=0, description="bars by which the leading spans are drawn ahead"),
        ),
    ),
)

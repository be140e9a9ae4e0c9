"""Moving averages and trends against formulas written down row by row."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from ktrdr.core.indicators import trend


def of_source(method):
    return lambda slow, bars, p: [method(slow, slow.source(bars, p["source"]), p["period"])]


def dema(slow, x, period):
    first = slow.ema(x, period)
    return 2 * first - slow.ema(first, period)


def tema(slow, x, period):
    first = slow.ema(x, period)
    second = slow.ema(first, period)
    return 3 * first - 3 * second + slow.ema(second, period)


def kama(slow, x, period):
    fast, lazy = 2 / (2 + 1), 2 / (30 + 1)
    level, result = x[period - 1], []
    for row in range(len(x)):
        if row >= period:
            path = math.fsum(abs(x[i] - x[i - 1]) for i in range(row - period + 1, row + 1))
            straight = abs(x[row] - x[row - period]) / path if path else 1.0
            level += (straight * (fast - lazy) + lazy) ** 2 * (x[row] - level)
        result.append(level if row >= period else math.nan)
    return np.array(result)


def hma(slow, x, period):
    raw = 2 * slow.weighted(x, period // 2) - slow.weighted(x, period)
    return slow.weighted(raw, math.isqrt(period))


def distance_from_ma(slow, bars, p):
    x = slow.source(bars, p["source"])
    average = slow.mean(x, p["period"]) if p["ma_type"] == "sma" else slow.ema(x, p["period"])
    return [100 * (x / average - 1)]


def adx(slow, bars, p):
    period = p["period"]

    def movement(row, own, other):
        """Wilder's directional movement: only the larger of the two counts, and only if it is one."""
        return float(own(row)) if own(row) > other(row) and own(row) > 0 else 0.0

    # Subtracted as decimals: floats tell equal movements apart.
    high, low = ([Decimal(repr(price)) for price in prices.tolist()] for prices in (bars.high, bars.low))

    def up(row):
        return high[row] - high[row - 1]

    def down(row):
        return low[row - 1] - low[row]

    rows = len(bars)
    parts = (
        slow.rows(rows, 1, lambda row: movement(row, up, down)),
        slow.rows(rows, 1, lambda row: movement(row, down, up)),
        slow.true_range(bars),
    )

    def accumulated(x):
        """Wilder's sum, which loses a part of itself with each bar; TA-Lib starts it with `period - 1` bars."""
        level = math.fsum(x[1:period])
        sums = [math.nan] * period
        for row in range(period, rows):
            level += x[row] - level / period
            sums.append(level)
        return np.array(sums)

    plus, minus, reach = (accumulated(x) for x in parts)
    plus, minus = slow.over(100 * plus, reach, 0.0), slow.over(100 * minus, reach, 0.0)
    strength = 100 * slow.over(np.abs(plus - minus), plus + minus, 0.0)
    return [slow.wilder(strength, period), plus, minus]


def parabolic_sar(slow, bars, p):
    high, low = bars.high, bars.low
    falling_first = low[0] - low[1] > max(high[1] - high[0], 0)
    direction = -1 if falling_first else 1
    stop, extreme = (high[0], low[1]) if falling_first else (low[0], high[1])
    factor = p["initial_af"]

    def outside(stop, row):
        """Not within the ranges of this bar and the one before; of the very first bar TA-Lib takes no notice."""
        two = slice(max(row - 1, 1), row + 1)
        return min(stop, *low[two]) if direction > 0 else max(stop, *high[two])

    stops, directions = [math.nan], [math.nan]
    for row in range(1, len(bars)):
        if low[row] <= stop if direction > 0 else high[row] >= stop:
            direction = -direction
            stop, factor = extreme, p["initial_af"]
            extreme = high[row] if direction > 0 else low[row]
            stop = outside(stop, row)
        else:
            new = high[row] if direction > 0 else low[row]
            if (new - extreme) * direction > 0:
                extreme, factor = new, min(factor + p["step_af"], p["max_af"])
        stops.append(stop)
        directions.append(direction)
        stop = outside(stop + factor * (extreme - stop), row)
    return [np.array(stops), np.array(directions, dtype=np.float64)]


def supertrend(slow, bars, p):
    middle = slow.source(bars, "hl2")
    reach = p["multiplier"] * slow.wilder(slow.true_range(bars), p["period"])
    top, bottom, direction = math.inf, -math.inf, 1
    line, directions = [], []
    for row in range(len(bars)):
        if math.isnan(reach[row]):
            line.append(math.nan)
            directions.append(math.nan)
            continue
        upper, lower, before = middle[row] + reach[row], middle[row] - reach[row], bars.close[row - 1]
        # A band only comes nearer to the price, until the price has closed beyond it.
        new_top = upper if upper < top or before > top else top
        new_bottom = lower if lower > bottom or before < bottom else bottom
        if direction > 0 and bars.close[row] < new_bottom:
            direction = -1
        elif direction < 0 and bars.close[row] > new_top:
            direction = 1
        top, bottom = new_top, new_bottom
        line.append(bottom if direction > 0 else top)
        directions.append(direction)
    return [np.array(line), np.array(directions, dtype=np.float64)]


def ichimoku(slow, bars, p):
    def middle(name):
        return (slow.highest(bars.high, p[name]) + slow.lowest(bars.low, p[name])) / 2

    tenkan, kijun = middle("tenkan_period"), middle("kijun_period")
    ahead = p["displacement"]
    return [tenkan, kijun, slow.lag((tenkan + kijun) / 2, ahead), slow.lag(middle("senkou_b_period"), ahead)]


REFERENCES = {
    "sma": (of_source(lambda slow, x, n: slow.mean(x, n)), {"period": 1}, {"period": 200, "source": "hlc3"}),
    "ema": (of_source(lambda slow, x, n: slow.ema(x, n)), {"period": 1}, {"period": 200, "source": "open"}),
    "wma": (of_source(lambda slow, x, n: slow.weighted(x, n)), {"period": 1}, {"period": 50, "source": "ohlc4"}),
    "dema": (of_source(dema), {"period": 1}, {"period": 50, "source": "hl2"}),
    "tema": (of_source(tema), {"period": 1}, {"period": 50, "source": "high"}),
    "kama": (of_source(kama), {"period": 2}, {"period": 30, "source": "low"}),
    "hma": (of_source(hma), {"period": 2}, {"period": 9}, {"period": 50, "source": "hl2"}),
    "distance_from_ma": (distance_from_ma, {"ma_type": "ema"}, {"period": 50, "source": "volume"}),
    "adx": (adx, {"period": 2}, {"period": 30}),
    "parabolic_sar": (parabolic_sar, {"initial_af": 0.05, "step_af": 0.01, "max_af": 0.1}),
    "supertrend": (supertrend, {"period": 2, "multiplier": 1.5}, {"period": 30, "multiplier": 0.5}),
    "ichimoku": (
        ichimoku,
        {"displacement": 0},
        {"tenkan_period": 1, "kijun_period": 60, "senkou_b_period": 5, "displacement": 3},
    ),
}


@pytest.mark.parametrize("name", [indicator.name for indicator in trend.INDICATORS])
def test_equals_the_formula_written_down_row_by_row(agrees, name):
    assert name in REFERENCES, f"write down what {name} is"
    agrees(name, *REFERENCES[name])

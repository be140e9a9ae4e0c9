"""Ranges and bands against formulas written down row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ktrdr.core.indicators import volatility


def atr(slow, bars, p):
    return [slow.wilder(slow.true_range(bars), p["period"])]


def natr(slow, bars, p):
    return [100 * atr(slow, bars, p)[0] / bars.close]


def bands(slow, x, period, factor):
    middle, reach = slow.mean(x, period), factor * slow.deviation(x, period)
    return [middle + reach, middle, middle - reach]


def bbands(slow, bars, p):
    return bands(slow, slow.source(bars, p["source"]), p["period"], p["multiplier"])


def bbands_width(slow, bars, p):
    upper, middle, lower = bbands(slow, bars, p)
    return [(upper - lower) / middle]


def channel(slow, bars, x, period, atr_period, factor):
    middle, reach = slow.ema(x, period), factor * slow.wilder(slow.true_range(bars), atr_period)
    return [middle + reach, middle, middle - reach]


def keltner(slow, bars, p):
    x = slow.source(bars, p["source"])
    return channel(slow, bars, x, p["period"], p["atr_period"], p["multiplier"])


def donchian(slow, bars, p):
    upper, lower = slow.highest(bars.high, p["period"]), slow.lowest(bars.low, p["period"])
    return [upper, (upper + lower) / 2, lower]


def squeeze(slow, bars, p):
    x = slow.source(bars, p["source"])
    band_top, _, band_bottom = bands(slow, x, p["bb_period"], p["bb_multiplier"])
    top, _, bottom = channel(slow, bars, x, p["kc_period"], p["atr_period"], p["kc_multiplier"])

    def value(row):
        """How far the nearer of the two bands is inside."""
        inside = min(top[row] - band_top[row], band_bottom[row] - bottom[row])
        return max(inside, 0.0) / (top[row] - bottom[row])

    return [slow.rows(len(bars), 0, value)]


def volatility_(slow, bars, p):
    x = slow.source(bars, p["source"])
    returns = slow.rows(len(x), 1, lambda i: math.log(x[i] / x[i - 1]))
    return [slow.deviation(returns, p["period"], degrees=1)]


def stddev(slow, bars, p):
    return [slow.deviation(slow.source(bars, p["source"]), p["period"])]


def choppiness(slow, bars, p):
    path = slow.total(slow.true_range(bars), p["period"])
    way = slow.highest(bars.high, p["period"]) - slow.lowest(bars.low, p["period"])
    return [100 * np.log10(path / way) / math.log10(p["period"])]


REFERENCES = {
    "atr": (atr, {"period": 1}, {"period": 50}),
    "natr": (natr, {"period": 1}, {"period": 50}),
    "bbands": (bbands, {"period": 2, "multiplier": 0.5}, {"period": 60, "source": "hlc3"}),
    "bbands_width": (bbands_width, {"period": 2, "multiplier": 0.5}, {"period": 60, "source": "hlc3"}),
    "keltner": (
        keltner,
        {"period": 1, "atr_period": 30, "multiplier": 1.0},
        {"period": 50, "atr_period": 1, "source": "hlc3"},
    ),
    "donchian": (donchian, {"period": 1}, {"period": 55}),
    "squeeze": (
        squeeze,
        {"bb_period": 10, "bb_multiplier": 1.0, "kc_period": 1, "kc_multiplier": 3.0, "atr_period": 30},
        {"bb_period": 5, "kc_period": 40, "atr_period": 1, "source": "hl2"},
    ),
    "volatility": (volatility_, {"period": 2}, {"period": 60, "source": "hl2"}),
    "stddev": (stddev, {"period": 2}, {"period": 60, "source": "volume"}),
    "choppiness": (choppiness, {"period": 2}, {"period": 60}),
}


@pytest.mark.parametrize("name", [indicator.name for indicator in volatility.INDICATORS])
def test_equals_the_formula_written_down_row_by_row(agrees, name):
    assert name in REFERENCES, f"write down what {name} is"
    agrees(name, *REFERENCES[name])

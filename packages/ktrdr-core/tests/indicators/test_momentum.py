"""Oscillators against formulas written down row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ktrdr.core.indicators import momentum


def rsi(slow, bars, p):
    x = slow.source(bars, p["source"])
    change = slow.rows(len(x), 1, lambda i: x[i] - x[i - 1])
    rises = slow.wilder(np.maximum(change, 0), p["period"])
    falls = slow.wilder(np.maximum(-change, 0), p["period"])
    return [slow.rows(len(x), 1, lambda i: 100 - 100 / (1 + rises[i] / falls[i]) if falls[i] else 100.0)]


def roc(slow, bars, p):
    x = slow.source(bars, p["source"])
    return [slow.rows(len(x), p["period"], lambda i: (x[i] / x[i - p["period"]] - 1) * 100)]


def momentum_(slow, bars, p):
    x = slow.source(bars, p["source"])
    return [slow.rows(len(x), p["period"], lambda i: x[i] - x[i - p["period"]])]


def cci(slow, bars, p):
    typical = slow.source(bars, "hlc3")

    def value(inside):
        middle = math.fsum(inside) / len(inside)
        deviation = math.fsum(abs(x - middle) for x in inside) / len(inside)
        return (inside[-1] - middle) / (0.015 * deviation) if deviation else 0.0

    return [slow.window(typical, p["period"], value)]


def place(slow, bars, period):
    """0 at the lowest low of the window, 1 at its highest high."""
    high, low = slow.highest(bars.high, period), slow.lowest(bars.low, period)
    return slow.over(bars.close - low, high - low, 0.5)


def williams_r(slow, bars, p):
    return [-100 * (1 - place(slow, bars, p["period"]))]


def stochastic(slow, bars, p):
    k = slow.mean(100 * place(slow, bars, p["k_period"]), p["smooth_k"])
    return [k, slow.mean(k, p["d_period"])]


def rvi(slow, bars, p):
    def weighted(x):
        return slow.rows(len(x), 3, lambda i: (x[i] + 2 * x[i - 1] + 2 * x[i - 2] + x[i - 3]) / 6)

    vigor = slow.total(weighted(bars.close - bars.open), p["period"])
    line = slow.over(vigor, slow.total(weighted(bars.high - bars.low), p["period"]), 0.0)
    return [line, slow.mean(line, p["signal_period"])]


def fisher(slow, bars, p):
    middle = slow.source(bars, "hl2")
    high, low = slow.highest(bars.high, p["period"]), slow.lowest(bars.low, p["period"])

    def value(row):
        x = 2 * (middle[row] - low[row]) / (high[row] - low[row]) - 1
        x = min(max(x, -0.999), 0.999)
        return 0.5 * math.log((1 + x) / (1 - x))

    line = slow.ema(slow.rows(len(bars), p["period"] - 1, value), p["smoothing"])
    return [line, slow.lag(line, 1)]


def aroon(slow, bars, p):
    period = p["period"]

    def since(inside):
        """Bars since the largest value, the latest if there are several."""
        return int(np.argmax(inside[::-1]))

    up = 100 * (period - slow.window(bars.high, period + 1, since)) / period
    down = 100 * (period - slow.window(-bars.low, period + 1, since)) / period
    return [up, down, up - down]


def aroon_oscillator(slow, bars, p):
    return [aroon(slow, bars, p)[2]]


def macd(slow, bars, p):
    x = slow.source(bars, p["source"])
    # Both means start on the same bar, the fast one from the last of the bars the slow one starts from.
    late = x.copy()
    late[: p["slow_period"] - p["fast_period"]] = math.nan
    line = slow.ema(late, p["fast_period"]) - slow.ema(x, p["slow_period"])
    signal = slow.ema(line, p["signal_period"])
    return [line, signal, line - signal]


def ppo(slow, bars, p):
    x = slow.source(bars, p["source"])
    slow_mean = slow.ema(x, p["slow_period"])
    line = 100 * (slow.ema(x, p["fast_period"]) - slow_mean) / slow_mean
    signal = slow.ema(line, p["signal_period"])
    return [line, signal, line - signal]


def trix(slow, bars, p):
    x = slow.source(bars, p["source"])
    for _ in range(3):
        x = slow.ema(x, p["period"])
    return [slow.rows(len(x), 1, lambda i: 100 * (x[i] / x[i - 1] - 1))]


def chande_momentum(slow, bars, p):
    x = slow.source(bars, p["source"])
    change = slow.rows(len(x), 1, lambda i: x[i] - x[i - 1])
    rises = slow.wilder(np.maximum(change, 0), p["period"])
    falls = slow.wilder(np.maximum(-change, 0), p["period"])
    return [100 * (rises - falls) / (rises + falls)]


def ultimate_oscillator(slow, bars, p):
    bottom = slow.rows(len(bars), 1, lambda i: min(bars.low[i], bars.close[i - 1]))
    pressure, reach = bars.close - bottom, slow.true_range(bars)
    shares = [
        slow.total(pressure, p[name]) / slow.total(reach, p[name])
        for name in ("fast_period", "medium_period", "slow_period")
    ]
    return [100 * (4 * shares[0] + 2 * shares[1] + shares[2]) / 7]


def vortex(slow, bars, p):
    plus = slow.rows(len(bars), 1, lambda i: abs(bars.high[i] - bars.low[i - 1]))
    minus = slow.rows(len(bars), 1, lambda i: abs(bars.low[i] - bars.high[i - 1]))
    reach = slow.total(slow.true_range(bars), p["period"])
    return [slow.total(movement, p["period"]) / reach for movement in (plus, minus)]


REFERENCES = {
    "rsi": (rsi, {"period": 2}, {"period": 50, "source": "hl2"}),
    "roc": (roc, {"period": 1, "source": "volume"}),
    "momentum": (momentum_, {"period": 33, "source": "open"}),
    "cci": (cci, {"period": 2}, {"period": 40}),
    "williams_r": (williams_r, {"period": 3}),
    "stochastic": (stochastic, {"k_period": 5, "smooth_k": 1, "d_period": 1}, {"k_period": 20, "d_period": 7}),
    "rvi": (rvi, {"period": 1, "signal_period": 1}, {"period": 5, "signal_period": 9}),
    "fisher": (fisher, {"period": 2, "smoothing": 1}, {"period": 30, "smoothing": 8}),
    "aroon": (aroon, {"period": 2}, {"period": 25}),
    "aroon_oscillator": (aroon_oscillator, {"period": 2}, {"period": 25}),
    "macd": (macd, {"fast_period": 2, "slow_period": 3, "signal_period": 2}, {"slow_period": 40, "source": "ohlc4"}),
    "ppo": (ppo, {"fast_period": 2, "slow_period": 3, "signal_period": 2}, {"slow_period": 40, "source": "high"}),
    "trix": (trix, {"period": 1}, {"period": 9, "source": "hlc3"}),
    "chande_momentum": (chande_momentum, {"period": 2}, {"period": 30, "source": "low"}),
    "ultimate_oscillator": (
        ultimate_oscillator,
        {"fast_period": 1, "medium_period": 2, "slow_period": 3},
        {"fast_period": 5, "medium_period": 30, "slow_period": 70},
    ),
    "vortex": (vortex, {"period": 2}, {"period": 40}),
}


@pytest.mark.parametrize("name", [indicator.name for indicator in momentum.INDICATORS])
def test_equals_the_formula_written_down_row_by_row(agrees, name):
    assert name in REFERENCES, f"write down what {name} is"
    agrees(name, *REFERENCES[name])

"""What says it is as TA-Lib does it, against TA-Lib called here, on all of the real bars."""

from __future__ import annotations

import re

import numpy as np
import pytest
import talib

from ktrdr.core.indicators.computation import compute_indicator, source_series
from ktrdr.core.indicators.registry import get_indicator, indicator_names


def of_prices(function, *names):
    return lambda b, p: [function(b.high, b.low, b.close, *(p[name] for name in names))]


def of_source(function, *names):
    return lambda b, p: [function(source_series(b, p["source"]), *(p[name] for name in names))]


def several(function):
    return lambda b, p: function(b, p)[0]


def ticks(values):
    """Return prices in steps of 0.00001, which floats hold exactly: TA-Lib compares and subtracts to the last bit."""
    return np.round(values * 1e5)


def slope(b, p):
    return [talib.LINEARREG_SLOPE(ticks(source_series(b, p["source"])), p["period"]) / 1e5]


def directions(b, p):
    prices = [ticks(column) for column in (b.high, b.low, b.close)]
    return [function(*prices, p["period"]) for function in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)]


def sar(b, p):
    factors = (p["initial_af"], p["step_af"], p["max_af"])
    values = talib.SAREXT(b.high, b.low, 0.0, 0.0, *factors, *factors)
    return [np.abs(values), np.sign(values)]


def ppo(b, p):
    line = talib.PPO(source_series(b, p["source"]), p["fast_period"], p["slow_period"], talib.MA_Type.EMA)
    signal = np.full(len(line), np.nan)
    signal[p["slow_period"] - 1 :] = talib.EMA(line[p["slow_period"] - 1 :], p["signal_period"])
    return [line, signal, line - signal]


def bands(b, p):
    return talib.BBANDS(source_series(b, p["source"]), p["period"], p["multiplier"], p["multiplier"])


CALLS = {
    "rsi": of_source(talib.RSI, "period"),
    "roc": of_source(talib.ROC, "period"),
    "momentum": of_source(talib.MOM, "period"),
    "cci": of_prices(talib.CCI, "period"),
    "williams_r": of_prices(talib.WILLR, "period"),
    "stochastic": lambda b, p: talib.STOCH(
        b.high, b.low, b.close, p["k_period"], p["smooth_k"], talib.MA_Type.SMA, p["d_period"], talib.MA_Type.SMA
    ),
    "aroon": lambda b, p: [
        *reversed(talib.AROON(b.high, b.low, p["period"])),
        talib.AROONOSC(b.high, b.low, p["period"]),
    ],
    "aroon_oscillator": lambda b, p: [talib.AROONOSC(b.high, b.low, p["period"])],
    "macd": several(of_source(talib.MACD, "fast_period", "slow_period", "signal_period")),
    "ppo": ppo,
    "trix": of_source(talib.TRIX, "period"),
    "chande_momentum": of_source(talib.CMO, "period"),
    "ultimate_oscillator": of_prices(talib.ULTOSC, "fast_period", "medium_period", "slow_period"),
    "vortex": several(of_prices(talib.VORTEX, "period")),
    "sma": of_source(talib.SMA, "period"),
    "ema": of_source(talib.EMA, "period"),
    "wma": of_source(talib.WMA, "period"),
    "dema": of_source(talib.DEMA, "period"),
    "tema": of_source(talib.TEMA, "period"),
    "kama": of_source(talib.KAMA, "period"),
    "hma": of_source(talib.HMA, "period"),
    "adx": directions,
    "parabolic_sar": sar,
    "supertrend": several(of_prices(talib.SUPERTREND, "period", "multiplier")),
    "atr": of_prices(talib.ATR, "period"),
    "natr": of_prices(talib.NATR, "period"),
    "bbands": bands,
    "keltner": lambda b, p: talib.KC(b.high, b.low, b.close, p["period"], p["atr_period"], p["multiplier"]),
    "donchian": lambda b, p: talib.DONCHIAN(b.high, b.low, p["period"]),
    "stddev": of_source(talib.STDDEV, "period"),
    "obv": lambda b, p: [talib.OBV(b.close, b.volume)],
    "mfi": lambda b, p: [talib.MFI(b.high, b.low, b.close, b.volume, p["period"])],
    "cmf": lambda b, p: [talib.CMF(b.high, b.low, b.close, b.volume, p["period"])],
    "ad_line": lambda b, p: [talib.AD(b.high, b.low, b.close, b.volume)],
    "linreg_slope": slope,
    "percentile_rank": of_source(talib.PERCENTRANK, "period"),
}
# TA-Lib leaves no choice of the series, and starts the average true range at another bar.
ONLY = {"keltner": {"source": "hlc3"}}
SETTLES = {"keltner": 1_000}
AS_TALIB = [name for name in indicator_names() if re.search(r"as TA-Lib", get_indicator(name).reference)]


@pytest.mark.parametrize("share", [1.0, 2.3], ids=["defaults", "longer"])
@pytest.mark.parametrize("name", AS_TALIB)
def test_equals_talib(eurusd, apple, name, share):
    assert name in CALLS, f"{name} says it is as TA-Lib: call TA-Lib here"
    indicator = get_indicator(name)
    given = {
        parameter.name: int(parameter.default * share)
        for parameter in indicator.parameters
        if parameter.kind == "int" and share != 1.0
    }
    given |= ONLY.get(name, {})
    parameters, problems = indicator.validate(given)
    assert not problems
    for bars in (eurusd, apple):
        expected = CALLS[name](bars, parameters)
        found = compute_indicator(name, given, bars)
        assert len(expected) == len(found)
        warmup = max(indicator.warmup(parameters), SETTLES.get(name, 0))
        for (output, values), theirs in zip(found.items(), expected, strict=True):
            assert np.isfinite(values[warmup:]).all()
            size = np.abs(values[warmup:]).max()
            np.testing.assert_allclose(
                values[warmup:], theirs[warmup:], rtol=1e-10, atol=1e-11 * size, err_msg=f"{output} of {bars.symbol}"
            )


def test_every_call_here_is_of_a_type_that_says_so():
    assert set(CALLS) == set(AS_TALIB)


@pytest.mark.parametrize("name", AS_TALIB)
def test_the_functions_a_reference_names_exist(name):
    functions = re.search(r"as TA-Lib ([A-Z_, and]+)", get_indicator(name).reference)
    assert functions is not None
    assert set(re.findall(r"[A-Z_]{2,}", functions[1])) <= set(talib.get_functions())

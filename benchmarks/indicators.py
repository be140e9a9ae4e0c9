"""Indicators with default parameters, against bare TA-Lib calls for the same outputs, and against pandas-ta-classic.

    python benchmarks/indicators.py [--quick] [--only TEXT] [--json FILE]

pandas-ta-classic runs its own formulas (`talib=False`); by default it calls TA-Lib if that is installed. Its formulas
differ from those of TA-Lib at the beginning of a series and elsewhere, so that indicators of the same name and period
are compared, but not every value. Some of its loops are compiled by numba, which is installed here with vectorbt; the
compilation is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from harness import Contest, Figure, find, main
from made_up import random_walk, warm_allocator

from ktrdr.core.data.bars import Bars
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import indicator_names

TALIB, PANDAS_TA, ALL = "indicators of TA-Lib", "indicators of pandas-ta-classic", "all indicators"
RATIO, SECONDS = 2.0, 0.5


def bare_calls(b: Bars) -> Mapping[str, Callable[[], Any]]:
    """Return the calls of TA-Lib for the same outputs."""
    import talib

    high, low, close, volume = b.high, b.low, b.close, b.volume
    return {
        "rsi": lambda: talib.RSI(close, 14),
        "roc": lambda: talib.ROC(close, 10),
        "momentum": lambda: talib.MOM(close, 10),
        "cci": lambda: talib.CCI(high, low, close, 20),
        "williams_r": lambda: talib.WILLR(high, low, close, 14),
        "stochastic": lambda: talib.STOCH(high, low, close, 14, 3, 0, 3, 0),
        "aroon": lambda: (talib.AROON(high, low, 14), talib.AROONOSC(high, low, 14)),
        "aroon_oscillator": lambda: talib.AROONOSC(high, low, 14),
        "macd": lambda: talib.MACD(close, 12, 26, 9),
        "ppo": lambda: talib.EMA(talib.PPO(close, 12, 26, 1), 9),
        "trix": lambda: talib.TRIX(close, 15),
        "chande_momentum": lambda: talib.CMO(close, 14),
        "ultimate_oscillator": lambda: talib.ULTOSC(high, low, close, 7, 14, 28),
        "vortex": lambda: talib.VORTEX(high, low, close, 14),
        "sma": lambda: talib.SMA(close, 20),
        "ema": lambda: talib.EMA(close, 20),
        "wma": lambda: talib.WMA(close, 20),
        "dema": lambda: talib.DEMA(close, 20),
        "tema": lambda: talib.TEMA(close, 20),
        "kama": lambda: talib.KAMA(close, 10),
        "hma": lambda: talib.HMA(close, 20),
        "adx": lambda: [f(high, low, close, 14) for f in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)],
        "parabolic_sar": lambda: talib.SAREXT(high, low, 0.0, 0.0, 0.02, 0.02, 0.2, 0.02, 0.02, 0.2),
        "supertrend": lambda: talib.SUPERTREND(high, low, close, 10, 3.0),
        "atr": lambda: talib.ATR(high, low, close, 14),
        "natr": lambda: talib.NATR(high, low, close, 14),
        "bbands": lambda: talib.BBANDS(close, 20, 2.0, 2.0),
        "keltner": lambda: talib.KC(high, low, close, 20, 10, 2.0),
        "donchian": lambda: talib.DONCHIAN(high, low, 20),
        "stddev": lambda: talib.STDDEV(close, 20),
        "obv": lambda: talib.OBV(close, volume),
        "mfi": lambda: talib.MFI(high, low, close, volume, 14),
        "cmf": lambda: talib.CMF(high, low, close, volume, 21),
        "ad_line": lambda: talib.AD(high, low, close, volume),
        "linreg_slope": lambda: talib.LINEARREG_SLOPE(close, 14),
        "percentile_rank": lambda: talib.PERCENTRANK(close, 100),
    }


def pandas_ta_calls(b: Bars) -> Mapping[str, Callable[[], Any]]:
    """Return the calls of pandas-ta-classic."""
    import pandas_ta_classic as ta

    frame = b.to_frame()
    high, low, close, volume = (frame[name] for name in ("high", "low", "close", "volume"))
    own = {"talib": False}
    return {
        "rsi": lambda: ta.rsi(close, 14, **own),
        "roc": lambda: ta.roc(close, 10, **own),
        "momentum": lambda: ta.mom(close, 10, **own),
        "cci": lambda: ta.cci(high, low, close, 20, **own),
        "williams_r": lambda: ta.willr(high, low, close, 14, **own),
        "stochastic": lambda: ta.stoch(high, low, close, 14, 3, 3, **own),
        "aroon": lambda: ta.aroon(high, low, 14, **own),
        "macd": lambda: ta.macd(close, 12, 26, 9, **own),
        "ppo": lambda: ta.ppo(close, 12, 26, 9, **own),
        "trix": lambda: ta.trix(close, 15, **own),
        "chande_momentum": lambda: ta.cmo(close, 14, **own),
        "ultimate_oscillator": lambda: ta.uo(high, low, close, 7, 14, 28, **own),
        "vortex": lambda: ta.vortex(high, low, close, 14),
        "sma": lambda: ta.sma(close, 20, **own),
        "ema": lambda: ta.ema(close, 20, **own),
        "wma": lambda: ta.wma(close, 20, **own),
        "dema": lambda: ta.dema(close, 20, **own),
        "tema": lambda: ta.tema(close, 20, **own),
        "kama": lambda: ta.kama(close, 10, **own),
        "hma": lambda: ta.hma(close, 20),
        "adx": lambda: ta.adx(high, low, close, 14, **own),
        "parabolic_sar": lambda: ta.psar(high, low, close, 0.02, 0.02, 0.2, **own),
        "supertrend": lambda: ta.supertrend(high, low, close, 10, 3.0),
        "atr": lambda: ta.atr(high, low, close, 14, **own),
        "natr": lambda: ta.natr(high, low, close, 14, **own),
        "bbands": lambda: ta.bbands(close, 20, 2.0, **own),
        "keltner": lambda: ta.kc(high, low, close, 20, 2.0),
        "donchian": lambda: ta.donchian(high, low, 20, 20),
        "stddev": lambda: ta.stdev(close, 20, **own),
        "obv": lambda: ta.obv(close, volume, **own),
        "mfi": lambda: ta.mfi(high, low, close, volume, 14, **own),
        "cmf": lambda: ta.cmf(high, low, close, volume, length=21),
        "ad_line": lambda: ta.ad(high, low, close, volume, **own),
    }


Case = tuple[Bars, Mapping[str, Callable[[], Any]]]


def case(calls: Callable[[Bars], Mapping[str, Callable[[], Any]]], size: int) -> Case:
    """Return bars and the calls of a peer."""
    warm_allocator()
    bars = random_walk(size)
    return bars, calls(bars)


def ours(given: Case) -> None:
    """Compute the indicators that the peer has too."""
    for name in given[1]:
        compute_indicator(name, {}, given[0])


def theirs(given: Case) -> None:
    """Make all calls of the peer."""
    for call in given[1].values():
        call()


def everything(given: Case) -> None:
    """Compute every indicator of the grammar."""
    for name in indicator_names():
        compute_indicator(name, {}, given[0])


def contests(quick: bool) -> list[Contest]:
    """Return the contests: all indicators at three sizes, then each type against TA-Lib at one."""
    names = list(bare_calls(random_walk(2)))
    wide = (500, 1_000, 2_000) if quick else (10_000, 100_000, 1_000_000)
    found = [
        Contest(
            TALIB,
            {"ktrdr": ours, "TA-Lib": theirs},
            partial(case, bare_calls),
            sizes=wide,
            unit="bars",
            rounds=2 if quick else 5,
        ),
        Contest(
            PANDAS_TA,
            {"ktrdr": ours, "pandas-ta-classic": theirs},
            partial(case, (lambda bars: {"rsi": pandas_ta_calls(bars)["rsi"]}) if quick else pandas_ta_calls),
            sizes=(500, 1_000, 2_000) if quick else (10_000, 30_000, 100_000),
            unit="bars",
            rounds=2 if quick else 3,
        ),
        Contest(
            ALL,
            {"ktrdr": everything},
            partial(case, lambda bars: {}),
            sizes=wide,
            unit="bars",
            rounds=2 if quick else 5,
        ),
    ]
    for name in names:

        def one(bars: Bars, name: str) -> Case:
            return bars, {name: bare_calls(bars)[name]}

        found.append(
            Contest(
                f"indicator {name}",
                group="each indicator beside TA-Lib",
                programs={"ktrdr": ours, "TA-Lib": theirs},
                prepare=lambda size, name=name, one=one: one(random_walk(size), name),
                sizes=(1_000,) if quick else (100_000,),
                unit="bars",
                rounds=2 if quick else 9,
            )
        )
    return found


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield times with their limits."""
    size = 1_000 if quick else 100_000
    row = find(rows, TALIB, "TA-Lib", size)
    yield Figure(
        "indicators of TA-Lib beside its bare calls",
        1 / row["ratio_cpu"]["median"],
        "times",
        at_most=RATIO,
        of=f"{size:,} bars",
    )
    row = find(rows, ALL, "ktrdr", size)
    yield Figure("every indicator", row["cpu"]["best"], "s of CPU", at_most=SECONDS, of=f"{size:,} bars")


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

"""Every indicator at its defaults on 100,000 bars, against the bare TA-Lib calls it could be made of.

Run with `python benchmarks/indicators.py`. Each type and its TA-Lib call are timed in turn, so that what else the
machine does meets both; the shortest CPU time of several runs counts. Aims: the types TA-Lib has within twice the sum
of its calls, all types together under half a second.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import talib

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.indicators.compute import compute_indicator
from ktrdr.core.indicators.registry import indicator_names

RATIO, SECONDS = 2.0, 0.5


def random_bars(n: int) -> Bars:
    """Return a random walk of one-minute bars on a grid of 0.00001, as quotes are."""
    random = np.random.default_rng(0)
    close = np.round(1.1 * np.exp(np.cumsum(random.normal(0, 1e-4, n))), 5)
    open_ = np.concatenate((close[:1], close[:-1]))
    reach = np.round(random.random((2, n)) * 2e-4, 5)
    return Bars(
        "EURUSD",
        Timeframe("1m"),
        np.datetime64("2015-01-01", "ns") + np.arange(n) * np.timedelta64(60, "s"),
        open_,
        np.maximum(open_, close) + reach[0],
        np.minimum(open_, close) - reach[1],
        close,
        random.integers(1, 1000, n).astype(np.float64),
    )


def bare_calls(b: Bars) -> Mapping[str, Callable[[], Any]]:
    """Return what TA-Lib is called with for the same outputs."""
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


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Return the CPU time of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(bars: int, repeats: int) -> list[dict[str, Any]]:
    """Return for each type its shortest time, and that of the bare calls, in milliseconds."""
    data = random_bars(bars)
    # Freeing one large array teaches glibc to keep memory of that size. Otherwise what is measured of whoever makes
    # more temporary arrays is mostly the kernel handing out pages.
    np.ones(3_000_000)
    bare = bare_calls(data)
    rows = []
    for name in indicator_names():
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(repeats):
            ours.append(cpu_seconds(lambda name=name: compute_indicator(name, {}, data)))
            if name in bare:
                theirs.append(cpu_seconds(bare[name]))
        row: dict[str, Any] = {"indicator": name, "ms": 1e3 * min(ours)}
        rows.append(row | ({"talib_ms": 1e3 * min(theirs)} if theirs else {}))
    return rows


def main() -> None:
    """Print the figures; exit status 1 says that an aim was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    rows = measure(given.bars, given.repeats)
    whole = sum(row["ms"] for row in rows) / 1e3
    compared = [row for row in rows if "talib_ms" in row]
    ratio = sum(row["ms"] for row in compared) / sum(row["talib_ms"] for row in compared)
    met = ratio <= RATIO and whole <= SECONDS * given.bars / 100_000
    if given.json:
        json.dump({"bars": given.bars, "indicators": rows, "seconds": whole, "ratio": ratio}, sys.stdout, indent=2)
    else:
        for row in sorted(rows, key=lambda row: -row["ms"]):
            bare = f"TA-Lib {row['talib_ms']:7.3f}  {row['ms'] / row['talib_ms']:5.2f}x" if "talib_ms" in row else ""
            print(f"  {row['indicator']:<20} {row['ms']:7.3f} ms   {bare}")
        print(f"{len(compared)} types against TA-Lib: {ratio:.2f}x the sum of its calls (aim: within {RATIO:g})")
        print(f"all {len(rows)} types on {given.bars:,} bars: {whole:.3f} s of CPU (aim: {SECONDS:g} for 100,000)")
    sys.exit(not met)


if __name__ == "__main__":
    main()

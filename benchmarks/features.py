"""Fuzzification against scikit-fuzzy, and the feature pipeline's speed, growth and memory.

Run with `python benchmarks/features.py`. scikit-fuzzy is compared with if it can be imported
(`pip install scikit-fuzzy scipy networkx`); it is no dependency of ours.
Times are CPU seconds, of all threads; the pipeline starts none.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.strategy.model import (
    Decisions,
    FuzzyInput,
    FuzzySet,
    IndicatorDefinition,
    Labels,
    MembershipFunction,
    ModelSection,
    Strategy,
    Training,
    TrainingDataSection,
)

FUNCTIONS = {
    "triangular": (20.0, 50.0, 80.0),
    "trapezoidal": (10.0, 30.0, 60.0, 90.0),
    "gaussian": (50.0, 12.0),
    "sigmoid": (50.0, 0.3),
    "bell": (15.0, 2.5, 50.0),
}


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the shortest CPU time of several runs: the others measure what else the machine was doing."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def peers(values: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return scikit-fuzzy's function for each type, or nothing if it is not installed."""
    if importlib.util.find_spec("skfuzzy") is None:
        return {}
    import skfuzzy

    return {
        "triangular": lambda: skfuzzy.trimf(values, FUNCTIONS["triangular"]),
        "trapezoidal": lambda: skfuzzy.trapmf(values, FUNCTIONS["trapezoidal"]),
        "gaussian": lambda: skfuzzy.gaussmf(values, *FUNCTIONS["gaussian"]),
        "sigmoid": lambda: skfuzzy.sigmf(values, *FUNCTIONS["sigmoid"]),
        "bell": lambda: skfuzzy.gbellmf(values, *FUNCTIONS["bell"]),
    }


def fuzzification(bars: int) -> list[dict[str, Any]]:
    """Time one membership of each type over ``bars`` values."""
    values = np.random.default_rng(0).uniform(0, 100, bars)
    others = peers(values)
    # Freeing one large array teaches glibc to keep memory of that size. Otherwise what is measured of whoever makes
    # more temporary arrays, scikit-fuzzy here, is mostly the kernel handing out pages.
    np.ones(3_000_000)
    results = []
    for kind, parameters in FUNCTIONS.items():
        function = MembershipFunction(type=kind, parameters=parameters)
        ours = seconds(lambda function=function: membership(function, values), 30)
        result = {"type": kind, "ms_per_100k": ours * 1e3 * 1e5 / bars}
        if kind in others:
            np.testing.assert_allclose(others[kind](), membership(function, values), atol=1e-6)
            theirs = seconds(others[kind], 30)
            result |= {"scikit_fuzzy_ms_per_100k": theirs * 1e3 * 1e5 / bars, "ratio": theirs / ours}
        results.append(result)
    return results


def random_bars(n: int) -> Bars:
    """Return a random walk of one-minute bars."""
    random = np.random.default_rng(0)
    close = 1.1 * np.exp(np.cumsum(random.normal(0, 1e-4, n)))
    open_ = np.concatenate((close[:1], close[:-1]))
    minute = np.arange(n) * np.timedelta64(60, "s")
    return Bars(
        "EURUSD",
        Timeframe("1m"),
        np.datetime64("2015-01-01", "ns") + minute,
        open_,
        np.maximum(open_, close) * 1.0001,
        np.minimum(open_, close) * 0.9999,
        close,
        random.integers(1, 1000, n).astype(np.float64),
    )


def strategy_of_four() -> Strategy:
    """Return a strategy with 4 indicators and 12 memberships, every function type among them."""
    from ktrdr.core.indicators.registry import get_indicator

    kinds = {"rsi_14": "rsi", "macd_f": "macd", "atr_14": "atr", "roc_10": "roc"}
    sets = {
        "rsi": ("rsi_14", [("trapezoidal", (0, 0, 25, 42)), ("triangular", (30, 50, 70)), ("bell", (20, 3, 90))]),
        "macd": ("macd_f", [("sigmoid", (-2e-4, -3e4)), ("gaussian", (0, 2e-4)), ("sigmoid", (2e-4, 3e4))]),
        "atr": ("atr_14", [("triangular", (0, 0, 3e-4)), ("gaussian", (3e-4, 1e-4)), ("sigmoid", (4e-4, 3e4))]),
        "roc": ("roc_10", [("triangular", (-1, -0.1, 0)), ("triangular", (-0.1, 0, 0.1)), ("triangular", (0, 0.1, 1))]),
    }
    return Strategy(
        name="four_indicators",
        training_data=TrainingDataSection(symbols=("EURUSD",), timeframes=("1m",), base_timeframe="1m"),
        indicators={
            identifier: IndicatorDefinition(
                type=kind, parameters={p.name: p.default for p in get_indicator(kind).parameters}
            )
            for identifier, kind in kinds.items()
        },
        fuzzy_sets={
            name: FuzzySet(
                indicator=indicator,
                memberships={
                    f"m{position}": MembershipFunction(type=kind, parameters=parameters)
                    for position, (kind, parameters) in enumerate(functions)
                },
            )
            for name, (indicator, functions) in sets.items()
        },
        nn_inputs=tuple(FuzzyInput(fuzzy_set=name, timeframes=("1m",)) for name in sets),
        model=ModelSection(type="mlp"),
        decisions=Decisions(),
        training=Training(labels=Labels(source="direction", parameters={})),
    )


def pipeline(bars: int) -> dict[str, Any]:
    """Time ``transform`` at three lengths, and measure its memory at the longest."""
    from ktrdr.core.features.sources import indicator_values, sources_of

    strategy = strategy_of_four()
    made = FeaturePipeline(strategy)
    everything = random_bars(bars)
    times = dict.fromkeys((bars // 4, bars // 2, bars), np.inf)
    for _ in range(9):  # in turn: what else the machine does meets all lengths
        for length in times:
            part = {"1m": everything[:length]}
            times[length] = min(times[length], seconds(lambda part=part: made.transform(part), 1))
    whole = {"1m": everything}
    indicators = seconds(lambda: indicator_values(strategy, sources_of(made.columns), whole), 5)

    tracemalloc.start()
    matrix = made.transform(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    given = 6 * 8 * bars
    return {
        "bars": bars,
        "columns": len(made.columns),
        "seconds": times[bars],
        "seconds_in_indicators": indicators,
        "growth_when_doubled": [times[bars // 2] / times[bars // 4], times[bars] / times[bars // 2]],
        "peak_mib": peak / 2**20,
        "share_of_memory_allowed": peak / (4 * matrix.values.nbytes + given),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000, help="bars of the pipeline's run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    fuzzy, whole = fuzzification(100_000), pipeline(given.bars)
    if given.json:
        json.dump({"fuzzification": fuzzy, "pipeline": whole}, sys.stdout, indent=2)
        return
    print("Fuzzification, ms per membership and 100,000 bars (aim: under 0.6, ratio over 1)")
    for row in fuzzy:
        peer = f"scikit-fuzzy {row['scikit_fuzzy_ms_per_100k']:7.3f}  {row['ratio']:5.1f}x" if "ratio" in row else ""
        print(f"  {row['type']:<12} {row['ms_per_100k']:7.3f}   {peer}")
    if "ratio" not in fuzzy[0]:
        print("  scikit-fuzzy is not installed: not compared")
    print(f"Pipeline, 4 indicators, {whole['columns']} memberships, {whole['bars']:,} bars (aim: under 0.5 s)")
    print(f"  transform {whole['seconds']:.3f} s, of which indicators {whole['seconds_in_indicators']:.3f} s")
    print("  time when bars double: " + ", ".join(f"{ratio:.2f}x" for ratio in whole["growth_when_doubled"]))
    print(f"  peak {whole['peak_mib']:.0f} MiB, {whole['share_of_memory_allowed']:.0%} of 4x output plus input")


if __name__ == "__main__":
    main()

"""Fuzzification against scikit-fuzzy, and the feature pipeline against the same features computed by hand.

    python benchmarks/features.py [--quick] [--only TEXT] [--json FILE]

By hand means TA-Lib for the indicators and scikit-fuzzy for the memberships, in one float32 matrix. Unlike the pipeline
it does not align timeframes, add lags or handle missing values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from harness import Contest, Figure, find, main
from made_up import random_walk, warm_allocator

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.fuzzy.definition import FuzzySet, MembershipFunction
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.indicators.registry import get_indicator
from ktrdr.core.strategy.model import (
    Decisions,
    FuzzyInput,
    IndicatorDefinition,
    Labels,
    ModelSection,
    Strategy,
    Training,
    TrainingDataSection,
)

FUNCTIONS: dict[str, tuple[float, ...]] = {
    "triangular": (20.0, 50.0, 80.0),
    "trapezoidal": (10.0, 30.0, 60.0, 90.0),
    "gaussian": (50.0, 12.0),
    "sigmoid": (50.0, 0.3),
    "bell": (15.0, 2.5, 50.0),
}
SETS: dict[str, tuple[str, list[tuple[str, tuple[float, ...]]]]] = {
    "rsi": ("rsi_14", [("trapezoidal", (0, 0, 25, 42)), ("triangular", (30, 50, 70)), ("bell", (20, 3, 90))]),
    "macd": ("macd_f", [("sigmoid", (-2e-4, -3e4)), ("gaussian", (0, 2e-4)), ("sigmoid", (2e-4, 3e4))]),
    "atr": ("atr_14", [("triangular", (0, 1e-4, 3e-4)), ("gaussian", (3e-4, 1e-4)), ("sigmoid", (4e-4, 3e4))]),
    "roc": ("roc_10", [("triangular", (-1, -0.1, 0)), ("triangular", (-0.1, 0, 0.1)), ("triangular", (0, 0.1, 1))]),
}
INDICATORS = {"rsi_14": "rsi", "macd_f": "macd", "atr_14": "atr", "roc_10": "roc"}
PIPELINE = "features: 4 indicators, 12 memberships"
MS_PER_100K, SECONDS_PER_MILLION = 0.6, 0.5


def values(size: int) -> np.ndarray:
    """Return uniform values from 0 to 100."""
    warm_allocator()
    return np.random.default_rng(0).uniform(0, 100, size)


def scikit_fuzzy(kind: str, parameters: Sequence[float], x: np.ndarray) -> np.ndarray:
    """Return the degrees of membership by scikit-fuzzy."""
    import skfuzzy

    match kind:
        case "triangular":
            return skfuzzy.trimf(x, parameters)
        case "trapezoidal":
            return skfuzzy.trapmf(x, parameters)
        case "gaussian":
            return skfuzzy.gaussmf(x, *parameters)
        case "sigmoid":
            return skfuzzy.sigmf(x, *parameters)
        case "bell":
            return skfuzzy.gbellmf(x, *parameters)
    raise ValueError(kind)


def strategy_of_four() -> Strategy:
    """Return a strategy with 4 indicators and 12 memberships of all function types."""
    return Strategy(
        name="four_indicators",
        training_data=TrainingDataSection(symbols=("EURUSD",), timeframes=("1m",), base_timeframe="1m"),
        indicators={
            identifier: IndicatorDefinition(
                type=kind, parameters={p.name: p.default for p in get_indicator(kind).parameters}
            )
            for identifier, kind in INDICATORS.items()
        },
        fuzzy_sets={
            name: FuzzySet(
                indicator=indicator,
                memberships={
                    f"m{position}": MembershipFunction(type=kind, parameters=parameters)
                    for position, (kind, parameters) in enumerate(functions)
                },
            )
            for name, (indicator, functions) in SETS.items()
        },
        nn_inputs=tuple(FuzzyInput(fuzzy_set=name, timeframes=("1m",)) for name in SETS),
        model=ModelSection(type="mlp"),
        decisions=Decisions(),
        training=Training(labels=Labels(source="direction", parameters={})),
    )


def by_hand(bars: Bars) -> np.ndarray:
    """Return the same features, computed without KTRDR."""
    import talib

    made = {
        "rsi_14": talib.RSI(bars.close, 14),
        "macd_f": talib.MACD(bars.close, 12, 26, 9)[0],
        "atr_14": talib.ATR(bars.high, bars.low, bars.close, 14),
        "roc_10": talib.ROC(bars.close, 10),
    }
    columns = np.empty((len(bars), 12), dtype=np.float32)
    position = 0
    for indicator, functions in SETS.values():
        for kind, parameters in functions:
            columns[:, position] = scikit_fuzzy(kind, parameters, made[indicator])
            position += 1
    return columns


def contests(quick: bool) -> list[Contest]:
    """Return the contests: one membership of each type, and the pipeline."""
    found = []
    for kind, parameters in FUNCTIONS.items():
        ours: Callable[[np.ndarray], Any] = partial(membership, MembershipFunction(type=kind, parameters=parameters))
        theirs = partial(scikit_fuzzy, kind, parameters)

        def agree(x: np.ndarray, ours: Callable[..., Any] = ours, theirs: Callable[..., Any] = theirs) -> None:
            np.testing.assert_allclose(ours(x), theirs(x), atol=1e-6)

        found.append(
            Contest(
                name=f"membership, {kind}",
                group="one membership",
                programs={"ktrdr": ours, "scikit-fuzzy": theirs},
                prepare=values,
                sizes=(1_000, 3_000, 10_000) if quick else (10_000, 100_000, 1_000_000),
                unit="values",
                check=agree,
                rounds=3 if quick else 15,
            )
        )
    pipeline = FeaturePipeline(strategy_of_four())

    def same(bars: Bars) -> None:
        # Without the rows of the warm-up. Both start RSI and ATR at the beginning of the bars.
        mine, other = pipeline.transform({"1m": bars}).values[100:], by_hand(bars)[100:]
        np.testing.assert_allclose(mine, other, atol=1e-5)

    found.append(
        Contest(
            name=PIPELINE,
            programs={"ktrdr": lambda bars: pipeline.transform({"1m": bars}), "TA-Lib and scikit-fuzzy": by_hand},
            prepare=random_walk,
            sizes=(1_000, 3_000, 10_000) if quick else (100_000, 300_000, 1_000_000),
            unit="bars",
            check=same,
            rounds=3 if quick else 7,
            memory=True,
        )
    )
    return found


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield times and memory with their limits."""
    for kind in FUNCTIONS:
        row = find(rows, f"membership, {kind}", "ktrdr", 10_000 if quick else 100_000)
        each = row["cpu"]["best"] * 1e3 * 1e5 / row["size"]
        yield Figure(f"{kind}, per 100,000 values", each, "ms of CPU", at_most=MS_PER_100K)
        theirs = find(rows, f"membership, {kind}", "scikit-fuzzy", row["size"])["ratio_cpu"]["median"]
        yield Figure(f"{kind}, scikit-fuzzy beside ours", theirs, "times", at_least=1.0, of=f"{row['size']:,} values")
    row = find(rows, PIPELINE, "ktrdr")
    yield Figure(
        "features of a million bars",
        row["cpu"]["best"] * 1e6 / row["size"],
        "s of CPU",
        at_most=SECONDS_PER_MILLION,
        of=PIPELINE,
    )
    output, given = 12 * 4 * row["size"], 6 * 8 * row["size"]
    yield Figure(
        "memory of features beside four times the output plus the input",
        row["added_mib"] * 2**20 / (4 * output + given),
        "times",
        at_most=1.0,
        of="resident memory that the run adds to the bars",
    )


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

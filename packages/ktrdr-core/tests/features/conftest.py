from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.fuzzy.definition import FuzzySet, MembershipFunction
from ktrdr.core.indicators import registry
from ktrdr.core.strategy.model import (
    Decisions,
    IndicatorDefinition,
    Labels,
    ModelSection,
    Strategy,
    Training,
    TrainingDataSection,
)

StrategyMaker = Callable[..., Strategy]
BarMaker = Callable[..., Bars]


@pytest.fixture(scope="session")
def make_strategy() -> StrategyMaker:
    """Build a strategy from ``{id: (type, parameters)}``, ``{id: (indicator, {membership: (type, parameters)})}``
    and nn_inputs as maps."""

    def make(
        indicators: Mapping[str, tuple[str, Mapping[str, Any]]],
        fuzzy_sets: Mapping[str, tuple[str, Mapping[str, tuple[str, tuple[float, ...]]]]],
        nn_inputs: list[dict[str, Any]],
        *,
        timeframes: tuple[str, ...] = ("1h",),
        symbols: tuple[str, ...] = ("EURUSD",),
        history_required: int | None = None,
    ) -> Strategy:
        return Strategy(
            name="test",
            training_data=TrainingDataSection(
                symbols=symbols,
                timeframes=timeframes,
                base_timeframe=timeframes[0],
                history_required=history_required,
            ),
            indicators={
                identifier: IndicatorDefinition(
                    type=kind,
                    parameters={
                        **{p.name: p.default for p in registry.get_indicator(kind).parameters if not p.required},
                        **parameters,
                    },
                )
                for identifier, (kind, parameters) in indicators.items()
            },
            fuzzy_sets={
                identifier: FuzzySet(
                    indicator=indicator,
                    memberships={
                        name: MembershipFunction(type=kind, parameters=parameters)
                        for name, (kind, parameters) in memberships.items()
                    },
                )
                for identifier, (indicator, memberships) in fuzzy_sets.items()
            },
            nn_inputs=tuple(
                {"kind": "fuzzy_set" if "fuzzy_set" in item else "raw_indicator", "timeframes": ("1h",), **item}
                for item in nn_inputs
            ),
            model=ModelSection(type="mlp"),
            decisions=Decisions(),
            training=Training(labels=Labels(source="direction", parameters={"horizon": 3, "threshold": 0.0})),
        )

    return make


@pytest.fixture(scope="session")
def make_bars() -> BarMaker:
    """Random-walk bars on the timeframe's grid; ``missing`` is the share of grid places without a bar."""

    def make(
        n: int,
        *,
        timeframe: str = "1h",
        seed: int = 0,
        symbol: str = "EURUSD",
        start: str = "2020-01-06T00:00",
        missing: float = 0.0,
    ) -> Bars:
        random = np.random.default_rng(seed)
        length = Timeframe(timeframe)
        places = np.arange(n) + np.cumsum(random.random(n) < missing)
        time = np.datetime64(start, "ns") + places * np.timedelta64(length.seconds, "s")
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
        open_ = close * np.exp(random.normal(0, 0.002, n))
        high = np.maximum(open_, close) * (1 + random.random(n) * 0.005)
        low = np.minimum(open_, close) * (1 - random.random(n) * 0.005)
        return Bars(symbol, length, time, open_, high, low, close, random.integers(1, 1000, n).astype(np.float64))

    return make


@pytest.fixture(scope="session")
def rich_strategy(make_strategy: StrategyMaker) -> Strategy:
    """Three timeframes, four indicators, memberships of every type, raw inputs of every normalization, lags."""
    return make_strategy(
        {
            "rsi_5": ("rsi", {"period": 5}),
            "sma_4": ("sma", {"period": 4}),
            "macd_f": ("macd", {"fast_period": 3, "slow_period": 6, "signal_period": 3}),
            "roc_2": ("roc", {"period": 2}),
        },
        {
            "rsi": (
                "rsi_5",
                {
                    "low": ("trapezoidal", (0, 0, 30, 45)),
                    "mid": ("triangular", (30, 50, 70)),
                    "high": ("sigmoid", (60, 0.3)),
                },
            ),
            "turn": (
                "macd_f.histogram",
                {"flat": ("gaussian", (0, 0.2)), "strong": ("bell", (0.3, 2, 0.8))},
            ),
        },
        [
            {"fuzzy_set": "rsi", "timeframes": ("1h", "4h"), "lags": (1, 3)},
            {"raw_indicator": "sma_4", "timeframes": ("1h",), "lags": (2,)},
            {"fuzzy_set": "turn", "timeframes": ("30m",)},
            {"raw_indicator": "roc_2", "timeframes": ("4h",), "normalization": "robust"},
            {"raw_indicator": "macd_f.signal", "timeframes": ("30m",), "normalization": "minmax", "lags": (1,)},
            {"raw_indicator": "rsi_5", "timeframes": ("1h",), "normalization": "none"},
        ],
        timeframes=("1h", "30m", "4h"),
    )


@pytest.fixture(scope="session")
def rich_bars(make_bars: BarMaker) -> Callable[..., dict[str, Bars]]:
    """Bars of one symbol for :func:`rich_strategy`, each timeframe with holes of its own."""

    def make(n: int = 120, *, seed: int = 0, symbol: str = "EURUSD", missing: float = 0.1) -> dict[str, Bars]:
        return {
            "1h": make_bars(n, seed=seed, symbol=symbol, missing=missing),
            "30m": make_bars(2 * n, timeframe="30m", seed=seed + 1, symbol=symbol, missing=missing),
            "4h": make_bars(n // 4, timeframe="4h", seed=seed + 2, symbol=symbol, missing=missing),
        }

    return make

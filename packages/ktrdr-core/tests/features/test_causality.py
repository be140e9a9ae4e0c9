"""A planted leak must be found, and reported for the right feature only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ktrdr.core.data import alignment
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.features.causality import LabelValues, check_pipeline
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.indicators import computation, registry
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import ProgressEvent

StrategyMaker = Callable[..., Strategy]
BarMaker = Callable[..., Bars]


def next_close(bars: Bars) -> np.ndarray:
    return np.append(bars.close[1:], np.nan)[: len(bars)]


def wrapped_around(bars: Bars) -> np.ndarray:
    """A leak like that of `np.roll`: no NaN reveals it."""
    return np.roll(bars.close, -1)


def standardized_over_everything(bars: Bars) -> np.ndarray:
    return (bars.close - bars.close.mean()) / bars.close.std() if len(bars) else bars.close


def centered_mean(bars: Bars) -> np.ndarray:
    padded = np.concatenate((np.full(2, np.nan), bars.close, np.full(2, np.nan)))
    return np.mean([padded[shift : shift + len(bars)] for shift in range(5)], axis=0)


def trend_of_next_bar(bars: Bars) -> np.ndarray:
    """Right by chance half of the time."""
    return (np.append(bars.close[1:], bars.close[-1:]) > bars.close).astype(np.float64)


@pytest.fixture
def with_indicator(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Bars], np.ndarray]], None]:
    """Plant a user indicator under the name ``user``."""

    def plant(function: Callable[[Bars], np.ndarray]) -> None:
        get_indicator, compute_indicator = registry.get_indicator, computation.compute_indicator
        user = SimpleNamespace(name="user", parameters=(), outputs=("value",), warmup=lambda parameters: 0)

        def computed(type_name: str, parameters: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
            if type_name == "user":
                return {"value": function(bars)}
            return compute_indicator(type_name, parameters, bars)

        monkeypatch.setattr(registry, "get_indicator", lambda name: user if name == "user" else get_indicator(name))
        monkeypatch.setattr(computation, "compute_indicator", computed)

    return plant


@pytest.fixture
def leaky(make_strategy: StrategyMaker) -> Callable[[], Strategy]:
    """A strategy that reads ``user`` twice among honest features, so that a leak has something to be confused with."""

    def make() -> Strategy:
        return make_strategy(
            {"rsi_14": ("rsi", {"period": 14}), "own": ("user", {}), "sma_20": ("sma", {"period": 20})},
            {
                "rsi": ("rsi_14", {"low": ("triangular", (0, 25, 50)), "high": ("sigmoid", (60, 0.2))}),
                "user": ("own", {"up": ("sigmoid", (0.5, 3.0))}),
            },
            [
                {"fuzzy_set": "rsi", "lags": (1,)},
                {"raw_indicator": "own"},
                {"raw_indicator": "sma_20"},
                {"fuzzy_set": "user"},
            ],
        )

    return make


@pytest.mark.parametrize(
    ("leak", "reach"),
    [
        (next_close, 1),
        (wrapped_around, 1),
        (centered_mean, 2),
        (trend_of_next_bar, 1),
        (standardized_over_everything, None),
    ],
)
def test_a_planted_leak_is_found_and_blamed_on_the_right_feature(
    leaky: Callable[[], Strategy],
    with_indicator: Callable[[Callable[[Bars], np.ndarray]], None],
    make_bars: BarMaker,
    leak: Callable[[Bars], np.ndarray],
    reach: int | None,
):
    with_indicator(leak)
    report = check_pipeline(FeaturePipeline(leaky()), {"1h": make_bars(600)}, cuts=40)
    found = {finding.id: finding for finding in report.features}
    assert "1h_own_raw" in report.leaking
    assert not {name for name in report.leaking if "rsi" in name or "sma" in name}
    leaked = found["1h_own_raw"]
    assert leaked.leaks > 10
    assert reach is None or leaked.bars_ahead == reach
    assert leaked.example is not None
    time, without, with_future = leaked.example
    assert time in make_bars(600).time
    assert without != with_future
    if leak is not next_close and leak is not wrapped_around:
        # Those are prices near 100, where the membership is 1 whatever the bar.
        assert "1h_user_up" in report.leaking
    assert report.to_json()["clean"] is False


def test_an_honest_strategy_is_clean_on_real_bars(rich_strategy: Strategy):
    hours = sample_bars()[:2000]
    halves = Bars(
        hours.symbol,
        resample(hours, "4h").timeframe.__class__("30m"),
        np.repeat(hours.time, 2) + np.tile(np.array([0, 30], dtype="timedelta64[m]"), len(hours)),
        *(np.repeat(getattr(hours, name), 2) for name in ("open", "high", "low", "close", "volume")),
    )
    bars = {"1h": hours, "30m": halves, "4h": resample(hours, "4h")}
    report = check_pipeline(FeaturePipeline(rich_strategy), bars, cuts=40, derived=("4h",))
    assert report.leaking == ()
    assert report.labels is None
    assert (report.bars, report.cuts, report.starts) == (2000, 40, 8)
    assert report.to_json()["clean"] is True


def test_a_longer_bar_seen_before_its_close_is_found(
    make_strategy: StrategyMaker, make_bars: BarMaker, monkeypatch: pytest.MonkeyPatch
):
    def at_its_open(base: Bars, other: Bars) -> np.ndarray:
        return np.searchsorted(other.time, base.time, side="right").astype(np.int64) - 1

    strategy = make_strategy(
        {"sma_3": ("sma", {"period": 3})},
        {},
        [{"raw_indicator": "sma_3", "timeframes": ("1h", "4h")}],
        timeframes=("1h", "4h"),
    )
    hours = make_bars(400)
    bars = {"1h": hours, "4h": resample(hours, "4h")}
    assert check_pipeline(FeaturePipeline(strategy), bars, cuts=30).leaking == ()
    monkeypatch.setattr(alignment, "visible_index", at_its_open)
    for derived in ((), ("4h",)):
        report = check_pipeline(FeaturePipeline(strategy), bars, cuts=30, derived=derived)
        assert report.leaking == ("4h_sma_3_raw",)
        assert 1 <= report.features[1].bars_ahead <= 3


def test_history_is_what_each_feature_needs_to_settle(make_strategy: StrategyMaker, make_bars: BarMaker):
    strategy = make_strategy(
        {
            "sma_20": ("sma", {"period": 20}),
            "ema_20": ("ema", {"period": 20}),
            "obv": ("obv", {}),
        },
        {},
        [
            {"raw_indicator": "sma_20", "lags": (7,)},
            {"raw_indicator": "ema_20"},
            {"raw_indicator": "obv"},
        ],
    )
    report = check_pipeline(FeaturePipeline(strategy), {"1h": make_bars(3000)})
    needed = {finding.id: finding.settles_after for finding in report.features}
    assert needed["1h_sma_20_raw"] == 19
    assert needed["1h_sma_20_raw_lag7"] == 26
    # The first value's weight falls by 19/21 a bar: 1e-6 of a price of the size of what is forgotten is ln(1e-6) bars
    # of that, give or take the size.
    assert needed["1h_ema_20_raw"] is not None
    assert 60 < needed["1h_ema_20_raw"] < 200
    assert needed["1h_obv_raw"] is None
    assert report.leaking == ()


class TestLabels:
    @pytest.fixture
    def pipeline(self, make_strategy: StrategyMaker) -> FeaturePipeline:
        return FeaturePipeline(make_strategy({"sma_3": ("sma", {"period": 3})}, {}, [{"raw_indicator": "sma_3"}]))

    @staticmethod
    def returns(bars: Bars, looks: int, admits: int) -> LabelValues:
        n = len(bars)
        values = np.full(n, np.nan)
        values[: max(0, n - looks)] = bars.close[looks:] / bars.close[: max(0, n - looks)] - 1
        return LabelValues(values, np.minimum(np.arange(n) + admits, n - 1))

    def test_that_keep_to_their_span_are_clean(self, pipeline: FeaturePipeline, make_bars: BarMaker):
        report = check_pipeline(
            pipeline, {"1h": make_bars(500)}, labels=lambda bars: self.returns(bars, 5, 5), look_ahead=5
        )
        assert report.leaking == ()
        assert report.labels is not None
        assert report.labels.settles_after == 0

    def test_that_look_one_bar_beyond_it_are_found(self, pipeline: FeaturePipeline, make_bars: BarMaker):
        report = check_pipeline(
            pipeline, {"1h": make_bars(500)}, labels=lambda bars: self.returns(bars, 6, 5), look_ahead=5
        )
        assert report.leaking == ("label",)
        assert report.labels is not None
        assert report.labels.bars_ahead == 1

    def test_with_spans_beyond_the_declared_look_ahead_are_found(self, pipeline: FeaturePipeline, make_bars: BarMaker):
        report = check_pipeline(
            pipeline, {"1h": make_bars(500)}, labels=lambda bars: self.returns(bars, 6, 6), look_ahead=4
        )
        assert report.leaking == ("label",)
        assert report.labels is not None
        assert report.labels.bars_ahead == 2


def test_the_same_seed_gives_the_same_report(rich_strategy: Strategy, rich_bars: Callable[..., dict[str, Bars]]):
    def report(seed: int) -> dict[str, Any]:
        return check_pipeline(FeaturePipeline(rich_strategy), rich_bars(300), seed=seed, cuts=10).to_json()

    assert report(1) == report(1)
    assert report(1) != report(2)


def test_progress_and_cancellation(rich_strategy: Strategy, rich_bars: Callable[..., dict[str, Bars]]):
    events: list[ProgressEvent] = []
    check_pipeline(FeaturePipeline(rich_strategy), rich_bars(100), cuts=10, starts=3, progress=events.append)
    assert [event.step for event in events] == ["look-ahead"] * 10 + ["history"] * 3
    assert events[-1].fraction == 1

    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        check_pipeline(FeaturePipeline(rich_strategy), rich_bars(100), cancellation=cancellation)


def test_too_few_bars_are_refused(rich_strategy: Strategy, rich_bars: Callable[..., dict[str, Bars]]):
    with pytest.raises(BadInputError, match="EURUSD 1h has 19 bars; at least 20 are needed"):
        check_pipeline(FeaturePipeline(rich_strategy), rich_bars(19))


@pytest.mark.parametrize(
    "quantity",
    [
        lambda bars: np.sign(np.log(bars.close / bars.open)),
        lambda bars: np.log(bars.high / bars.low),
        lambda bars: bars.volume,
    ],
    ids=["direction", "range", "volume"],
)
def test_a_leak_that_only_other_bars_show_is_found(
    leaky: Callable[[], Strategy],
    with_indicator: Callable[[Callable[[Bars], np.ndarray]], None],
    make_bars: BarMaker,
    quantity: Callable[[Bars], np.ndarray],
):
    bars = make_bars(600)
    known = dict(zip(bars.time.tolist(), np.append(quantity(bars)[1:], np.nan).tolist(), strict=True))

    def remembered(part: Bars) -> np.ndarray:
        """Right at the last bar too, so that it does not matter where the data ends."""
        return np.append(quantity(part)[1:], known[part.time[-1].item()] if len(part) else [])[: len(part)]

    with_indicator(remembered)
    report = check_pipeline(FeaturePipeline(leaky()), {"1h": bars}, cuts=40)
    assert set(report.leaking) & {"1h_own_raw", "1h_user_up"} == set(report.leaking)
    found = next(finding for finding in report.features if finding.id == "1h_own_raw")
    assert found.leaks == report.cuts
    assert found.bars_ahead == 1
    assert found.other_bars
    in_json = {each["id"]: each["example"] for each in report.to_json()["features"]}
    assert in_json["1h_own_raw"]["other_bars"] is True


def test_a_check_without_starts_has_no_history(rich_strategy: Strategy, rich_bars: Callable[..., dict[str, Bars]]):
    report = check_pipeline(FeaturePipeline(rich_strategy), rich_bars(300), cuts=5, starts=0)
    assert (report.starts, report.history_seen, report.leaking) == (0, 0, ())

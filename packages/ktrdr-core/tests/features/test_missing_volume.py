"""Missing volume that an indicator reads: the number of lost rows, and the messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.causality import check_pipeline
from ktrdr.core.features.missing_volume import measure_missing, with_volume
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.strategy.model import Strategy

StrategyMaker = Callable[..., Strategy]
BarMaker = Callable[..., Bars]


def lacking(bars: Bars, *rows: Any, volume: float = np.nan) -> Bars:
    filled = bars.volume.copy()
    for row in rows:
        filled[row] = volume
    return dataclasses.replace(bars, volume=filled)


def one_input(make_strategy: StrategyMaker, kind: str, **parameters: Any) -> Strategy:
    return make_strategy(
        {"rsi_5": ("rsi", {"period": 5}), "v": (kind, parameters)},
        {},
        [{"raw_indicator": "rsi_5"}, {"raw_indicator": "v"}],
    )


def slow_runs(there: list[bool]) -> int:
    longest = run = 0
    for each in there:
        run = run + 1 if each else 0
        longest = max(longest, run)
    return longest


@given(there=st.lists(st.booleans(), min_size=1, max_size=40), needed=st.integers(1, 30))
def test_measured_counts_equal_those_of_a_slow_loop(make_bars: BarMaker, there: list[bool], needed: int):
    bars = lacking(make_bars(len(there)), np.flatnonzero(~np.array(there)))
    found = measure_missing(bars, "v", needed)
    if all(there):
        assert found is None
        return
    assert found is not None
    assert (found.bars, found.missing, found.needed) == (len(there), there.count(False), needed)
    assert found.first == bars.time[there.index(False)]
    assert found.longest == slow_runs(there)


@given(
    missing=st.sets(st.integers(0, 59), max_size=8),
    kind=st.sampled_from(["volume_ratio", "mfi", "cmf", "obv", "ad_line", "vwap"]),
    first=st.integers(0, 59),
    lag=st.integers(0, 3),
)
def test_the_loss_is_the_rows_that_would_be_complete(
    make_strategy: StrategyMaker, make_bars: BarMaker, missing: set[int], kind: str, first: int, lag: int
):
    parameters = {"period": 4} if kind in ("volume_ratio", "mfi", "cmf", "vwap") else {}
    strategy = make_strategy(
        {"rsi_5": ("rsi", {"period": 5}), "v": (kind, parameters), "r": ("volume_ratio", {"period": 2})},
        {"ratio": ("r", {"low": ("triangular", (0, 0.5, 1)), "high": ("triangular", (0.5, 1, 9))})},
        [
            {"raw_indicator": "rsi_5"},
            {"raw_indicator": "v", "lags": (lag,) if lag else ()},
            {"fuzzy_set": "ratio", "timeframes": ("4h",)},
        ],
        timeframes=("1h", "4h"),
    )
    whole = make_bars(60)
    base = lacking(whole, sorted(missing))
    bars, complete = ({"1h": each, "4h": resample(each, "4h")} for each in (base, whole))
    pipeline = FeaturePipeline(strategy)
    matrix = pipeline.compute(bars)
    known = pipeline.compute(complete).warm[first:]
    loss = pipeline.volume_loss(bars, matrix, slice(first, None))
    lost = int((known & ~matrix.warm[first:]).sum())
    assert (0 if loss is None else loss.rows) == lost
    if loss is not None:
        assert loss.known == int(known.sum())


@pytest.mark.parametrize(
    ("kind", "parameters", "needs"),
    [
        ("volume_ratio", {"period": 20}, "`v` (volume_ratio) needs 20 in a row, of which there are never more than 6"),
        ("mfi", {"period": 14}, "`v` (mfi) needs 15 in a row, of which there are never more than 6"),
        ("cmf", {"period": 21}, "`v` (cmf) needs 21 in a row, of which there are never more than 6"),
        ("vwap", {"period": 20}, "`v` (vwap) needs 20 in a row, of which there are never more than 6"),
        ("sma", {"source": "volume", "period": 8}, "`v` (sma) needs 8 in a row, of which there are never more than 6"),
    ],
)
def test_the_message_names_the_volume_where_no_bar_has_all_features(
    make_strategy: StrategyMaker, make_bars: BarMaker, kind: str, parameters: dict[str, Any], needs: str
):
    pipeline = FeaturePipeline(one_input(make_strategy, kind, **parameters))
    bars = {"1h": lacking(make_bars(1500), slice(3, None, 7))}
    with pytest.raises(BadInputError) as refused:
        pipeline.require_rows(pipeline.compute(bars), bars=bars)
    assert str(refused.value) == (
        "no bar of EURUSD 1h has all features: 214 of its 1,500 1h bars have no volume (the first: 2020-01-06 03:00),"
        f" and {needs}; import bars that have a volume, or use an indicator that does not read it in place of `v`"
    )
    # The advice, to the letter.
    for advised, own in (
        (pipeline, {"1h": make_bars(1500)}),
        (FeaturePipeline(one_input(make_strategy, "roc", period=5)), bars),
    ):
        advised.require_rows(advised.compute(own), bars=own)


@pytest.mark.parametrize("kind", ["obv", "ad_line", "mfi", "volume_ratio"])
def test_no_volume_at_all(make_strategy: StrategyMaker, make_bars: BarMaker, kind: str):
    pipeline = FeaturePipeline(one_input(make_strategy, kind))
    bars = {"1h": lacking(make_bars(400), slice(None))}
    expected = f"none of its 400 1h bars has a volume, which `v` \\({kind}\\) reads; import bars that have a volume"
    with pytest.raises(BadInputError, match=expected):
        pipeline.require_rows(pipeline.compute(bars), bars=bars)
    with pytest.raises(BadInputError, match=expected):
        check_pipeline(pipeline, bars)


def test_too_few_bars_are_still_too_few(make_strategy: StrategyMaker, make_bars: BarMaker):
    pipeline = FeaturePipeline(one_input(make_strategy, "mfi", period=14))
    bars = {"1h": lacking(make_bars(10), 4)}
    with pytest.raises(BadInputError, match=r"the data has 10 bars, and `1h_v_raw` needs 14 .*; use more bars"):
        pipeline.require_rows(pipeline.compute(bars), bars=bars)


def test_a_volume_of_0_is_missing_where_a_logarithm_is_taken(make_strategy: StrategyMaker, make_bars: BarMaker):
    strategy = one_input(make_strategy, "returns", source="volume", method="log", period=1)
    pipeline = FeaturePipeline(strategy)
    bars = {"1h": lacking(make_bars(50), slice(0, None, 2), volume=0.0)}
    with pytest.raises(BadInputError) as refused:
        pipeline.require_rows(pipeline.compute(bars), bars=bars)
    assert (
        "25 of its 50 1h bars have no volume above 0 (the first: 2020-01-06 00:00), and `v` (returns) needs 2 in a row,"
        " of which there is never more than 1;"
    ) in str(refused.value)


def test_the_statement_about_volume_that_some_rows_lack(make_strategy: StrategyMaker, make_bars: BarMaker):
    strategy = make_strategy(
        {"m": ("mfi", {"period": 14}), "obv": ("obv", {})}, {}, [{"raw_indicator": "m"}, {"raw_indicator": "obv"}]
    )
    pipeline = FeaturePipeline(strategy)
    bars = {"1h": lacking(make_bars(100), 50)}
    loss = pipeline.volume_loss(bars, pipeline.compute(bars))
    assert loss is not None
    assert loss.statement == (
        "15 of 86 bars have no features for lack of volume: 1 of its 100 1h bars has no volume (the first: 2020-01-08"
        " 02:00), and `m` (mfi) needs 15 in a row, `obv` needs it; import bars that have a volume, or use indicators"
        " that do not read it in place of `m` and `obv`"
    )


def test_volume_that_nothing_reads_and_volume_far_back_cost_nothing(make_strategy: StrategyMaker, make_bars: BarMaker):
    bars = {"1h": lacking(make_bars(100), slice(10, 20))}
    for kind, rows in (("roc", slice(None)), ("mfi", slice(60, None))):
        pipeline = FeaturePipeline(one_input(make_strategy, kind))
        assert pipeline.volume_loss(bars, pipeline.compute(bars), rows) is None


def test_with_volume_changes_only_missing_volume(make_bars: BarMaker):
    bars = lacking(lacking(make_bars(20), 3), 5, volume=0.0)
    filled, above = (with_volume({"1h": bars}, above_zero=zero)["1h"] for zero in (False, True))
    assert np.flatnonzero(filled.volume != bars.volume).tolist() == [3]
    assert np.flatnonzero(above.volume != bars.volume).tolist() == [3, 5]
    assert filled.close is bars.close

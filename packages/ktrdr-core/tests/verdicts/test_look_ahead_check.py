"""Look-ahead of features and labels is found and named, and nothing is found in honest ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.features.causality import CheckReport
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.verdicts import look_ahead_check
from ktrdr.core.work.cancellation import Cancellation

Faults = Callable[..., dict[str, str]]
Market = Callable[..., Bars]


def next_value(bars: Bars, honest: np.ndarray) -> np.ndarray:
    return np.append(honest[1:], honest[-1:])


def test_real_bars_on_two_timeframes_are_clean(faults_on: Faults):
    assert faults_on(sample_bars(), timeframes=("1h", "4h")) == {}


def test_a_leak_names_the_input_the_time_and_the_remedy(faults_on: Faults, plant: Callable[..., None], market: Market):
    plant(next_value)
    sentence = faults_on(market())["look_ahead"]
    assert "input `1h_rsi_low` uses bars that are still to come: at 2018-" in sentence
    assert "of EURUSD it depends on 1 later bar" in sentence
    assert "`ktrdr check`" in sentence
    assert "roc_5" not in sentence


def test_a_leak_that_only_the_bars_of_a_later_symbol_show_is_found(
    faults_on: Faults, plant: Callable[..., None], market: Market
):
    def leak(bars: Bars, honest: np.ndarray) -> np.ndarray:
        return next_value(bars, honest) if bars.symbol == "GBPUSD" else honest

    plant(leak)
    series = (market(), market(symbol="GBPUSD", seed=8), market(symbol="USDJPY", seed=9))
    sentence = faults_on(*series)["look_ahead"]
    assert " of GBPUSD it depends" in sentence
    assert "USDJPY" not in sentence


def test_labels_that_look_further_than_they_declare_are_found(
    faults_on: Faults, market: Market, monkeypatch: pytest.MonkeyPatch
):
    honest = look_ahead_check.make_labels

    def further(labels: object, bars: Bars) -> LabelSet:
        made = honest(labels, bars)
        moved = np.append(made.values[1:], np.nan)[: len(made)]
        return LabelSet(moved, made.span_end, made.look_ahead, made.classes)

    monkeypatch.setattr(look_ahead_check, "make_labels", further)
    faults = faults_on(market())
    assert set(faults) == {"label_look_ahead"}
    assert "the labels `direction` of EURUSD depend on 1 later bar than they declare" in faults["label_look_ahead"]


@pytest.fixture
def checked_parts(
    set_up_on: Callable[..., tuple[EvaluationSetup, BarStore]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[int]]:
    """Return ``checked_parts(bars, ...)``: how many bars of each symbol are checked."""

    def check(*series: Bars) -> list[int]:
        lengths: list[int] = []
        honest = look_ahead_check.check_pipeline

        def counted(pipeline: FeaturePipeline, bars: dict[str, Bars], **arguments: Any) -> CheckReport:
            lengths.append(len(bars["1h"]))
            return honest(pipeline, bars, **arguments)

        monkeypatch.setattr(look_ahead_check, "check_pipeline", counted)
        setup, _ = set_up_on(*series)
        labels, derived = setup.strategy.training.labels, dict.fromkeys(setup.bars, ())
        found = look_ahead_check.check_look_ahead(setup.pipeline, labels, setup.bars, derived, Cancellation())
        assert all(finding.clean for finding in found)
        return lengths

    return check


def test_many_symbols_cost_a_short_part_each(checked_parts: Callable[..., list[int]], market: Market):
    first, *others = checked_parts(*(market(symbol=f"COIN{number}", seed=number) for number in range(4)))
    assert first > 1500
    assert len(others) == 3
    assert max(others) < 600


def test_a_long_series_is_checked_on_its_end(checked_parts: Callable[..., list[int]], market: Market):
    (length,) = checked_parts(market(bars=9000))
    assert 5000 < length < 5100


def test_a_part_without_features_is_replaced_by_all_bars(
    checked_parts: Callable[..., list[int]], plant: Callable[..., None], market: Market
):
    def only_the_first(bars: Bars, honest: np.ndarray) -> np.ndarray:
        return np.where(bars.time < np.datetime64("2018-01-03"), honest, np.nan)

    plant(only_the_first)
    first, other = checked_parts(market(), market(symbol="GBPUSD", seed=8))
    assert first == other

"""Inputs whose values do not come from the bars are found; those of the calendar, of volume and constants are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.indicators.registry import get_indicator
from ktrdr.core.indicators.types import IndicatorType
from ktrdr.core.verdicts import foreign_inputs
from ktrdr.core.verdicts.verdict_result import ValidityFinding

Market = Callable[..., Bars]
Findings = Callable[..., dict[str, ValidityFinding]]
Plant = Callable[..., None]


def table(bars: Bars, honest: np.ndarray) -> np.ndarray:
    """Noise by time, from which nothing can be predicted."""
    hours = bars.time.astype("datetime64[h]").astype(np.int64)
    values = np.sin(hours * 12.9898) * 43758.5453
    return np.where(np.isnan(honest), np.nan, values - np.floor(values))


def large_range(bars: Bars, honest: np.ndarray) -> np.ndarray:
    """The same when signs are flipped."""
    return (np.log(bars.high / bars.low) > 0.001).astype(np.float64)


def test_an_input_from_a_table_is_found(validity_on: Findings, plant: Plant, market: Market):
    plant(table, "roc")
    finding = validity_on(market(), market(symbol="GBPUSD", seed=8))["foreign_input"]
    assert finding.sentence.startswith(
        "indicator `roc_5` of EURUSD, GBPUSD 1h reads prices, and has the same values on other prices:"
    )
    assert "rsi" not in finding.sentence


def test_an_input_from_a_table_that_looks_five_bars_ahead(validity_on: Findings, plant: Plant, market: Market):
    bars = market()
    ahead = dict(zip(bars.time[:-5].tolist(), np.log(bars.close[5:] / bars.close[:-5]).tolist(), strict=True))
    plant(lambda own, honest: np.array([ahead.get(time, 0.0) for time in own.time.tolist()]), "roc")
    found = validity_on(bars)
    assert {name for name, finding in found.items() if not finding.clean} == {"next_bar", "foreign_input"}
    assert "input `1h_roc_5_raw` of EURUSD knows the next 5 bars" in found["next_bar"].sentence


def test_an_input_of_a_longer_timeframe_is_found(validity_on: Findings, plant: Plant, market: Market):
    plant(lambda bars, honest: table(bars, honest) if bars.timeframe.name == "4h" else honest, "roc")
    finding = validity_on(market(bars=4000), timeframes=("1h", "4h"))["foreign_input"]
    assert finding.sentence.startswith("indicator `roc_5` of EURUSD 4h reads prices")


@pytest.mark.parametrize("honest", [large_range, lambda bars, honest: np.ones(len(bars))])
def test_ranges_and_constants_are_clean(
    validity_on: Findings, plant: Plant, market: Market, honest: Callable[..., object]
):
    plant(honest, "roc")
    assert validity_on(market())["foreign_input"].clean


@pytest.mark.parametrize("inputs", [("time",), ("volume",), ("time", "volume")])
def test_what_declares_only_time_or_volume_is_clean(
    validity_on: Findings, plant: Plant, market: Market, monkeypatch: pytest.MonkeyPatch, inputs: tuple[str, ...]
):
    def declared(name: str) -> IndicatorType:
        kind = get_indicator(name)
        return replace(kind, inputs=inputs, parameters=()) if name == "roc" else kind

    monkeypatch.setattr(foreign_inputs, "get_indicator", declared)
    plant(table, "roc")
    assert validity_on(market())["foreign_input"].clean


def test_a_series_of_volume_is_no_price(validity_on: Findings, plant: Plant, market: Market):
    plant(table, "roc")
    period = {"{type: roc, period: 5}": "{type: roc, period: 5, source: volume}"}
    assert validity_on(market(), replacing=period)["foreign_input"].clean

"""Dead zones: the share of real bars on which every membership of a set is 0."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.features.dead_zones import dead_zone_warnings, measure_dead_zones
from ktrdr.core.indicators.computation import compute_indicator


@pytest.fixture(scope="module")
def bars():
    sample = sample_bars()
    return {"1h": sample, "1d": resample(sample, "1d")}


def test_the_share_is_that_of_bars_outside_every_membership(load, bars):
    """Against a count of the RSI values in the hole between 35 and 60, on each timeframe."""
    loaded = load({"fuzzy_sets.rsi": {"indicator": "rsi_14", "low": [0, 0, 35], "high": [60, 100, 100]}})
    zones = measure_dead_zones(loaded.strategy, bars)
    assert [(zone.fuzzy_set, zone.symbol, zone.timeframe) for zone in zones] == [
        ("rsi", "EURUSD", "1h"),
        ("rsi", "EURUSD", "1d"),
    ]
    for zone in zones:
        values = compute_indicator("rsi", {"period": 14}, bars[zone.timeframe])["rsi"]
        values = values[~np.isnan(values)]
        assert zone.bars == len(values)
        assert zone.share == pytest.approx(((values >= 35) & (values <= 60)).mean())
        assert zone.share > 0.3
    first, second = dead_zone_warnings(loaded, zones)
    assert (first.line, first.column) == loaded.places["fuzzy_sets", "rsi"]
    assert (first.path, first.severity) == ("fuzzy_sets.rsi", "warning")
    assert first.message.startswith(f"dead zone: on {zones[0].share:.1%} of 6,211 bars of EURUSD 1h every membership")
    assert "EURUSD 1d" in second.message


def test_shoulders_have_no_dead_zone(load, bars):
    loaded = load()
    zones = measure_dead_zones(loaded.strategy, bars)
    assert [zone.share for zone in zones] == [0.0, 0.0]
    assert dead_zone_warnings(loaded, zones) == []


def test_a_rare_dead_zone_is_shown_as_under_a_tenth_of_a_percent(load, bars):
    values = compute_indicator("rsi", {"period": 14}, bars["1h"])["rsi"]
    third = float(np.sort(values[~np.isnan(values)])[-3])
    sets = {"indicator": "rsi_14", "low": [0, 0, 50], "high": [40, 60, third - 1, third]}
    loaded = load({"fuzzy_sets.rsi": sets})
    zones = measure_dead_zones(loaded.strategy, bars)
    assert zones[0].share == pytest.approx(3 / 6211)
    assert "on under 0.1% of 6,211 bars" in dead_zone_warnings(loaded, zones)[0].message


def test_only_the_sets_in_nn_inputs_are_measured(load, bars):
    changes = {"fuzzy_sets.idle": {"indicator": "rsi_14", "low": [0, 1, 2]}, "nn_inputs.0.timeframes": ["1d"]}
    zones = measure_dead_zones(load(changes).strategy, bars)
    assert [(zone.fuzzy_set, zone.timeframe) for zone in zones] == [("rsi", "1d")]

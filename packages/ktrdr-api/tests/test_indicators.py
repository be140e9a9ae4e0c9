"""Indicators and memberships on a year of real bars: the same numbers as without the API."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import install_sample
from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.indicators.computation import compute_indicator

ASKED = {"symbol": "EURUSD", "timeframe": "1h"}


@pytest.fixture
def bars(home):
    return install_sample(BarStore(home / "data"))


def floats(column):
    return np.array([np.nan if value is None else value for value in column])


def test_the_catalogue_says_what_each_indicator_reads_and_gives(client):
    catalogue = client.get("/api/v1/indicators").json()
    assert catalogue["problems"] == {}
    by_name = {indicator["name"]: indicator for indicator in catalogue["indicators"]}
    assert len(by_name) >= 45
    assert by_name["macd"]["outputs"][0] == "macd"
    period = next(parameter for parameter in by_name["rsi"]["parameters"] if parameter["name"] == "period")
    assert (period["kind"], period["default"], period["required"]) == ("int", 14, False)
    assert client.get("/api/v1/indicators/BollingerBands").json()["name"] == "bbands"
    missing = client.get("/api/v1/indicators/rsy")
    assert missing.status_code == 404
    assert "did you mean `rsi`" in missing.json()["detail"]
    assert "looks into the future" in client.get("/api/v1/indicators/zigzag").json()["detail"]


def test_values_are_those_of_all_history_whatever_page_is_asked_for(client, bars):
    expected = compute_indicator("macd", {"fast_period": 8}, bars)
    whole: dict[str, list] = {name: [] for name in expected}
    asked = {**ASKED, "parameters": {"fast_period": 8}, "limit": 2500}
    pages = 0
    while True:
        page = client.post("/api/v1/indicators/macd/calculate", json=asked).json()
        pages += 1
        for name in expected:
            whole[name] += page["values"][name]
        if page["next"] is None:
            break
        asked["start"] = page["next"]
    assert pages == -(-len(bars) // 2500)
    for name, values in expected.items():
        np.testing.assert_array_equal(floats(whole[name]), values)


def test_a_range_is_a_range(client, bars):
    asked = {**ASKED, "start": "2017-03-01T00:00:00Z", "end": "2017-03-02T00:00:00+00:00"}
    page = client.post("/api/v1/indicators/sma/calculate", json=asked).json()
    assert page["time"][0] == "2017-03-01T00:00:00Z"
    assert page["time"][-1] == "2017-03-01T23:00:00Z"
    everywhere = {**ASKED, "start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59+14:00", "limit": 1}
    assert len(client.post("/api/v1/indicators/sma/calculate", json=everywhere).json()["time"]) == 1
    without_zones = {**ASKED, "start": "2017-03-01", "end": "2017-03-02T00:00:00"}
    assert client.post("/api/v1/indicators/sma/calculate", json=without_zones).json() == page


def test_a_timeframe_that_is_not_stored_is_resampled(client, bars):
    page = client.post("/api/v1/indicators/rsi/calculate", json={**ASKED, "timeframe": "4h", "limit": 20}).json()
    assert page["timeframe"] == "4h"
    assert page["values"]["rsi"][:14] == [None] * 14
    assert page["values"]["rsi"][14] is not None


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"parameters": {"perod": 3}}, 422, "did you mean `period`"),
        ({"parameters": {"period": 0}}, 422, "at least"),
        ({"symbol": "NONE"}, 404, "NONE"),
        ({"symbol": "../x"}, 422, "symbol"),
        ({"timeframe": "3h"}, 422, "timeframe"),
        ({"limit": 0}, 422, "limit"),
        ({"unknown": 1}, 422, "unknown"),
        ({"start": "noon"}, 422, "start"),
        ({"start": "2017-03-01", "end": "2017-01-01"}, 422, "the end (2017-01-01 00:00) is not after the start"),
    ],
)
def test_what_cannot_be_calculated_is_said(client, bars, change, status, said):
    answer = client.post("/api/v1/indicators/rsi/calculate", json={**ASKED, **change})
    assert answer.status_code == status
    assert said in answer.text


def test_degrees_of_membership_are_those_of_the_pipeline(client, bars):
    asked = {
        **ASKED,
        "indicator": {"type": "bbands", "period": 20},
        "output": "upper",
        "memberships": {
            "low": [1.0, 1.05, 1.1],
            "wide": [1.0, 1.05, 1.1, 1.2],
            "near": {"type": "gaussian", "parameters": [1.1, 0.02]},
        },
        "limit": 10_000,
    }
    page = client.post("/api/v1/fuzzy/calculate", json=asked).json()
    upper = compute_indicator("bbands", {"period": 20}, bars)["upper"]
    for name, kind, numbers in (
        ("low", "triangular", (1.0, 1.05, 1.1)),
        ("wide", "trapezoidal", (1.0, 1.05, 1.1, 1.2)),
        ("near", "gaussian", (1.1, 0.02)),
    ):
        expected = membership(MembershipFunction(type=kind, parameters=numbers), upper)
        np.testing.assert_array_equal(floats(page["values"][name]).astype(np.float32), expected)


def test_membership_types_are_listed(client):
    listed = {entry["type"]: entry["parameters"] for entry in client.get("/api/v1/fuzzy").json()}
    assert listed["gaussian"] == ["mean", "sigma"]
    assert set(listed) == {"triangular", "trapezoidal", "gaussian", "sigmoid", "bell"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"memberships": {"low": [3, 2, 1]}}, "fuzzy_sets.memberships.low"),
        ({"memberships": {"low": {"type": "square", "parameters": [1, 2]}}}, "fuzzy_sets.memberships.low.type"),
        ({"memberships": {"a b": [1, 2, 3]}}, "fuzzy_sets.memberships.a b"),
        ({"indicator": {"type": "rsi", "perod": 3}}, "indicators.indicator.perod"),
        ({"output": "upper"}, "fuzzy_sets.memberships.indicator"),
    ],
)
def test_memberships_are_checked_as_those_of_a_strategy(client, bars, change, field):
    asked = {**ASKED, "indicator": {"type": "rsi"}, "memberships": {"low": [0, 20, 40]}, **change}
    answer = client.post("/api/v1/fuzzy/calculate", json=asked)
    assert answer.status_code == 422, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]

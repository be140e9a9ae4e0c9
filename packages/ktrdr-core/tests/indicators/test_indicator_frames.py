"""The public functions of `ktrdr.core.indicators`, on DataFrames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ktrdr.core.data  # noqa: F401  the examples name it `kt.data`
import ktrdr.core.indicators as indicators
from ktrdr.core.errors import BadInputError
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import get_indicator, indicator_names


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))


@pytest.fixture
def frame(eurusd):
    return eurusd[:500].to_frame()


@pytest.mark.parametrize("name", indicator_names())
def test_the_values_are_those_of_the_bars(name, eurusd, frame):
    expected = compute_indicator(name, {}, eurusd[:500])
    for given in (frame, eurusd[:500]):
        found = indicators.compute(name, given)
        pd.testing.assert_index_equal(found.index, frame.index)
        if len(expected) == 1:
            assert found.name == next(iter(expected))
            found = found.to_frame()
        assert found.columns.tolist() == list(expected)
        for output, values in expected.items():
            assert found[output].to_numpy().tobytes() == values.tobytes()


@pytest.mark.parametrize("name", indicator_names())
def test_the_columns_that_are_not_read_are_not_needed(name, frame):
    indicator = get_indicator(name)
    parameters, _ = indicator.validate({})
    sources = {"hlc3": ["high", "low", "close"], "hl2": ["high", "low"]}
    source = parameters.get("source", "close")
    read = [*indicator.inputs, *(sources.get(source, [source]) if indicator.has_source else [])]
    few = frame[[column for column in frame.columns if column in read]]
    pd.testing.assert_frame_equal(
        pd.DataFrame(indicators.compute(name, few)), pd.DataFrame(indicators.compute(name, frame))
    )


def test_parameters_and_names_in_any_case(frame):
    np.testing.assert_array_equal(
        indicators.compute("RSI", frame, period=5, source="HLC3"),
        indicators.compute("rsi", frame, period=5, source="hlc3"),
    )


def test_frames_as_vendors_name_them(frame):
    named = frame.rename(columns=str.title).tz_localize(None).rename_axis("Date").reset_index()
    found = indicators.compute("atr", named)
    pd.testing.assert_index_equal(found.index, named.index)
    np.testing.assert_array_equal(found, indicators.compute("atr", frame))


def test_times_count_as_utc_where_a_day_begins(frame):
    expected = indicators.compute("vwap", frame.assign(volume=1.0), anchor="day")
    elsewhere = frame.assign(volume=1.0).tz_convert("Asia/Tokyo")
    found = indicators.compute("vwap", elsewhere, anchor="day")
    np.testing.assert_array_equal(found, expected)
    pd.testing.assert_index_equal(found.index, elsewhere.index)


def test_a_missing_price_begins_the_warm_up_again(frame):
    frame.iloc[100, 3] = np.nan
    values = indicators.compute("sma", frame, period=10)
    assert np.flatnonzero(values.isna()).tolist() == [*range(9), *range(100, 110)]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("rsy", {}, "unknown indicator type `rsy`, did you mean `rsi`"),
        ("qqqqqq", {}, r"`kt.indicators.list\(\)` lists those there are"),
        ("zigzag", {}, "looks into the future"),
        ("rsi", {"perid": 3}, "unknown parameter `perid`, did you mean `period`"),
        ("rsi", {"period": 0}, "`period` must be at least 2, not 0"),
        ("rsi", {"period": "x"}, "`period` must be a whole number, not 'x'"),
        ("rsi", {"source": "x"}, "`source` must be one of open, high"),
        ("macd", {"fast_period": 30}, r"`fast_period` \(30\) must be below"),
    ],
)
def test_what_there_is_not(frame, name, parameters, message):
    with pytest.raises(BadInputError, match=message):
        indicators.compute(name, frame, **parameters)


CHANGES = {
    "a column is missing": (lambda frame: frame.drop(columns="low"), 'no column for low: .*rename.*"NAME": "low"'),
    "newest first": (lambda frame: frame[::-1], r"iloc\[1\]: .* does not come after .*with frame.sort_index\(\)"),
    "twice": (lambda frame: frame.iloc[[0, 1, 1]], r"iloc\[2\]: .*keep one row of each time"),
    "no times": (lambda frame: frame.reset_index(drop=True), "its index holds whole numbers: make the times its index"),
    "times as text": (
        lambda frame: frame.set_axis(frame.index.astype(str)),
        r"frame.index = pd.to_datetime\(frame.index",
    ),
    "prices as text": (lambda frame: frame.astype(str), 'frame."high". = pd.to_numeric'),
    "a series": (lambda frame: frame["close"], "bars must be a pandas DataFrame, not Series"),
    "two symbols": (lambda frame: pd.concat({"A": frame, "B": frame}, axis=1), "keep the columns of one symbol"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_frames_that_are_refused(frame, change):
    apply, message = CHANGES[change]
    with pytest.raises(BadInputError, match=message):
        indicators.compute("atr", apply(frame))


class TestList:
    def test_every_type_is_there(self):
        found = indicators.list()
        assert found.index.tolist() == list(indicator_names())
        assert found.loc["rsi", "parameters"] == {"period": 14, "source": "close"}
        assert found.loc["bbands", "outputs"] == ("upper", "middle", "lower")
        assert found.loc["mfi", "inputs"] == ("high", "low", "close", "volume")
        assert found.loc["rsi", "warmup"] == 14
        assert set(found["origin"]) == {"ktrdr-core"}
        assert set(found["problem"]) == {""}

    def test_those_of_other_distributions(self, install, user_indicator):
        install("acme-share", "bar_share", user_indicator())
        install("broken-share", "other", "raise RuntimeError('no')")
        found = indicators.list()
        assert found.loc["bar_share", "origin"] == "acme-share 1.2"
        assert "cannot be imported" in found.loc["other", "problem"]

    def test_what_a_distribution_needs_for_one(self, install, user_indicator, frame):
        code = user_indicator().replace("ktrdr.core.indicators.types", "ktrdr.core.indicators")
        install("acme-share", "bar_share", code)
        np.testing.assert_allclose(
            indicators.compute("bar_share", frame, factor=2.0), 2 * (frame["high"] - frame["low"]) / frame["close"]
        )

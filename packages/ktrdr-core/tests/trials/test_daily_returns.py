"""Returns per day are what pandas makes of the same equity, and fit into a row."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.daily_returns import MOST_DAYS, DailyReturns, daily_returns, day_ends


def reference(time: pd.DatetimeIndex, equity: np.ndarray, capital: float) -> pd.Series:
    """Levels at the ends of days, and what each is beside the one before; all days, and the newest of them."""
    levels = pd.Series(equity, time).resample("D").last().ffill()
    before = levels.shift(fill_value=capital)
    return (levels / before - 1).iloc[-MOST_DAYS:]


def found(time: pd.DatetimeIndex, equity: np.ndarray, capital: float) -> DailyReturns:
    returns = daily_returns(equity, capital, day_ends(time.to_numpy()))
    assert returns is not None
    return returns


@given(
    hours=st.lists(st.integers(0, 24 * 60), min_size=1, max_size=200, unique=True),
    seed=st.integers(0, 1_000),
    capital=st.sampled_from((1.0, 10_000.0)),
)
def test_it_is_what_pandas_makes(hours, seed, capital):
    time = pd.to_datetime(sorted(hours), unit="h", origin="2019-12-28").as_unit("ns")
    equity = capital * np.exp(np.random.default_rng(seed).normal(0, 0.1, len(time)).cumsum())
    wanted, returns = reference(time, equity, capital), found(time, equity, capital)
    assert returns.first == (wanted.index[0] - pd.Timestamp(0)).days
    assert returns.values.dtype == np.float32
    np.testing.assert_allclose(returns.values, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("days", [MOST_DAYS - 1, MOST_DAYS, MOST_DAYS + 1, 4_000])
def test_the_newest_days_are_kept(days):
    time = pd.date_range("2010-01-01", periods=days, freq="D", unit="ns")
    equity = np.exp(np.random.default_rng(1).normal(0, 0.01, days).cumsum())
    returns = found(time, equity, 1.0)
    assert len(returns.values) == min(days, MOST_DAYS)
    assert returns.first + len(returns.values) - 1 == (time[-1] - pd.Timestamp(0)).days
    np.testing.assert_allclose(returns.values, reference(time, equity, 1.0), rtol=1e-4, atol=1e-7)


def test_a_gap_longer_than_what_is_kept():
    time = pd.DatetimeIndex(["2000-01-01", "2020-01-01", "2020-01-03"]).as_unit("ns")
    returns = found(time, np.array([2.0, 3.0, 6.0]), 1.0)
    assert len(returns.values) == MOST_DAYS
    np.testing.assert_allclose(returns.values[-3:], [0.5, 0, 1])
    assert not returns.values[:-3].any()


def test_before_1970():
    time = pd.DatetimeIndex(["1969-12-30 23:00", "1969-12-31 01:00", "1970-01-01 00:00"]).as_unit("ns")
    returns = found(time, np.array([2.0, 3.0, 6.0]), 1.0)
    assert returns.first == -2
    assert returns.values.tolist() == [1.0, 0.5, 1.0]


@pytest.mark.parametrize("end", [0.0, -50.0])
def test_nothing_follows_ruin(end):
    time = pd.date_range("2020-01-01", periods=5, freq="D", unit="ns")
    returns = found(time, np.array([100.0, 50.0, end, 80.0, 160.0]), 100.0)
    assert returns.values.tolist() == [0.0, -0.5, end / 50 - 1, 0.0, 0.0]


def test_no_bar_has_no_returns():
    assert daily_returns(np.array([]), 1.0, day_ends(np.array([], "datetime64[ns]"))) is None


def test_what_is_no_float32_is_cut():
    time = pd.date_range("2020-01-01", periods=2, freq="D", unit="ns")
    assert np.isfinite(found(time, np.array([1e300, 1e-300]), 1.0).values).all()


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=MOST_DAYS).map(np.float32),
    st.integers(-700_000, 2_900_000),
)
def test_there_and_back(values, first):
    again = DailyReturns.from_json(DailyReturns(first, values).to_json())
    assert again.first == first
    assert again.values.tobytes() == values.tobytes()


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


GOOD = packed(bytes(8))
HOSTILE = {
    "empty": {},
    "no values": {"first": "2020-01-01"},
    "no first": {"float32": GOOD},
    "first is a number": {"first": 5, "float32": GOOD},
    "first is no date": {"first": "2020-02-30", "float32": GOOD},
    "first is far": {"first": "10000-01-01", "float32": GOOD},
    "values are numbers": {"first": "2020-01-01", "float32": [1.0]},
    "no base64": {"first": "2020-01-01", "float32": "é"},
    "not compressed": {"first": "2020-01-01", "float32": base64.b64encode(bytes(8)).decode()},
    "cut off": {"first": "2020-01-01", "float32": GOOD[:8]},
    "no whole number of values": {"first": "2020-01-01", "float32": packed(bytes(7))},
    "none": {"first": "2020-01-01", "float32": packed(b"")},
    "too many": {"first": "2020-01-01", "float32": packed(bytes(4 * MOST_DAYS + 4))},
    "a bomb": {"first": "2020-01-01", "float32": packed(bytes(30_000_000))},
    "infinite": {"first": "2020-01-01", "float32": packed(np.float32([np.inf]).tobytes())},
    "not a number": {"first": "2020-01-01", "float32": packed(np.float32([np.nan]).tobytes())},
    "a list": [],
    "nothing": None,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_something_else_is_refused(name):
    with pytest.raises(BadInputError, match=r"^the daily returns of a trial cannot be read \("):
        DailyReturns.from_json(HOSTILE[name])

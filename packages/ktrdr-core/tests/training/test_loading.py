"""Loading of bars: days are UTC and inclusive, and missing bars are reported."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import DateRange
from ktrdr.core.training.preparation import load_symbol, span_of


def test_both_days_are_included(bar_store):
    dates = DateRange(start=dt.date(2017, 3, 1), end=dt.date(2017, 3, 2))
    bars = load_symbol(bar_store, "EURUSD", ("1h",), dates)["1h"]
    sample = sample_bars()
    days = sample.time.astype("datetime64[D]")
    np.testing.assert_array_equal(
        bars.time, sample.time[(days == np.datetime64("2017-03-01")) | (days == np.datetime64("2017-03-02"))]
    )
    assert len(bars) == 48


def test_open_sides_and_other_timeframes(bar_store):
    bars = load_symbol(bar_store, "EURUSD", ("1h", "4h"), DateRange())
    assert list(bars) == ["1h", "4h"]
    assert len(bars["1h"]) == len(sample_bars())
    assert bars["4h"].timeframe.name == "4h"


def test_the_end_is_the_next_midnight():
    assert span_of(DateRange(end=dt.date(2016, 12, 31))) == (None, np.datetime64("2017-01-01", "ns"))


def test_days_without_bars_are_refused_with_those_that_are_stored(bar_store):
    with pytest.raises(BadInputError) as caught:
        load_symbol(bar_store, "EURUSD", ("1h",), DateRange(start=dt.date(2019, 1, 1)))
    assert "no 1h bars of EURUSD from 2019-01-01 to the end" in str(caught.value)
    assert "stored are 2017-01-01 22:00 to 2017-12-29 22:00" in str(caught.value)


def test_a_symbol_that_is_not_stored_is_refused(bar_store):
    with pytest.raises(BadInputError, match="GBPUSD"):
        load_symbol(bar_store, "GBPUSD", ("1h",), DateRange())

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.model import Labels

_STOCKS = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"
_COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="session")
def eurusd() -> Bars:
    """A year of hourly EURUSD."""
    return sample_bars()


@pytest.fixture(scope="session")
def stocks() -> dict[str, Bars]:
    """Daily AAPL (2000 to 2013) and FB (since 2012): two lengths, and prices that jump at splits."""
    with gzip.open(_STOCKS, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    bars = {}
    for ticker in ("AAPL", "FB"):
        own = [row for row in rows if row["Ticker"] == ticker]
        bars[ticker] = Bars(
            ticker,
            Timeframe("1d"),
            np.array([row["Date"] for row in own], dtype="datetime64[ns]"),
            *(np.array([float(row[name.capitalize()]) for row in own]) for name in _COLUMNS),
        )
    return bars


@pytest.fixture(scope="session")
def bars_of() -> Callable[..., Bars]:
    """Hourly bars with the given closes; opens, highs and lows are the closes too unless given."""

    def make(close: Any, open: Any = None, high: Any = None, low: Any = None) -> Bars:
        close = np.asarray(close, dtype=np.float64)
        time = np.datetime64("2020-01-06T00:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "h")
        columns = [close if part is None else np.asarray(part, dtype=np.float64) for part in (open, high, low)]
        return Bars("X", Timeframe("1h"), time, *columns, close, np.ones(len(close)))

    return make


@pytest.fixture(scope="session")
def labels_section() -> Callable[..., Labels]:
    """A ``training.labels`` section with complete parameters, by source; names may stand for those that differ."""

    def make(source: str, **parameters: Any) -> Labels:
        defaults = {parameter.name: parameter.default for parameter in LABEL_SOURCES[source].parameters}
        assert set(parameters) <= set(defaults)
        return Labels(source=source, parameters={**defaults, **parameters})

    return make

"""The sample data: EURUSD, one hour, the year 2017 (see ``samples/ATTRIBUTION.md``)."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe

__all__ = ["SAMPLE_SYMBOL", "SAMPLE_TIMEFRAME", "install_sample", "sample_bars"]

SAMPLE_SYMBOL = "EURUSD"
"""Symbol of the sample."""

SAMPLE_TIMEFRAME = "1h"
"""Timeframe of the sample."""

_FILE = Path(__file__).parents[1] / "samples" / "EURUSD_1h_2017.csv.gz"


def sample_bars() -> Bars:
    """Return the sample: 6,225 hourly bars of EURUSD, ask prices, from 2017-01-01 22:00 to 2017-12-29 21:00 UTC."""
    import gzip

    import numpy as np

    with gzip.open(_FILE, "rt", encoding="ascii") as file:
        next(file)
        rows = [line.rstrip("\n").split(",") for line in file]
    columns = list(zip(*rows, strict=True))
    return Bars(
        SAMPLE_SYMBOL,
        Timeframe(SAMPLE_TIMEFRAME),
        np.array(columns[0], dtype="datetime64[ns]"),
        *(np.array(column, dtype=np.float64) for column in columns[1:]),
    )


def install_sample(store: BarStore) -> Bars:
    """Merge the sample into ``store`` and return it; a second call changes nothing."""
    bars = sample_bars()
    store.write(bars)
    return bars

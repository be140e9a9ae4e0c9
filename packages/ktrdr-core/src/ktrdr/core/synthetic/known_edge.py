"""The shipped market with a known edge: two years of hourly bars whose price returns to a drifting mean."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.synthetic.market import SyntheticMarket, market_bars, synthetic_market
from ktrdr.core.synthetic.processes import DEFAULT_BARS, DEFAULT_SEED, DEFAULT_START

__all__ = [
    "KNOWN_EDGE_BARS",
    "KNOWN_EDGE_START",
    "KNOWN_EDGE_SYMBOL",
    "KNOWN_EDGE_TIMEFRAME",
    "install_known_edge",
    "known_edge_bars",
    "known_edge_market",
]

KNOWN_EDGE_SYMBOL = "MEANREV"
"""Symbol of the market."""

KNOWN_EDGE_TIMEFRAME = "1h"
"""Timeframe of the market."""

KNOWN_EDGE_START = np.datetime64(DEFAULT_START, "ns")
"""Open of its first bar, UTC."""

KNOWN_EDGE_BARS = DEFAULT_BARS
"""Number of its bars: the years 2017 and 2018."""


def known_edge_market() -> SyntheticMarket:
    """Return the market: ``mean_reversion`` with its default seed and parameters."""
    return synthetic_market("mean_reversion", DEFAULT_SEED)


def known_edge_bars(n: int = KNOWN_EDGE_BARS) -> Bars:
    """Return the first ``n`` bars of the market, which go on after the shipped two years if ``n`` is larger."""
    return market_bars(known_edge_market(), KNOWN_EDGE_SYMBOL, Timeframe(KNOWN_EDGE_TIMEFRAME), KNOWN_EDGE_START, n)


def install_known_edge(store: BarStore) -> Bars:
    """Merge the market into ``store`` and return its bars; a second call changes nothing.

    Raises:
        BadInputError: bars of another market are stored under :data:`KNOWN_EDGE_SYMBOL`.
        StoreError: the store cannot be written.
    """
    bars = known_edge_bars()
    store.write(bars, recipe=known_edge_market().recipe(KNOWN_EDGE_START))
    return bars

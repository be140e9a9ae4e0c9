"""Bars that one symbol contributes to a backtest, and values that all backtests of a sweep share."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.fills import block_extremes
from ktrdr.core.backtesting.signals import volume_ratio
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_name
from ktrdr.core.data.calendars import bars_per_year
from ktrdr.core.data.loading import bars_digest
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.short_texts import object_repr

__all__ = ["ATR_PERIOD", "SymbolInput"]

ATR_PERIOD = 14
"""Bars of the ATR that distances in ``risk`` are multiples of."""


@dataclass(frozen=True, eq=False)
class SymbolInput:
    """Bars of one symbol up to the last traded bar, and values that all backtests of a sweep share.

    Attributes:
        bars: bars per timeframe, the base timeframe first; the base bars end with the last traded bar.
        first: position of the first traded base bar. Earlier bars are history.
    """

    bars: Mapping[str, Bars]
    first: int

    def __repr__(self) -> str:
        market, history = f"{self.base.symbol} {self.base.timeframe}", f"{self.first:,} of history"
        return object_repr(self, market, f"{len(self.base) - self.first:,} traded bars", history)

    @property
    def base(self) -> Bars:
        """Base bars, history included."""
        return next(iter(self.bars.values()))

    @property
    def traded(self) -> Bars:
        """Base bars that are traded."""
        return self.base[self.first :]

    @functools.cached_property
    def atr(self) -> np.ndarray:
        """ATR of the traded bars, float64 ``(n,)``, computed with the history before them."""
        return compute_indicator("atr", {"period": ATR_PERIOD}, self.base)["atr"][self.first :]

    @functools.cached_property
    def extremes(self) -> tuple[list[float], list[float]]:
        """See :func:`~ktrdr.core.backtesting.fills.block_extremes`."""
        return block_extremes(self.traded)

    @functools.cached_property
    def volume_ratio(self) -> np.ndarray:
        """Volume ratio of the traded bars, float64 ``(n,)``, computed with the history before them.

        See :func:`~ktrdr.core.backtesting.signals.volume_ratio`.
        """
        return volume_ratio(self.base.volume)[self.first :]

    @functools.cached_property
    def digest(self) -> bytes:
        """Digest of the traded bars, see :func:`~ktrdr.core.data.loading.bars_digest`."""
        return bars_digest(self.traded)

    @functools.cached_property
    def bars_per_year(self) -> float:
        """Bars in a year of this market."""
        base = self.base
        return bars_per_year(base.symbol, base.timeframe, base.time, calendar=self.calendar)

    @functools.cached_property
    def calendar(self) -> str:
        """Name of the market's calendar."""
        return calendar_name(self.base)

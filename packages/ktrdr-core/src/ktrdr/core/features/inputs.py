"""Bars of every timeframe that a feature pipeline needs, from the store or from the shipped sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import load_bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import Strategy

__all__ = ["derived_timeframes", "inputs_for", "sample_inputs", "stored_inputs"]


def stored_inputs(
    store: BarStore,
    symbol: str,
    timeframes: Sequence[str],
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> dict[str, Bars]:
    """Return ``symbol``'s bars in ``[start, end)`` for each timeframe, the base timeframe first.

    A timeframe that is not stored is resampled from a stored one.

    Raises:
        BadInputError: a timeframe is neither stored nor can be resampled.
    """
    return {timeframe: load_bars(store, symbol, timeframe, start, end) for timeframe in timeframes}


def derived_timeframes(store: BarStore, symbol: str, timeframes: Sequence[str]) -> tuple[str, ...]:
    """Return the timeframes that are not stored and can be resampled from the base timeframe, ``timeframes[0]``."""
    base = Timeframe(timeframes[0]).seconds
    return tuple(
        timeframe
        for timeframe in timeframes[1:]
        if not store.has(symbol, timeframe) and Timeframe(timeframe).seconds % base == 0
    )


def sample_inputs(timeframes: Sequence[str]) -> dict[str, Bars]:
    """Return the shipped sample for each timeframe, the base timeframe first.

    Raises:
        BadInputError: a timeframe is finer than the sample.
    """
    sample = sample_bars()
    finer = [timeframe for timeframe in timeframes if Timeframe(timeframe).seconds < sample.timeframe.seconds]
    if finer:
        raise BadInputError(
            f"the sample holds {sample.timeframe} bars and cannot give {', '.join(finer)}; leave out --sample and"
            " import data of your own with `ktrdr data import`"
        )
    return {
        timeframe: sample if timeframe == sample.timeframe.name else resample(sample, timeframe)
        for timeframe in timeframes
    }


def inputs_for(
    strategy: Strategy, timeframes: Sequence[str], *, symbol: str | None, sample: bool, store: BarStore
) -> dict[str, Bars]:
    """Return the bars that a command works on.

    Args:
        strategy: the strategy, whose first symbol is the default.
        timeframes: timeframes to read, the base timeframe first.
        symbol: symbol to read; ``None`` for the strategy's first, or for the symbol of the sample.
        sample: read the shipped sample instead of the store.
        store: stored bars.

    Raises:
        BadInputError: there are no such bars, or the sample is of another symbol.
    """
    if not sample:
        return stored_inputs(store, symbol or strategy.training_data.symbols[0], timeframes)
    bars = sample_inputs(timeframes)
    sample_symbol = bars[timeframes[0]].symbol
    if symbol is not None and symbol != sample_symbol:
        raise BadInputError(f"the sample holds {sample_symbol}, not `{symbol}`; leave out --symbol or --sample")
    return bars

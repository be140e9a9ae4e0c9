"""Preparation of samples from stored bars: load, compute indicators, fuzzify, normalize, stack and weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.uniqueness import uniqueness_weights
from ktrdr.core.plugins.contract import Split
from ktrdr.core.strategy.model import DateRange

__all__ = [
    "calculate_indicators",
    "first_rows",
    "fit_normalizers",
    "fuzzify",
    "load_symbol",
    "make_part",
    "span_of",
    "stack_symbols",
    "weigh_samples",
]


def span_of(dates: DateRange) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Return inclusive days as a half-open span ``[start, end)``, ``datetime64[ns]`` UTC; ``None`` for an open side."""
    start = None if dates.start is None else np.datetime64(dates.start, "ns")
    end = None if dates.end is None else np.datetime64(dates.end, "ns") + np.timedelta64(1, "D")
    return start, end


def load_symbol(store: BarStore, symbol: str, timeframes: Sequence[str], dates: DateRange) -> dict[str, Bars]:
    """Return the bars of ``symbol`` that open on ``dates``, for each timeframe, the base timeframe first.

    Raises:
        BadInputError: there are no such bars; the message names the stored ones.
    """
    start, end = span_of(dates)
    bars = stored_inputs(store, symbol, timeframes, start, end)
    for timeframe, part in bars.items():
        if len(part):
            continue
        days = f"{dates.start or 'the beginning'} to {dates.end or 'the end'}"
        stored = next((info for info in store.datasets() if info.symbol == symbol), None)
        known = f"; stored are {format_time(stored.start)} to {format_end(stored.end)}" if stored else ""
        raise BadInputError(f"there are no {timeframe} bars of {symbol} from {days}{known}; choose other dates")
    return bars


def calculate_indicators(
    pipeline: FeaturePipeline, bars: Mapping[str, Bars], cache: SymbolCache | None = None
) -> dict[Source, np.ndarray]:
    """Return one symbol's indicator values, float64 by ``(timeframe, indicator)``, on the bars of each timeframe."""
    return pipeline.indicator_values(bars, cache)


def fuzzify(
    pipeline: FeaturePipeline, bars: Mapping[str, Bars], indicator_values: Mapping[Source, np.ndarray]
) -> FeatureMatrix:
    """Return one symbol's feature matrix: indicator values aligned, lagged and turned into memberships.

    Raw columns are not normalized yet, because that needs the training rows.

    Raises:
        BadInputError: no row has all features; the message names the input that needs the most bars, or the missing
            volume.
    """
    matrix = pipeline.assemble(bars, indicator_values)
    pipeline.require_rows(matrix, bars=bars)
    return matrix


def fit_normalizers(
    pipeline: FeaturePipeline, matrices: Mapping[str, FeatureMatrix], train_rows: Mapping[str, np.ndarray], window: int
) -> None:
    """Fit each symbol's normalizers on the rows that its training samples use, and on no other rows.

    Args:
        pipeline: the pipeline to fit.
        matrices: feature matrices by symbol, not normalized.
        train_rows: int64 rows of the training samples, by symbol.
        window: number of rows of a sample; all of them are used.

    Raises:
        BadInputError: a symbol has no training row.
    """
    used = {}
    for symbol, rows in train_rows.items():
        mask = np.zeros(len(matrices[symbol].time), dtype=bool)
        for lag in range(window):
            mask[rows - lag] = True
        used[symbol] = mask
    pipeline.fit(matrices, used)


def first_rows(lengths: Mapping[str, int]) -> dict[str, int]:
    """Return the row at which each symbol begins in the matrix of all symbols, from the number of rows of each."""
    starts: dict[str, int] = {}
    row = 0
    for symbol, length in lengths.items():
        starts[symbol] = row
        row += length
    return starts


def stack_symbols(matrices: Iterator[np.ndarray], lengths: Mapping[str, int], columns: int) -> np.ndarray:
    """Return the rows of all symbols one after another, float32 C-contiguous ``(n, features)``.

    The only matrix is returned itself. Of several, each is copied before the next is taken, so at most one is in memory
    twice.

    Args:
        matrices: normalized matrix of each symbol.
        lengths: number of rows of each symbol, in the same order.
        columns: number of features.
    """
    if len(lengths) == 1:
        return next(matrices)
    stacked = np.empty((sum(lengths.values()), columns), dtype=np.float32)
    for start, values in zip(first_rows(lengths).values(), matrices, strict=True):
        stacked[start : start + len(values)] = values
    return stacked


def make_part(
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelSet],
    first_row: Mapping[str, int],
    weights: Mapping[str, np.ndarray] | None = None,
) -> Split:
    """Return the samples of one part of the data, symbol after symbol, each in time order.

    Args:
        rows: int64 rows of each symbol's own matrix.
        labels: labels of all rows, by symbol.
        first_row: row at which each symbol begins in the matrix of all symbols.
        weights: float64 weights of ``rows``, by symbol; ``None`` for equal weights.
    """
    dtype = np.int64 if next(iter(labels.values())).classes else np.float32
    count = sum(len(each) for each in rows.values())
    part = Split(np.empty(count, np.int64), np.empty(count, dtype), np.ones(count, np.float32))
    start = 0
    for symbol, own in rows.items():
        place = slice(start, start + len(own))
        part.rows[place] = own + first_row[symbol]
        part.labels[place] = labels[symbol].values[own]
        if weights is not None:
            part.weights[place] = weights[symbol]
        start += len(own)
    return part


def weigh_samples(rows: Mapping[str, np.ndarray], labels: Mapping[str, LabelSet]) -> dict[str, np.ndarray]:
    """Return the uniqueness of each sample's label as float64 weights, by symbol, with mean 1 over all symbols.

    Args:
        rows: int64 rows of the training samples, by symbol.
        labels: labels of all rows, by symbol.
    """
    unique = {symbol: uniqueness_weights(labels[symbol].span_end, own) for symbol, own in rows.items()}
    mean = np.concatenate(list(unique.values())).mean()
    return {symbol: weights / mean for symbol, weights in unique.items()}

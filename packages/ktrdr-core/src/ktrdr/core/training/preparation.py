"""From stored bars to the samples of a backend: load, compute indicators, fuzzify, normalize, stack, weigh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source
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
    """Return the half-open span ``[start, end)`` of inclusive days, as ``datetime64[ns]``; ``None`` is open."""
    start = None if dates.start is None else np.datetime64(dates.start, "ns")
    end = None if dates.end is None else np.datetime64(dates.end, "ns") + np.timedelta64(1, "D")
    return start, end


def load_symbol(store: BarStore, symbol: str, timeframes: Sequence[str], dates: DateRange) -> dict[str, Bars]:
    """Return ``symbol``'s bars that open on ``dates``, for each timeframe, the base timeframe first.

    Raises:
        BadInputError: there are none; the message says what is stored.
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


def calculate_indicators(pipeline: FeaturePipeline, bars: Mapping[str, Bars]) -> dict[Source, np.ndarray]:
    """Return one symbol's indicator values: float64 per ``(timeframe, indicator)``, on that timeframe's own bars."""
    return pipeline.indicator_values(bars)


def fuzzify(
    pipeline: FeaturePipeline, bars: Mapping[str, Bars], indicator_values: Mapping[Source, np.ndarray]
) -> FeatureMatrix:
    """Return one symbol's matrix: its indicator values aligned, lagged and read through fuzzy sets.

    Raw columns are not normalized yet: that needs the training rows.

    Raises:
        BadInputError: no row has all features; the message names the input that needs the most bars, or the volume
            that is missing.
    """
    matrix = pipeline.assemble(bars, indicator_values)
    pipeline.require_rows(matrix, bars=bars)
    return matrix


def fit_normalizers(
    pipeline: FeaturePipeline, matrices: Mapping[str, FeatureMatrix], train_rows: Mapping[str, np.ndarray], window: int
) -> None:
    """Fit each symbol's normalizers on what the model sees of it in training, and on nothing else.

    Args:
        pipeline: is fitted.
        matrices: per symbol, not normalized.
        train_rows: per symbol, int64 rows of the training samples.
        window: rows of a sample; those before its last count as seen.

    Raises:
        BadInputError: a symbol has no training row.
    """
    seen = {}
    for symbol, rows in train_rows.items():
        mask = np.zeros(len(matrices[symbol].time), dtype=bool)
        for lag in range(window):
            mask[rows - lag] = True
        seen[symbol] = mask
    pipeline.fit(matrices, seen)


def first_rows(matrices: Iterable[FeatureMatrix]) -> dict[str, int]:
    """Return where each symbol begins in the matrix of all."""
    starts: dict[str, int] = {}
    row = 0
    for matrix in matrices:
        starts[matrix.symbol] = row
        row += len(matrix.time)
    return starts


def stack_symbols(pipeline: FeaturePipeline, matrices: MutableMapping[str, FeatureMatrix]) -> np.ndarray:
    """Normalize and return all symbols' rows one after another, float32 C-contiguous ``(n, features)``.

    Takes each matrix out of ``matrices`` when it is copied, so that no more than one is held twice.
    """
    if len(matrices) == 1:
        _, only = matrices.popitem()
        return pipeline.normalize(only).values
    rows = sum(len(matrix.time) for matrix in matrices.values())
    stacked = np.empty((rows, len(pipeline.columns)), dtype=np.float32)
    start = 0
    for symbol in list(matrices):
        matrix = pipeline.normalize(matrices.pop(symbol))
        stacked[start : start + len(matrix.time)] = matrix.values
        start += len(matrix.time)
    return stacked


def make_part(
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelSet],
    first_row: Mapping[str, int],
    weights: Mapping[str, np.ndarray] | None = None,
) -> Split:
    """Return the samples of one part of the data, symbol after symbol, each in order of time.

    Args:
        rows: per symbol, int64 rows of its own matrix.
        labels: per symbol, for all of its rows.
        first_row: per symbol, where its matrix begins in the matrix of all.
        weights: per symbol, float64 one for each of ``rows``; ``None`` weighs all samples alike.
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
    """Return per symbol float64 weights, of mean 1 over all symbols: the uniqueness of each sample's label.

    Args:
        rows: per symbol, int64 rows of the training samples.
        labels: per symbol, for all of its rows.
    """
    unique = {symbol: uniqueness_weights(labels[symbol].span_end, own) for symbol, own in rows.items()}
    mean = np.concatenate(list(unique.values())).mean()
    return {symbol: weights / mean for symbol, weights in unique.items()}

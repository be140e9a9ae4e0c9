"""Indicators, fuzzy sets and feature engineering together are the feature pipeline, computed once."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.indicators import computation
from ktrdr.core.training.preparation import (
    calculate_indicators,
    first_rows,
    fit_normalizers,
    fuzzify,
    load_symbol,
    stack_symbols,
)


@pytest.fixture
def strategy(load_stocks):
    return load_stocks().strategy


@pytest.fixture
def bars(stock_store, strategy):
    data = strategy.training_data
    return {symbol: load_symbol(stock_store, symbol, data.timeframes, data.date_range) for symbol in data.symbols}


@pytest.fixture
def matrices(strategy, bars):
    pipeline = FeaturePipeline(strategy)
    return {symbol: fuzzify(pipeline, own, calculate_indicators(pipeline, own)) for symbol, own in bars.items()}


def test_indicators_and_fuzzify_together_equal_the_pipeline(strategy, bars, matrices):
    for symbol, own in bars.items():
        whole = FeaturePipeline(strategy).compute(own)
        assert matrices[symbol].values.tobytes() == whole.values.tobytes()
        assert matrices[symbol].ids == whole.ids


def test_no_indicator_is_computed_twice(strategy, bars, monkeypatch):
    calls = []
    honest = computation.compute_indicator
    monkeypatch.setattr(computation, "compute_indicator", lambda kind, *rest: calls.append(kind) or honest(kind, *rest))
    pipeline = FeaturePipeline(strategy)
    fuzzify(pipeline, bars["FB"], calculate_indicators(pipeline, bars["FB"]))
    assert sorted(calls) == ["roc", "rsi"]


def test_too_few_bars_are_refused_with_what_needs_more(strategy, bars):
    pipeline = FeaturePipeline(strategy)
    few = {"1d": bars["FB"]["1d"][:10]}
    with pytest.raises(BadInputError, match=r"no bar of FB 1d has all features.*1d_rsi_low_lag1"):
        fuzzify(pipeline, few, calculate_indicators(pipeline, few))


def test_symbols_stand_one_after_another_each_normalized_by_its_own_training_rows(strategy, bars, matrices):
    pipeline = FeaturePipeline(strategy)
    rows = {"AAPL": np.arange(100, 2000), "FB": np.arange(20, 100)}
    separate = {}
    for symbol, own in bars.items():
        alone = FeaturePipeline(strategy)
        alone.fit({symbol: matrices[symbol]}, {symbol: rows[symbol]})
        separate[symbol] = alone.transform(own).values

    lengths = {symbol: len(matrix.time) for symbol, matrix in matrices.items()}
    starts = first_rows(lengths)
    assert starts == {"AAPL": 0, "FB": 3270}
    fit_normalizers(pipeline, matrices, rows, 1)
    normalized = (pipeline.normalize(matrix).values for matrix in matrices.values())
    stacked = stack_symbols(normalized, lengths, len(pipeline.columns))
    assert stacked.dtype == np.float32
    assert stacked.flags.c_contiguous
    assert stacked.tobytes() == np.concatenate([separate["AAPL"], separate["FB"]]).tobytes()


def test_one_symbol_alone(strategy, matrices):
    del matrices["AAPL"]
    values = matrices["FB"].values.copy()
    pipeline = FeaturePipeline(strategy)
    fit_normalizers(pipeline, matrices, {"FB": np.arange(20, 100)}, 1)
    normalized = pipeline.normalize(matrices["FB"]).values
    stacked = stack_symbols(iter([normalized]), {"FB": len(values)}, len(pipeline.columns))
    assert stacked is normalized
    assert stacked.shape == values.shape
    np.testing.assert_array_equal(stacked[:, :-1], values[:, :-1])
    raw = values[20:100, -1].astype(np.float64)
    assert stacked[50, -1] == pytest.approx((values[50, -1] - raw.mean()) / raw.std(), rel=1e-5)


def test_the_rows_of_windows_before_the_first_sample_are_training_rows_too(strategy, matrices):
    pipeline = FeaturePipeline(strategy)
    del matrices["AAPL"]
    fit_normalizers(pipeline, matrices, {"FB": np.array([40, 60])}, 10)
    seen = np.concatenate([np.arange(31, 41), np.arange(51, 61)])
    expected = matrices["FB"].values[seen, -1].astype(np.float64)
    assert pipeline.normalizers()["FB"]["1d_roc_5_raw"]["offset"] == pytest.approx(expected.mean())

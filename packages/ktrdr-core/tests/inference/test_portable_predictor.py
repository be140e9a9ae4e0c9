"""Prediction from twins, compared with loops over numbers."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference.graph_check import check_graph
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.vocabulary import RuleRecord
from ktrdr.core.plugins import Explainable, Predictor, RuleBased

from . import slow_twin
from .random_twins import random_twins

KINDS = ("mlp", "lstm", "gru", "rules", "trees", "logistic")
BLOCK = 512


def rows_of(n, features, seed=0):
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


@given(random_twins(), st.integers(0, 30), st.integers(0, 2**32 - 1), st.sets(st.integers(0, 29), max_size=3))
def test_random_twins_predict_as_the_loops_do(twin, n, seed, broken):
    graph, arrays = twin
    check_graph(graph, arrays)
    rows = rows_of(n, graph.input_size, seed)
    for number, row in enumerate(broken):
        if row < n:
            rows[row, row % graph.input_size] = (np.nan, np.inf, -np.inf)[number]
    before = rows.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = portable_predictor(graph, arrays).predict(rows)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_allclose(found, slow_twin.predict(graph, arrays, rows), rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 3, 2 * BLOCK + 7])
def test_a_row_depends_on_its_window_alone(twins, kind, n):
    graph, arrays = twins[kind]()
    predictor = portable_predictor(graph, arrays)
    rows = rows_of(n, graph.input_size)
    whole = predictor.predict(rows)
    assert whole.shape == ((n,) if graph.output == "regression" else (n, graph.outputs))
    assert np.isnan(whole[: graph.window - 1]).all()
    assert np.isfinite(whole[graph.window - 1 :]).all()
    for last in {0, n // 2, BLOCK - 1, BLOCK, n - 1} & set(range(graph.window - 1, n)):
        alone = predictor.predict(rows[last - graph.window + 1 : last + 1])
        np.testing.assert_allclose(alone[-1], whole[last], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_not_finite_takes_away_the_windows_that_hold_it_and_changes_no_other(twins, kind):
    graph, arrays = twins[kind]()
    predictor = portable_predictor(graph, arrays)
    rows = rows_of(3 * BLOCK, graph.input_size)
    whole = predictor.predict(rows)
    # A whole block, the ends of others, and single rows.
    broken = [0, 5, BLOCK - 1, 3 * BLOCK - 1, *range(BLOCK + 100, 2 * BLOCK + 150)]
    rows[broken, 0] = np.nan
    found = predictor.predict(rows)
    missing = {row + step for row in broken for step in range(graph.window)} | set(range(graph.window - 1))
    expected = np.isin(np.arange(len(rows)), list(missing))
    np.testing.assert_array_equal(np.isnan(found).reshape(len(rows), -1).any(axis=1), expected)
    np.testing.assert_allclose(found[~expected], whole[~expected], atol=1e-6)


def test_rows_in_columns_and_rows_apart_are_read_as_they_are(twins):
    graph, arrays = twins["mlp"]()
    predictor = portable_predictor(graph, arrays)
    rows = rows_of(100, 4)
    expected = predictor.predict(rows)
    np.testing.assert_array_equal(predictor.predict(np.asfortranarray(rows)), expected)
    np.testing.assert_array_equal(predictor.predict(np.repeat(rows, 2, axis=0)[::2]), expected)
    rows.setflags(write=False)
    np.testing.assert_array_equal(predictor.predict(rows), expected)


def test_several_threads_may_predict_at_once(twins):
    for kind in ("mlp", "lstm", "rules"):
        graph, arrays = twins[kind]()
        predictor = portable_predictor(graph, arrays)
        parts = [rows_of(3_000, graph.input_size, seed) for seed in range(4)]
        expected = [predictor.predict(part) for part in parts]
        found = [None] * len(parts)

        def work(number, predictor=predictor, parts=parts, found=found):
            for _ in range(3):
                found[number] = predictor.predict(parts[number])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(parts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(5, 3), (5, 5), (4,)])
def test_a_wrong_number_of_columns_is_refused(twins, shape):
    predictor = portable_predictor(*twins["mlp"]())
    with pytest.raises(BadInputError, match=r"^the model takes 4 features, not an array of shape \("):
        predictor.predict(np.zeros(shape, np.float32))
    with pytest.raises(BadInputError, match=r"^the model takes 4 features, not an array of shape \("):
        predictor.contributions(np.zeros(shape, np.float32))


def test_a_prediction_that_is_not_finite_is_refused_with_its_rows(twins):
    graph, arrays = twins["mlp"]()
    first, bend, *others = graph.nodes
    graph = graph.model_copy(update={"nodes": (first, bend.model_copy(update={"function": "relu"}), *others)})
    # Infinite sums of both signs.
    arrays["a.weights"] = arrays["a.weights"] * np.float32(100)
    predictor = portable_predictor(graph, arrays)
    rows = rows_of(BLOCK + 10, 4)
    rows[BLOCK + 1] = 3e38
    message = f"within rows {BLOCK} to {BLOCK + 9} is not finite: .* train it again"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadInputError, match=message):
            predictor.predict(rows)


def test_abilities_are_those_of_the_twin(twins):
    graph, arrays = twins["rules"]()
    record = RuleRecord(conditions=(("rsi", "low"),), weight=1.0, outputs={"buy": 1.0}, text="if rsi is low then buy")
    average = {"average": "average"}
    for explains in (False, True):
        for ruled in (False, True):
            own = graph.model_copy(update={**(average if explains else {}), "rules": (record,) if ruled else ()})
            predictor = portable_predictor(own, {**arrays, "average": np.zeros(2, np.float32)})
            assert isinstance(predictor, Predictor)
            assert isinstance(predictor, Explainable) == explains
            assert isinstance(predictor, RuleBased) == ruled
    (rule,) = predictor.rules()
    assert (rule.conditions, rule.weight, rule.outputs, rule.text) == (
        record.conditions,
        record.weight,
        record.outputs,
        record.text,
    )


def test_a_long_window_of_a_wide_layer_is_predicted_in_small_blocks(twins):
    graph, arrays = twins["lstm"]()
    long = graph.model_copy(update={"window": 10_000})
    rows = rows_of(10_003, 2)
    found = portable_predictor(long, arrays).predict(rows)
    assert np.isnan(found[:9_999]).all()
    # The first rows of such a window have no weight any more.
    near = portable_predictor(graph.model_copy(update={"window": 200}), arrays).predict(rows)
    np.testing.assert_allclose(found[9_999:], near[9_999:], atol=1e-6)

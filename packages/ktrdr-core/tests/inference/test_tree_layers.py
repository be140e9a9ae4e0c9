"""Predictions of decision trees, compared with rows that walk alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.inference import tree_layers
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.tree_layers import TreesLayer, rounded_down
from ktrdr.core.inference.vocabulary import TwinGraph

from .tree_arrays import INPUTS, node_of, predict_slowly, tree_arrays

COMBINE = st.sampled_from(["sum", "mean"])
DTYPES = st.sampled_from([np.float32, np.float64])
FLOATS = st.floats(allow_nan=False)
LARGEST = float(np.finfo(np.float32).max)


def rows_on_a_grid(seed: int, number: int, dtype: type) -> np.ndarray:
    return (np.random.default_rng(seed).integers(-6, 7, (number, INPUTS)) / 4).astype(dtype).T


@given(COMBINE, tree_arrays(), st.integers(0, 1000), st.integers(0, 20), DTYPES)
def test_trees_predict_what_rows_that_walk_alone_find(combine, arrays, seed, number, dtype):
    x = rows_on_a_grid(seed, number, dtype)
    found = TreesLayer(node_of(combine), arrays).forward(x, reuse=False)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, predict_slowly(combine, arrays, x))


@given(tree_arrays(), st.integers(0, 1000), st.integers(1, 40))
def test_the_bits_of_a_row_depend_neither_on_other_rows_nor_on_blocks(arrays, seed, walks):
    x = rows_on_a_grid(seed, 12, np.float32)
    layer = TreesLayer(node_of("sum"), arrays)
    whole = layer.forward(x, reuse=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_layers, "_WALKS_AT_ONCE", walks)
        np.testing.assert_array_equal(layer.forward(x, reuse=False), whole)
        np.testing.assert_array_equal(layer.forward(x[:, 3:5], reuse=False), whole[:, 3:5])


@given(tree_arrays(), st.integers(0, 1000))
def test_a_threshold_between_two_float32_separates_float64(arrays, seed):
    arrays = {**arrays, "thresholds": arrays["thresholds"] + 1e-12 * (arrays["left"] != np.arange(len(arrays["left"])))}
    x = rows_on_a_grid(seed, 10, np.float64)
    for shifted in (x, x + 2e-12):
        found = TreesLayer(node_of("sum"), arrays).forward(shifted, reuse=False)
        np.testing.assert_array_equal(found, predict_slowly("sum", arrays, shifted))


@given(FLOATS, st.floats(width=32, allow_nan=False))
def test_a_rounded_threshold_separates_the_same_float32(threshold, value):
    rounded = rounded_down(np.array([threshold]))
    assert rounded.dtype == np.float32
    with np.errstate(over="ignore"):
        near = [rounded[0], *(np.nextafter(rounded[0], np.float32(end)) for end in (np.inf, -np.inf))]
    for each in (value, *near, LARGEST, -LARGEST, np.inf, -np.inf):
        assert (float(each) <= threshold) == (np.float32(each) <= rounded[0])


@given(tree_arrays(), st.integers(0, 1000))
def test_the_input_is_not_changed_in_any_layout(arrays, seed):
    x = rows_on_a_grid(seed, 10, np.float32)
    layer = TreesLayer(node_of("mean"), arrays)
    for layout in (x, np.ascontiguousarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        before = layout.copy()
        found = layer.forward(layout, reuse=True)
        np.testing.assert_array_equal(found, predict_slowly("mean", arrays, x))
        np.testing.assert_array_equal(layout, before)


def deep_and_shallow_trees() -> dict[str, np.ndarray]:
    """A tree of one leaf, and one that goes 500 nodes down on one side."""
    inner, nodes = 2 * np.arange(500) + 1, np.arange(1002)
    left, right, thresholds = nodes.copy(), nodes.copy(), np.zeros(1002)
    left[inner], right[inner], thresholds[inner] = inner + 1, inner + 2, np.arange(500)
    return {
        "start": np.zeros(1),
        "roots": np.array([0, 1], np.int32),
        "columns": np.zeros(2, np.int32),
        "features": np.zeros(1002, np.int32),
        "thresholds": thresholds,
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "values": nodes[:, np.newaxis].astype(np.float64),
    }


def test_rows_arrive_at_every_depth():
    arrays = deep_and_shallow_trees()
    x = np.arange(-1, 501, dtype=np.float32)[np.newaxis]
    found = TreesLayer(node_of("sum"), arrays).forward(x, reuse=False)
    np.testing.assert_array_equal(found, predict_slowly("sum", arrays, x))
    assert len(np.unique(found)) == 501


def test_several_threads_share_a_layer():
    layer = TreesLayer(node_of("sum"), deep_and_shallow_trees())
    blocks = [np.random.default_rng(seed).uniform(-9, 509, (1, 5_000)).astype(np.float32) for seed in range(8)]
    alone = [layer.forward(block, reuse=False) for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda block: layer.forward(block, reuse=False), blocks * 4))
    for one, other in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(one, other)


@given(tree_arrays(), st.integers(0, 1000))
def test_a_twin_of_trees_predicts_rows_and_leaves_out_those_with_gaps(arrays, seed):
    outputs = len(arrays["start"])
    nodes = [node_of("sum").model_dump()]
    if outputs > 1:
        nodes.append({"kind": "softmax", "name": "probabilities", "input": "trees"})
    kind = "classification" if outputs > 1 else "regression"
    graph = TwinGraph.model_validate({"input_size": INPUTS, "output": kind, "outputs": outputs, "nodes": nodes})
    rows = rows_on_a_grid(seed, 10, np.float32).T.copy()
    expected = predict_slowly("sum", arrays, rows.T).T
    rows[3, 1] = np.nan
    found = portable_predictor(graph, arrays).predict(rows)
    assert np.isnan(found[3]).all()
    whole = np.arange(10) != 3
    if outputs == 1:
        np.testing.assert_array_equal(found[whole], expected[whole, 0])
    else:
        shares = np.exp(expected)
        np.testing.assert_allclose(found[whole], (shares / shares.sum(axis=1, keepdims=True))[whole], atol=1e-14)

"""Gradients and contributions, compared with finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.twin_network import TwinNetwork

from . import slow_twin
from .random_twins import random_twins

WITH_GRADIENTS = ("mlp", "lstm", "gru", "rules", "logistic")


def with_average(twin, seed=0):
    graph, arrays = twin
    average = np.random.default_rng(seed).normal(size=graph.input_size).astype(np.float32) / 4
    return graph.model_copy(update={"average": "average"}), {**arrays, "average": average}


def slow_gradients(graph, arrays, window, h=1e-6):
    """Return ``(outputs, window, features)``, and the largest difference of the slopes on both sides."""
    found = np.zeros((graph.outputs, *window.shape))
    bend = 0.0
    here = np.array(slow_twin.predict_window(graph, arrays, window))
    for place in np.ndindex(*window.shape):
        step = np.zeros_like(window)
        step[place] = h
        above, below = (np.array(slow_twin.predict_window(graph, arrays, window + sign * step)) for sign in (1, -1))
        found[(slice(None), *place)] = (above - below) / (2 * h)
        bend = max(bend, float(np.abs(above - 2 * here + below).max() / h))
    return found, bend


@given(random_twins(), st.integers(0, 2**32 - 1))
def test_gradients_of_random_twins_are_those_of_the_loops(twin, seed):
    graph, arrays = twin
    window = np.random.default_rng(seed).normal(size=(graph.window, graph.input_size)).astype(np.float32)
    expected, bend = slow_gradients(graph, arrays, window.astype(np.float64))
    x = window[:, :, np.newaxis] if graph.window > 1 else window.T
    found = TwinNetwork(graph, arrays).gradients(np.ascontiguousarray(x))
    found = found.reshape(expected.shape)
    # Where a ramp or a relu bends between the points, there are two slopes.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 + bend)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_rows_that_windows_share_have_the_sum_of_the_gradients(twins, kind):
    graph, arrays = twins[kind]()
    network = TwinNetwork(graph, arrays)
    rows = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(rows, graph.window, axis=1).transpose(2, 0, 1)
    expected = np.zeros((1, 2, 9))
    for step, gradient in enumerate(network.gradients(windows)[0]):
        expected[0, :, step : step + gradient.shape[1]] += gradient
    np.testing.assert_allclose(network.gradients(rows), expected, atol=1e-6)
    np.testing.assert_allclose(network.forward(rows), network.forward(windows), atol=1e-6)


@pytest.mark.parametrize("kind", WITH_GRADIENTS)
def test_contributions_are_those_of_the_loops(twins, kind):
    graph, arrays = with_average(twins[kind]())
    rows = np.random.default_rng(1).normal(size=(graph.window + 2, graph.input_size)).astype(np.float32)
    found = portable_predictor(graph, arrays).contributions(rows)
    assert (found.dtype, found.shape) == (np.float64, (len(rows), graph.input_size, graph.outputs))
    assert np.isnan(found[: graph.window - 1]).all()
    for last in range(graph.window - 1, len(rows)):
        window = rows[last - graph.window + 1 : last + 1].astype(np.float64)
        expected = slow_twin.contributions_of_window(graph, arrays, window, arrays["average"].astype(np.float64))
        np.testing.assert_allclose(found[last], expected, atol=1e-5)


@pytest.mark.parametrize("kind", WITH_GRADIENTS)
def test_contributions_sum_to_the_prediction_less_that_of_the_average_sample(twins, kind):
    graph, arrays = with_average(twins[kind]())
    predictor = portable_predictor(graph, arrays)
    rows = np.random.default_rng(2).normal(size=(600, graph.input_size)).astype(np.float32)
    rows[[40, 41, 300], 0] = np.nan
    predictions = predictor.predict(rows).reshape(len(rows), -1)
    average = predictor.predict(np.tile(arrays["average"], (graph.window, 1)))[-1]
    found = predictor.contributions(rows)
    np.testing.assert_array_equal(np.isnan(found).any(axis=(1, 2)), np.isnan(predictions).any(axis=1))
    difference = found.sum(axis=1) - (predictions - average)
    size = np.nanmax(np.abs(predictions))
    assert np.nanmedian(np.abs(difference)) < 2e-3 * size
    # The gradients of ramps jump, which the quadrature does not see.
    assert kind == "rules" or np.nanmax(np.abs(difference)) < 1e-5 * size


def test_contributions_of_a_row_do_not_depend_on_its_block(twins):
    graph, arrays = with_average(twins["lstm"]())
    predictor = portable_predictor(graph, arrays)
    rows = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    whole = predictor.contributions(rows)
    for last in (3, 15, 16, 19, 49):
        alone = predictor.contributions(rows[last - 3 : last + 1])
        np.testing.assert_allclose(alone[-1], whole[last], atol=1e-6)

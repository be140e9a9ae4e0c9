"""Single layers at the limits of their numbers."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.inference import Activation, FuzzyInput, Rules
from ktrdr.core.inference.activation_layers import activation_layer
from ktrdr.core.inference.matrix_product import product
from ktrdr.core.inference.output_layers import SoftmaxLayer
from ktrdr.core.inference.rules_layer import RulesLayer

from . import slow_twin
from .random_twins import ACTIVATIONS, SHAPES

LARGEST = float(np.finfo(np.float32).max)


def activate(function, x, *, reuse=False):
    layer = activation_layer(Activation(name="a", input="features", function=function))
    with np.errstate(all="ignore"):
        return layer.forward(x, reuse=reuse)


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_an_activation_is_as_close_as_float32_is(function):
    x = np.linspace(-12, 12, 100_001, dtype=np.float32).reshape(11, -1)
    expected = np.array([slow_twin.FUNCTIONS[function](value) for value in x.ravel().astype(np.float64)])
    found = activate(function, x).ravel()
    assert found.dtype == np.float32
    # Half a step of float32 is the best that there is; beyond 4 it is more than 2e-7.
    assert (np.abs(found - expected) - np.spacing(np.abs(found)) / 2).max() < 1.5e-7


def test_the_gelu_is_close_to_the_normal_distribution_in_float64_too():
    x = np.linspace(-40, 40, 100_001)[np.newaxis]
    expected = np.array([slow_twin.FUNCTIONS["gelu"](value) for value in x[0]])
    assert np.abs(activate("gelu", x)[0] - expected).max() < 7e-8


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_an_activation_has_its_limits_at_the_largest_numbers(function):
    x = np.array([[-LARGEST, -1e20, 0, 1e20, LARGEST]], np.float32)
    low, high = {"tanh": (-1, 1), "sigmoid": (0, 1)}.get(function, (0, None))
    found = activate(function, x)[0]
    if function == "leaky_relu":
        np.testing.assert_allclose(found, [-0.01 * LARGEST, -1e18, 0, 1e20, LARGEST], rtol=1e-6)
    else:
        np.testing.assert_array_equal(found[:2], [low, low])
        np.testing.assert_array_equal(found[3:], x[0, 3:] if high is None else [high, high])


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_an_activation_changes_its_input_only_where_it_may(function):
    x = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    before = x.copy()
    expected = activate(function, x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(activate(function, x, reuse=True), expected)


def test_a_softmax_of_huge_scores_sums_to_1():
    x = np.array([[LARGEST, -LARGEST, 1000], [LARGEST, LARGEST, 0], [0, 0, -1000]], np.float32)
    found = SoftmaxLayer().forward(x, reuse=False)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[0.5, 0, 1], [0.5, 1, 0], [0, 0, 0]])


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300), st.booleans(), st.integers(0, 2**32 - 1))
)
def test_a_product_in_tiles_is_that_of_the_whole_matrices(drawn):
    outputs, inputs, m, several, seed = drawn
    random = np.random.default_rng(seed)
    # Small whole numbers: every order of summation gives the same bits.
    weights = random.integers(-3, 4, (outputs, inputs)).astype(np.float32)
    x = random.integers(-3, 4, ((2,) if several else ()) + (inputs, m)).astype(np.float32)
    np.testing.assert_array_equal(product(weights, x), weights @ x)
    out = np.empty((*x.shape[:-2], outputs, m), np.float32)
    assert product(weights, x, out=out) is out
    np.testing.assert_array_equal(out, weights @ x)


@pytest.mark.parametrize("shape", [(256, 129, 208), (64, 18, 512), (700, 700, 20), (1, 3000, 512), (3000, 2000, 1)])
def test_no_tile_of_a_product_is_large_enough_for_threads(shape, monkeypatch):
    outputs, inputs, m = shape
    sizes = []

    def spy(one, other, out):
        sizes.append(one.size * other.shape[-1])

    monkeypatch.setattr(np, "matmul", spy)
    product(np.zeros((outputs, inputs), np.float32), np.zeros((inputs, m), np.float32))
    assert sum(sizes) == outputs * inputs * m
    assert max(sizes) < 1 << 19


def rules_of(functions, places, sizes, seed=0):
    """Return rules over one input per list of functions, of constants."""
    counts = [len(each) for each in functions]
    random = np.random.default_rng(seed)
    arrays = {
        "places": np.array(places, np.float32),
        "sizes": np.array(sizes, np.float32),
        "consequents": random.normal(size=(math.prod(counts), len(counts) + 1, 2)).astype(np.float32),
    }
    node = Rules(
        name="rules",
        input="features",
        fuzzy_inputs=tuple(FuzzyInput(column=at, functions=tuple(each)) for at, each in enumerate(functions)),
        **{name: name for name in arrays},
    )
    return node, arrays


def score(node, arrays, x):
    with np.errstate(all="ignore"):
        return RulesLayer(node, arrays).forward(np.array(x, np.float32), reuse=False)


def test_outputs_are_0_where_no_rule_fires():
    node, arrays = rules_of([["trapezoidal"] * 2], [0, 1], [[1, 0, 1], [1, 0, 1]])
    found = score(node, arrays, [[-1.5, -1, 2, 7, LARGEST, -LARGEST, 0.5]])
    np.testing.assert_array_equal(found[:, :-1], 0)
    assert found[:, -1].all()


def test_far_gaussians_keep_the_ratios_of_their_degrees():
    node, arrays = rules_of([["gaussian"] * 2], [0, 1], [[1, 0, 0], [1, 0, 0]])
    # exp(-20 ** 2 / 2) is 0 in float32; of two rules 19 and 20 away the nearer one is exp(19.5) times as strong.
    found = score(node, arrays, [[20.0]])
    consequents = arrays["consequents"].astype(np.float64)
    np.testing.assert_allclose(found[:, 0], 20 * consequents[1, 0] + consequents[1, 1], rtol=1e-6)


def test_the_middle_of_a_bell_has_a_degree_of_1():
    node, arrays = rules_of([["bell", "gaussian"]], [0.5, 0.5], [[1, 3, 0], [1, 0, 0]])
    consequents = arrays["consequents"].astype(np.float64)
    expected = (0.5 * consequents[:, 0] + consequents[:, 1]).mean(axis=0)
    np.testing.assert_allclose(score(node, arrays, [[0.5]])[:, 0], expected, rtol=1e-6)


def test_many_inputs_of_one_membership_each_have_gradients():
    node, arrays = rules_of([["gaussian"]] * 100, [0] * 100, [[1, 0, 0]] * 100)
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    layer = RulesLayer(node, arrays)
    y = layer.forward(x, reuse=False)
    # One rule always has the whole strength, so only its consequents count.
    found = layer.backward(x, y, np.ones((1, 2, 3), np.float32))
    expected = arrays["consequents"][0, :-1].sum(axis=1)[:, np.newaxis]
    np.testing.assert_allclose(found[0], np.broadcast_to(expected, (100, 3)), atol=1e-5)


@pytest.mark.parametrize("functions", list(itertools.product(SHAPES, repeat=2)))
def test_rules_have_finite_gradients_everywhere(functions):
    sizes = {"trapezoidal": [1, 0, 1], "gaussian": [1, 0, 0], "sigmoid": [3, 0, 0], "bell": [1, 2, 0]}
    node, arrays = rules_of([functions], [0, 1], [sizes[each] for each in functions])
    layer = RulesLayer(node, arrays)
    x = np.array([[-100, -1, -0.5, 0, 1e-20, 0.5, 1, 1.5, 2, 100]], np.float32)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        y = layer.forward(x, reuse=False)
        gradient = layer.backward(x, y, np.ones((1, *y.shape), np.float32))
    assert np.isfinite(y).all()
    assert np.isfinite(gradient).all()

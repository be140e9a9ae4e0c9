"""Arrays of decision trees that are refused, and that no others than these can do harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.inference.tree_checks import DEEPEST_TREE, check_trees
from ktrdr.core.inference.tree_layers import TreesLayer
from ktrdr.core.inference.twin_error import TwinError

from .tree_arrays import INPUTS, NODE, node_of, tree_arrays

FIELDS = NODE.arrays
INT32 = np.iinfo(np.int32)


def two_trees(**changes: object) -> dict[str, np.ndarray]:
    """A tree of five nodes and one of one node, over two outputs, with some arrays replaced."""
    arrays = {
        "start": np.zeros(2),
        "roots": np.array([0, 5], np.int32),
        "columns": np.zeros(2, np.int32),
        "features": np.array([0, 2, 0, 0, 0, 0], np.int32),
        "thresholds": np.array([0.5, 1.5, 0, 0, 0, 0]),
        "left": np.array([1, 3, 2, 3, 4, 5], np.int32),
        "right": np.array([2, 4, 2, 3, 4, 5], np.int32),
        "values": np.array([[9.0, 9], [9, 9], [0.25, 0.75], [1, 0], [0, 1], [0.5, 0.5]]),
    }
    return arrays | {name: np.asarray(array, arrays[name].dtype) for name, array in changes.items()}


@given(st.sampled_from(["sum", "mean"]), tree_arrays())
def test_trees_that_are_in_order_are_accepted_with_their_number_of_outputs(combine, arrays):
    assert check_trees(node_of(combine), arrays, INPUTS)[0] == len(arrays["start"])


BROKEN = [
    ("start", [np.nan, 0], "`start` holds a value that is not finite"),
    ("thresholds", [0.5, np.inf, 0, 0, 0, 0], "`thresholds` holds a value that is not finite"),
    ("values", np.full((6, 2), np.nan), "`values` holds a value that is not finite"),
    ("values", np.full((6, 2), 1e308), "a value is 1e.308 in size, and the sum of all trees may not be finite"),
    ("values", np.ones((6, 3)), "`values` has 3 columns, more than the 2 outputs"),
    ("values", np.ones((5, 2)), "`values` has 5 rows, `features` has 6"),
    ("values", np.ones((6, 0)), r"`values` is float64 \(6, 0\), not float64 with 2 axes, none of them empty"),
    ("values", np.ones(6), r"`values` is float64 \(6,\), not float64 with 2 axes"),
    ("columns", [0, 1], "`columns` holds 1, not only numbers from 0 to 0"),
    ("columns", [0, -1], "`columns` holds -1"),
    ("columns", [0], "`columns` has 1 rows, `roots` has 2"),
    ("features", [0, 3, 0, 0, 0, 0], "`features` holds 3, not only numbers from 0 to 2"),
    ("features", [0, 0, 0, 0, 0, -1], "`features` holds -1"),
    ("thresholds", [0.5], "`thresholds` has 1 rows, `features` has 6"),
    ("roots", [], r"`roots` is int32 \(0,\)"),
    ("roots", [0, 6], "`roots` holds 6, not only numbers from 0 to 5"),
    ("roots", [0, 0], "node 0 stands in several places of the trees"),
    ("roots", [0, 2], "node 2 stands in several places"),
    ("roots", [0, 1], "node 1 stands in several places"),
    ("left", [1, 3, 2, 3, 4, 6], "`left` holds 6"),
    ("left", [-1, 3, 2, 3, 4, 5], "`left` holds -1"),
    ("left", [1, 0, 2, 3, 4, 5], "a child of node 1 does not stand behind it"),
    ("left", [1, 3, 1, 3, 4, 5], "a child of node 2 does not stand behind it"),
    ("left", [1, 1, 2, 3, 4, 5], "a child of node 1 does not stand behind it"),
    ("right", [0, 4, 2, 3, 4, 5], "a child of node 0 does not stand behind it"),
    ("right", [1, 4, 2, 3, 4, 5], "node 1 stands in several places"),
    ("right", [2, 3, 2, 3, 4, 5], "node 3 stands in several places"),
    ("right", [5, 4, 2, 3, 4, 5], "node 2 stands in no place of the trees"),
]


@pytest.mark.parametrize(("field", "values", "message"), BROKEN)
def test_every_kind_of_damage_is_named(field, values, message):
    with pytest.raises(TwinError, match=message):
        check_trees(NODE, two_trees(**{field: values}), INPUTS)


@pytest.mark.parametrize("field", FIELDS)
def test_an_array_of_another_dtype_is_refused(field):
    arrays = two_trees()
    for dtype in ("float32", "int64", "uint32", ">i4", ">f8"):
        changed = {**arrays, field: arrays[field].astype(dtype)}
        with pytest.raises(TwinError, match=f"`{field}` is "):
            check_trees(NODE, changed, INPUTS)


def chain(depth: int) -> dict[str, np.ndarray]:
    inner, nodes = 2 * np.arange(depth), np.arange(2 * depth + 1)
    left, right = nodes.copy(), nodes.copy()
    left[inner], right[inner] = inner + 1, inner + 2
    return {
        "start": np.zeros(1),
        "roots": np.zeros(1, np.int32),
        "columns": np.zeros(1, np.int32),
        "features": np.zeros(len(nodes), np.int32),
        "thresholds": np.zeros(len(nodes)),
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "values": np.zeros((len(nodes), 1)),
    }


def test_a_tree_may_be_a_thousand_nodes_deep_and_no_deeper():
    assert check_trees(NODE, chain(DEEPEST_TREE), 1) == (1, False)
    for depth in (DEEPEST_TREE + 1, 100_000):
        with pytest.raises(TwinError, match="a tree is more than 1,000 nodes deep"):
            check_trees(NODE, chain(depth), 1)


def test_the_mean_of_leaves_that_are_probabilities_is_probabilities():
    assert check_trees(node_of("mean"), two_trees(), INPUTS) == (2, True)


@pytest.mark.parametrize(
    ("combine", "changes"),
    [
        ("sum", {}),
        ("mean", {"start": [0, 1e-300]}),
        ("mean", {"values": [[0, 0], [0, 0], [0.25, 0.75], [1.1, -0.1], [0, 1], [0.5, 0.5]]}),
        ("mean", {"values": [[0, 0], [0, 0], [0.25, 0.75], [1, 0], [0, 1], [0.5, 0.5 + 2e-9]]}),
        ("mean", {"values": np.ones((6, 1))}),
    ],
)
def test_other_outputs_are_not_called_probabilities(combine, changes):
    assert check_trees(node_of(combine), two_trees(**changes), INPUTS) == (2, False)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Draw arrays that a few mutations may have broken."""
    arrays = dict(draw(tree_arrays()))
    for _ in range(draw(st.integers(1, 3))):
        field = draw(st.sampled_from(FIELDS))
        array = arrays[field].copy()
        match draw(st.sampled_from(["value", "value", "value", "swap", "shape", "dtype"])):
            case "value" if array.size:
                whole = np.issubdtype(array.dtype, np.integer)
                small = st.integers(-2, array.size + 2)
                values = st.one_of(small, small, st.integers(INT32.min, INT32.max)) if whole else st.floats()
                array.flat[draw(st.integers(0, array.size - 1))] = draw(values)
            case "swap" if array.size:
                places = st.integers(0, array.size - 1)
                one, two = draw(places), draw(places)
                array.flat[[one, two]] = array.flat[[two, one]]
            case "shape":
                array = draw(st.sampled_from([array[1:], array[:-1], array[np.newaxis], array.ravel(), array[:0]]))
            case "dtype":
                with np.errstate(all="ignore"):
                    array = array.astype(draw(st.sampled_from(["float32", "int64", "int32", "float64", "bool"])))
        arrays[field] = array
    return arrays


@given(st.sampled_from(["sum", "mean"]), mutated(), st.integers(1, INPUTS))
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_mutated_trees_are_refused_or_predict_finite_numbers(combine, arrays, inputs):
    node = node_of(combine)
    try:
        outputs, probabilities = check_trees(node, arrays, inputs)
    except TwinError:
        return
    largest = np.finfo(np.float32).max
    x = np.random.default_rng(0).choice(np.float32([-largest, -1, 0, 0.25, 1, largest]), (inputs, 40))
    found = TreesLayer(node, arrays).forward(x, reuse=False)
    assert found.shape == (outputs, 40)
    assert np.isfinite(found).all()
    if probabilities:
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-8)

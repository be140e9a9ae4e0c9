"""Check of a twin before it predicts: every shape, dtype and number of its arrays.

A graph that passes can be computed, and in bounded memory. Its numbers may still overflow, which ends the prediction
with an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ktrdr.core.inference.tree_checks import check_trees
from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.inference.vocabulary import (
    FEATURES,
    Activation,
    Dense,
    Gru,
    Last,
    Lstm,
    Mean,
    Pair,
    Rules,
    Scale,
    Softmax,
    Spread,
    Standardize,
    Trees,
    TwinGraph,
)
from ktrdr.core.short_texts import quoted

__all__ = ["check_graph"]

Arrays = Mapping[str, np.ndarray]
# Of all layers together, for one row: 60 layers of 16,384 units.
_MOST_VALUES = 2**20
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, slots=True)
class _Flow:
    """What a node gives for one prediction.

    Attributes:
        width: number of values, of one step of a sequence.
        sequence: True for one row per step of the window; ``None`` for a row that is also a sequence of one, as the
            window of the model is one row.
        probabilities: True if the values are probabilities that sum to 1.
    """

    width: int
    sequence: bool | None = False
    probabilities: bool = False


def check_graph(graph: TwinGraph, arrays: Arrays) -> None:
    """Check that the arrays are those of the graph, and that its layers fit together.

    Args:
        graph: whose nodes read only earlier nodes.
        arrays: by name.

    Raises:
        TwinError: they do not; the message names the node or the array.
    """
    _check_names(graph, arrays)
    for name, array in arrays.items():
        if array.dtype in _REAL and not np.isfinite(array).all():
            raise TwinError(f"array {name!r} has numbers that are not finite")
    flows = {FEATURES: _Flow(graph.input_size, sequence=True if graph.window > 1 else None)}
    for node in graph.nodes:
        try:
            flows[node.name] = _CHECKS[type(node)](node, [flows[name] for name in node.reads], arrays)
        except TwinError as error:
            raise TwinError(f"node {node.name!r}: {error}") from None
    if (values := sum(flow.width for flow in flows.values())) > _MOST_VALUES:
        raise TwinError(f"its layers give {values:,} values for a row, more than the {_MOST_VALUES:,} allowed")
    _check_result(graph, flows[graph.nodes[-1].name])
    if graph.average is not None:
        _require(arrays[graph.average], graph.average, (graph.input_size,))
        if any(isinstance(node, Trees) for node in graph.nodes):
            raise TwinError("trees have no gradients, so a twin with trees cannot have an `average`")


def _check_names(graph: TwinGraph, arrays: Arrays) -> None:
    used = Counter(graph.array_names())
    if twice := sorted(name for name, number in used.items() if number > 1):
        raise TwinError(f"array {twice[0]!r} is used twice")
    if wrong := sorted(set(used) ^ set(arrays)):
        raise TwinError(f"array {quoted(wrong[0])} is {'missing' if wrong[0] in used else 'not used'}")


def _check_result(graph: TwinGraph, result: _Flow) -> None:
    if result.sequence:
        raise TwinError("its last node gives a sequence")
    if graph.output == "regression" and graph.outputs != 1:
        raise TwinError(f"a regression has 1 output, not {graph.outputs:,}")
    if result.width != graph.outputs:
        raise TwinError(f"its last node gives {result.width:,} outputs, not {graph.outputs:,}")
    if result.probabilities != (graph.output == "classification"):
        raise TwinError(
            "its last node gives no probabilities"
            if graph.output == "classification"
            else "its last node gives probabilities, and the model is a regression"
        )


def _require(array: np.ndarray, name: str, shape: tuple[int, ...], *dtypes: Any) -> None:
    """Refuse an array of another shape, or of another dtype than ``dtypes``, by default float32."""
    if array.shape != shape or array.dtype not in (dtypes or (np.float32,)):
        wanted = " or ".join(np.dtype(dtype).name for dtype in dtypes or (np.float32,))
        raise TwinError(f"array {name!r} is {array.dtype.name} {array.shape}, not {wanted} {shape}")


def _row(flow: _Flow) -> int:
    if flow.sequence:
        raise TwinError("it reads a row, and is given a sequence")
    return flow.width


def _sequence(flow: _Flow) -> int:
    if flow.sequence is False:
        raise TwinError("it reads a sequence, and is given a row")
    return flow.width


def _matrix(array: np.ndarray, name: str, inputs: int) -> int:
    """Return the number of rows of a matrix with ``inputs`` columns."""
    if array.ndim != 2 or not array.shape[0]:
        raise TwinError(f"array {name!r} has the shape {array.shape}, and is to be a matrix")
    _require(array, name, (array.shape[0], inputs), *_REAL)
    return int(array.shape[0])


def _standardize(node: Standardize, given: list[_Flow], arrays: Arrays) -> _Flow:
    width = given[0].width
    for name in (node.center, node.scale):
        _require(arrays[name], name, (width,))
    if not arrays[node.scale].all():
        raise TwinError(f"array {node.scale!r} has a 0")
    return _Flow(width, given[0].sequence)


def _dense(node: Dense, given: list[_Flow], arrays: Arrays) -> _Flow:
    weights = arrays[node.weights]
    outputs = _matrix(weights, node.weights, _row(given[0]))
    _require(arrays[node.bias], node.bias, (outputs,), weights.dtype)
    return _Flow(outputs)


def _activation(node: Activation, given: list[_Flow], arrays: Arrays) -> _Flow:
    return _Flow(_row(given[0]))


def _lstm(node: Lstm, given: list[_Flow], arrays: Arrays) -> _Flow:
    return _recurrent(node, 4, given, arrays, (node.bias,))


def _gru(node: Gru, given: list[_Flow], arrays: Arrays) -> _Flow:
    return _recurrent(node, 3, given, arrays, (node.input_bias, node.hidden_bias))


def _recurrent(node: Lstm | Gru, gates: int, given: list[_Flow], arrays: Arrays, biases: tuple[str, ...]) -> _Flow:
    hidden_weights = arrays[node.hidden_weights]
    hidden = hidden_weights.shape[-1] if hidden_weights.ndim == 2 else 0
    if not hidden:
        raise TwinError(f"array {node.hidden_weights!r} has the shape {hidden_weights.shape}, and is to be a matrix")
    _require(hidden_weights, node.hidden_weights, (gates * hidden, hidden))
    _require(arrays[node.input_weights], node.input_weights, (gates * hidden, _sequence(given[0])))
    for name in biases:
        _require(arrays[name], name, (gates * hidden,))
    return _Flow(int(hidden), sequence=True)


def _last(node: Last, given: list[_Flow], arrays: Arrays) -> _Flow:
    return _Flow(_sequence(given[0]))


def _rules(node: Rules, given: list[_Flow], arrays: Arrays) -> _Flow:
    width = _row(given[0])
    consequents, sizes = arrays[node.consequents], arrays[node.sizes]
    if consequents.ndim != 3 or not consequents.shape[2]:
        raise TwinError(f"array {node.consequents!r} has the shape {consequents.shape}, and is to have three axes")
    rules = 1
    for fuzzy_input in node.fuzzy_inputs:
        if fuzzy_input.column >= width:
            raise TwinError(f"a fuzzy input reads column {fuzzy_input.column:,} of {width:,}")
        rules *= len(fuzzy_input.functions)
        if rules > len(consequents):
            break  # the product of 256 numbers may be huge
    _require(consequents, node.consequents, (rules, width + 1, consequents.shape[2]))
    functions = [function for fuzzy_input in node.fuzzy_inputs for function in fuzzy_input.functions]
    _require(arrays[node.places], node.places, (len(functions),))
    _require(sizes, node.sizes, (len(functions), 3))
    for function, own in zip(functions, sizes.tolist(), strict=True):
        if _is_impossible(function, own):
            raise TwinError(f"array {node.sizes!r} has {own} for a {function} membership")
    return _Flow(int(consequents.shape[2]))


def _is_impossible(function: str, sizes: list[float]) -> bool:
    match function:
        case "trapezoidal":
            return min(sizes) < 0
        case "gaussian" | "bell":
            return sizes[0] <= 0
        case _:
            return False


def _trees(node: Trees, given: list[_Flow], arrays: Arrays) -> _Flow:
    outputs, probabilities = check_trees(node, arrays, _row(given[0]))
    return _Flow(outputs, probabilities=probabilities)


def _pair(node: Pair, given: list[_Flow], arrays: Arrays) -> _Flow:
    if (width := _row(given[0])) != 1:
        raise TwinError(f"it reads one score, and is given {width:,}")
    return _Flow(2)


def _softmax(node: Softmax, given: list[_Flow], arrays: Arrays) -> _Flow:
    return _Flow(_row(given[0]), probabilities=True)


def _spread(node: Spread, given: list[_Flow], arrays: Arrays) -> _Flow:
    ascending = all(one < two for one, two in zip(node.columns, (*node.columns[1:], node.width), strict=True))
    if not ascending or len(node.columns) != _row(given[0]):
        raise TwinError(f"its columns are not {given[0].width:,} ascending numbers below {node.width:,}")
    return replace(given[0], width=node.width)


def _scale(node: Scale, given: list[_Flow], arrays: Arrays) -> _Flow:
    return _Flow(_row(given[0]))


def _mean(node: Mean, given: list[_Flow], arrays: Arrays) -> _Flow:
    if len(set(given)) != 1:
        raise TwinError("the nodes it reads give different outputs")
    _row(given[0])
    return given[0]


_CHECKS: Mapping[type, Callable[[Any, list[_Flow], Arrays], _Flow]] = {
    Standardize: _standardize,
    Dense: _dense,
    Activation: _activation,
    Lstm: _lstm,
    Gru: _gru,
    Last: _last,
    Rules: _rules,
    Trees: _trees,
    Pair: _pair,
    Softmax: _softmax,
    Spread: _spread,
    Scale: _scale,
    Mean: _mean,
}

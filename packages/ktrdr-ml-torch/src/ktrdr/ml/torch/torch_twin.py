"""Portable twins: a network of this backend in core's vocabulary of layers, see :mod:`ktrdr.core.inference`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import nn

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference import (
    FEATURES,
    Activation,
    Dense,
    FuzzyInput,
    Gru,
    Last,
    Lstm,
    Rules,
    Scale,
    Softmax,
    Standardize,
    TwinGraph,
)
from ktrdr.core.jobs.refusals import message_of
from ktrdr.core.plugins import Twin
from ktrdr.ml.torch.memberships import layer_type
from ktrdr.ml.torch.model_description import Description

__all__ = ["make_twin"]

_AVERAGE = "average"


def make_twin(description: Description, network: Any, average: Any) -> Twin:
    """Return a network as data: float32 arrays, which are copies, and a graph without ``rules``.

    Args:
        description: of the network.
        network: with its weights, on any device; its normalization is folded.
        average: float32 ``(features,)``, the average training sample.

    Raises:
        BadInputError: the network is too large for the vocabulary.
    """
    twin = _Parts()
    try:
        _NETWORKS[description.model_type](twin, description, network)
        if description.scaling is None:
            twin.add(Softmax, "probabilities")
        else:
            twin.add(Scale, "value", factor=description.scaling.scale, offset=description.scaling.mean)
        twin.arrays[_AVERAGE] = _array(average)
        graph = TwinGraph(
            input_size=description.input_size,
            window=description.window,
            output=description.output,
            outputs=description.outputs,
            nodes=tuple(twin.nodes),
            average=_AVERAGE,
        )
    except ValidationError as error:
        raise BadInputError(
            f"this {description.model_type} model is too large for a portable twin ({message_of(error.errors()[0])})"
        ) from None
    return Twin(graph.to_json(), twin.arrays)


class _Parts:
    """The nodes and arrays so far; every node reads the one before it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, kind: Any, name: str, *arrays: np.ndarray, **fields: Any) -> None:
        """Add a node; its arrays are in the order of ``kind.arrays``, and are called ``name.field``."""
        names = {field: f"{name}.{field}" for field in kind.arrays}
        before = self.nodes[-1].name if self.nodes else FEATURES
        self.nodes.append(kind(name=name, input=before, **names, **fields))
        self.arrays |= dict(zip(names.values(), arrays, strict=True))


def _perceptron(twin: _Parts, description: Description, network: Any) -> None:
    # The activations of the declaration have the names of the vocabulary.
    activation = description.architecture["activation"]
    *hidden, scores = (layer for layer in network.layers if isinstance(layer, nn.Linear))
    for depth, layer in enumerate(hidden, 1):
        twin.add(Dense, f"layer{depth}", *_dense(layer))
        twin.add(Activation, f"layer{depth}.{activation}", function=activation)
    twin.add(Dense, "scores", *_dense(scores))


def _recurrent(twin: _Parts, description: Description, network: Any) -> None:
    kind, weights = {"lstm": (Lstm, _lstm), "gru": (Gru, _gru)}[description.model_type]
    for depth, layer in enumerate(network.layers, 1):
        twin.add(kind, f"{description.model_type}{depth}", *weights(layer))
    twin.add(Last, "last")
    twin.add(Dense, "scores", *_dense(network.head))


def _anfis(twin: _Parts, description: Description, network: Any) -> None:
    twin.add(Standardize, "standardized", _array(network.center), _array(network.scale))
    fuzzy_inputs = tuple(
        FuzzyInput(column=variable.column, functions=tuple(layer_type(kind) for _, kind, _ in variable.functions))
        for variable in description.fuzzy_variables
    )
    consequents = network.consequents.view(len(network.consequents), -1, network.outputs)
    places, sizes = network.memberships.places_and_sizes()
    twin.add(Rules, "scores", _array(places), _array(sizes), _array(consequents), fuzzy_inputs=fuzzy_inputs)


_NETWORKS: Mapping[str, Callable[[_Parts, Description, Any], None]] = {
    "mlp": _perceptron,
    "lstm": _recurrent,
    "gru": _recurrent,
    "anfis": _anfis,
}


def _dense(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    return _array(layer.weight), _array(layer.bias)


def _lstm(layer: Any) -> tuple[np.ndarray, ...]:
    # The gates are in the order of the vocabulary.
    # The sum of two float32 numbers is exact in float64, which not every device has.
    bias = _array(layer.bias_ih_l0.cpu().double() + layer.bias_hh_l0.cpu().double())
    return _array(layer.weight_ih_l0), _array(layer.weight_hh_l0), bias


def _gru(layer: Any) -> tuple[np.ndarray, ...]:
    # The gates are in the order of the vocabulary.
    tensors = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    return tuple(_array(tensor) for tensor in tensors)


def _array(tensor: Any) -> np.ndarray:
    """Return a copy, float32."""
    return np.array(tensor.detach().cpu().float().numpy(), order="C")

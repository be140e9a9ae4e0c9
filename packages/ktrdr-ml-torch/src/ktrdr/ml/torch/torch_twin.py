"""Portable twins: a network of this backend in core's vocabulary of layers, see :mod:`ktrdr.core.inference`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from ktrdr.core.inference import (
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
    TwinChain,
)
from ktrdr.core.plugins import Twin
from ktrdr.ml.torch.memberships import layer_type
from ktrdr.ml.torch.model_description import Description

__all__ = ["make_twin"]


def make_twin(description: Description, network: Any, average: Any) -> Twin:
    """Return a network as data: float32 arrays, which are copies, and a graph without ``rules``.

    Args:
        description: of the network.
        network: with its weights, on any device; its normalization is folded.
        average: float32 ``(features,)``, the average training sample.

    Raises:
        BadInputError: the network is too large for the vocabulary.
    """
    twin = TwinChain()
    _NETWORKS[description.model_type](twin, description, network)
    if description.scaling is None:
        twin.add(Softmax, "probabilities")
    else:
        twin.add(Scale, "value", factor=description.scaling.scale, offset=description.scaling.mean)
    return twin.twin(
        input_size=description.input_size,
        output=description.output,
        outputs=description.outputs,
        window=description.window,
        average=_array(average),
    )


def _perceptron(twin: TwinChain, description: Description, network: Any) -> None:
    # The activations of the declaration have the names of the vocabulary.
    activation = description.architecture["activation"]
    *hidden, scores = (layer for layer in network.layers if isinstance(layer, nn.Linear))
    for depth, layer in enumerate(hidden, 1):
        twin.add(Dense, f"layer{depth}", _dense(layer))
        twin.add(Activation, f"layer{depth}.{activation}", function=activation)
    twin.add(Dense, "scores", _dense(scores))


def _recurrent(twin: TwinChain, description: Description, network: Any) -> None:
    kind, weights = {"lstm": (Lstm, _lstm), "gru": (Gru, _gru)}[description.model_type]
    for depth, layer in enumerate(network.layers, 1):
        twin.add(kind, f"{description.model_type}{depth}", weights(layer))
    twin.add(Last, "last")
    twin.add(Dense, "scores", _dense(network.head))


def _anfis(twin: TwinChain, description: Description, network: Any) -> None:
    twin.add(Standardize, "standardized", {"center": _array(network.center), "scale": _array(network.scale)})
    fuzzy_inputs = tuple(
        FuzzyInput(column=variable.column, functions=tuple(layer_type(kind) for _, kind, _ in variable.functions))
        for variable in description.fuzzy_variables
    )
    consequents = network.consequents.view(len(network.consequents), -1, network.outputs)
    places, sizes = network.memberships.places_and_sizes()
    arrays = {"places": _array(places), "sizes": _array(sizes), "consequents": _array(consequents)}
    twin.add(Rules, "scores", arrays, fuzzy_inputs=fuzzy_inputs)


_NETWORKS: Mapping[str, Callable[[TwinChain, Description, Any], None]] = {
    "mlp": _perceptron,
    "lstm": _recurrent,
    "gru": _recurrent,
    "anfis": _anfis,
}


def _dense(layer: Any) -> dict[str, np.ndarray]:
    return {"weights": _array(layer.weight), "bias": _array(layer.bias)}


# The gates of both are in the order of the vocabulary.


def _lstm(layer: Any) -> dict[str, np.ndarray]:
    # The sum of two float32 numbers is exact in float64, which not every device has.
    bias = layer.bias_ih_l0.cpu().double() + layer.bias_hh_l0.cpu().double()
    return {**_weights(layer), "bias": _array(bias)}


def _gru(layer: Any) -> dict[str, np.ndarray]:
    return {**_weights(layer), "input_bias": _array(layer.bias_ih_l0), "hidden_bias": _array(layer.bias_hh_l0)}


def _weights(layer: Any) -> dict[str, np.ndarray]:
    return {"input_weights": _array(layer.weight_ih_l0), "hidden_weights": _array(layer.weight_hh_l0)}


def _array(tensor: Any) -> np.ndarray:
    """Return a copy, float32."""
    return np.array(tensor.detach().cpu().float().numpy(), order="C")

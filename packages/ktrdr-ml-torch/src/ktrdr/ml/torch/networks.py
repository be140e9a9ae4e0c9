"""The networks, from float32 ``(n, features)``, or ``(n, window, features)``, to scores ``(n, outputs)``.

Scores are logits of the classes, or one standardized value. No global random generator is used: weights are set by
:func:`ktrdr.ml.torch.initialization.initialize`, or read from a file.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.model_description import Description

__all__ = ["Dropout", "MultilayerPerceptron", "Recurrent", "build_network", "empty_network", "sequences"]

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}


class _Unset:
    """A layer whose weights are not set: :mod:`~ktrdr.ml.torch.initialization` does it, or a file has them.

    On the meta device torch's own initialization would import its compiler, which takes seconds.
    """

    def reset_parameters(self) -> None:
        """Do nothing."""


class Linear(_Unset, nn.Linear):
    """A linear layer without weights."""


class _LSTM(_Unset, nn.LSTM):
    """An LSTM layer without weights."""


class _GRU(_Unset, nn.GRU):
    """A GRU layer without weights."""


class Dropout(nn.Module):
    """The place of a dropout, which acts only in training: see :mod:`ktrdr.ml.torch.stacked_networks`."""

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x


class MultilayerPerceptron(nn.Module):
    """Fully connected layers: linear, batch normalization, activation, dropout; the last one only linear."""

    def __init__(self, description: Description) -> None:
        super().__init__()
        architecture = description.architecture
        sizes = [description.input_size, *architecture["hidden_layers"]]
        self.width = max(sizes)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers.append(Linear(inputs, outputs))
            if architecture["batch_norm"]:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(_ACTIVATIONS[architecture["activation"]]())
            if architecture["dropout"]:
                layers.append(Dropout())
        layers.append(Linear(sizes[-1], description.outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        """Return scores ``(n, outputs)`` of ``(n, features)``."""
        return self.layers(x)

    @torch.no_grad()
    def fold_normalization(self) -> None:
        """Replace every linear layer and the batch normalization behind it by one linear layer, for prediction.

        With fixed statistics a normalization is linear. Weights are computed in float64: scores differ by the rounding
        of float32 from those of the two layers, and are closer to the exact ones.
        """
        layers: list[nn.Module] = []
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm1d):
                layers[-1] = _folded(layers[-1], layer)
            else:
                layers.append(layer)
        self.layers = nn.Sequential(*layers)


def _folded(linear: Any, normalization: Any) -> Linear:
    factor = normalization.weight.double() / (normalization.running_var.double() + normalization.eps).sqrt()
    bias = (linear.bias.double() - normalization.running_mean.double()) * factor + normalization.bias.double()
    with torch.device("meta"):
        folded = Linear(linear.in_features, linear.out_features)
    weights = {"weight": (linear.weight.double() * factor.unsqueeze(1)).float(), "bias": bias.float()}
    folded.load_state_dict(weights, assign=True)
    return folded


class Recurrent(nn.Module):
    """LSTM or GRU layers over the window, and a linear layer on the last state."""

    def __init__(self, description: Description) -> None:
        super().__init__()
        architecture = description.architecture
        kind = {"lstm": _LSTM, "gru": _GRU}[description.model_type]
        hidden = architecture["hidden_size"]
        # An LSTM has four gates per unit.
        self.width = 4 * max(hidden, description.input_size)
        sizes = [description.input_size] + [hidden] * architecture["num_layers"]
        # Separate layers, because dropout between torch's stacked layers uses the global generator.
        self.layers = nn.ModuleList(kind(inputs, outputs, batch_first=True) for inputs, outputs in pairwise(sizes))
        self.dropout = Dropout() if architecture["dropout"] else nn.Identity()
        self.head = Linear(hidden, description.outputs)

    def forward(self, x: Any) -> Any:
        """Return scores ``(n, outputs)`` of ``(n, window, features)``, or of ``(n, features)`` if the window is 1."""
        x = sequences(x)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            x, _ = layer(x)
            if number < last:
                x = self.dropout(x)
        return self.head(self.dropout(x[:, -1]))


def sequences(x: Any) -> Any:
    """Return ``(n, window, features)`` of samples, which are ``(n, features)`` if the window is one row."""
    return x.unsqueeze(1) if x.ndim == 2 else x


def build_network(description: Description) -> nn.Module:
    """Return the network on torch's meta device, with shapes but without memory for the weights.

    Raises:
        BadInputError: the network is too large.
    """
    kinds = {"mlp": MultilayerPerceptron, "lstm": Recurrent, "gru": Recurrent, "anfis": Anfis}
    try:
        with torch.device("meta"):
            return kinds[description.model_type](description)
    except (RuntimeError, OverflowError) as error:
        raise BadInputError(
            f"`model.architecture` asks for a network that cannot be built: {error}; make it smaller"
        ) from None


def empty_network(description: Description) -> nn.Module:
    """Return the network on the CPU, with memory for the weights, which are not set.

    Raises:
        BadInputError: the network is too large.
    """
    network = build_network(description)
    # `to_empty` would import torch's compiler, as its own initialization does.
    empty = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in network.state_dict().items()}
    network.load_state_dict(empty, assign=True)
    return network

"""Forward passes of a stack of networks of one architecture, with an axis for the members before all others.

Every operation computes each member by itself and in an order that does not depend on the other members: no sum goes
over members, and no kernel is used whose vectorized part and remainder differ (as those of ``sigmoid`` do). So the
scores and gradients of a member are, bit for bit, those of a stack of this member alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from ktrdr.ml.torch.anfis import Anfis, normalized, weighted_mean
from ktrdr.ml.torch.layout import Layout, Place, padded
from ktrdr.ml.torch.networks import Dropout, MultilayerPerceptron, Recurrent, sequences

__all__ = ["Batch", "StackedNetwork", "stacked"]

Tensors = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a training step knows about its samples, besides their features.

    Attributes:
        sizes: float32 ``(members, 1, 1)``, the number of samples of each member.
        counted: float32 ``(members, samples, 1)``: 1 for a sample, 0 for the padding of a last batch; ``None`` if no
            batch is padded.
        masks: dropout masks ``(members, samples, ...)`` of the layers in order, scaled; empty without dropout.
    """

    sizes: Any
    counted: Any
    masks: Sequence[Any] = ()


class StackedNetwork(Protocol):
    """A stack of networks, without their weights.

    Attributes:
        weights: layout of the learned tensors.
        buffers: layout of the tensors that are not learned.
        width: largest number of values per sample in a layer, padded.
        values: number of values per sample in all layers.
        decayed: numbers of the weights that weight decay applies to.
        inputs: number of features that :meth:`scores` takes; those that a task does not have are 0.
        layers: names and modules in the order of their use, if the network is no more than that; else empty.
    """

    weights: Layout
    buffers: Layout
    width: int
    values: int
    decayed: slice
    inputs: int
    layers: Sequence[tuple[str, nn.Module]]

    def dropouts(self, window: int) -> list[tuple[int, ...]]:
        """Return the shape of the values of one sample in each layer with dropout, of ``window`` rows."""
        ...

    def scores(self, weights: Tensors, buffers: Tensors, x: Any, batch: Batch | None = None) -> Any:
        """Return scores ``(members, n, outputs)`` of features ``(members, n, ..., inputs)``.

        Args:
            weights: views of the rows of the members.
            buffers: likewise; a training step changes running statistics in place.
            x: features.
            batch: of a training step; ``None`` for an evaluation.
        """
        ...


def _sigmoid(x: Any) -> Any:
    return torch.tanh(x * 0.5) * 0.5 + 0.5


def _gelu(x: Any) -> Any:
    return x * 0.5 * (1.0 + torch.erf(x * math.sqrt(0.5)))


_ACTIVATIONS: Mapping[type, Callable[[Any], Any]] = {
    # In place: what it comes from is not used again.
    nn.ReLU: torch.relu_,
    nn.Tanh: torch.tanh,
    nn.Sigmoid: _sigmoid,
    nn.LeakyReLU: functional.leaky_relu,
    nn.GELU: _gelu,
}


class _Perceptrons:
    def __init__(self, network: MultilayerPerceptron) -> None:
        self._steps: list[Callable[[Tensors, Tensors, Any, Batch | None], Any]] = []
        weights, buffers, width = [], [], 0
        self.width = 0
        self.layers: Sequence[tuple[str, nn.Module]] = [
            (f"layers.{name}", layer) for name, layer in network.layers.named_children()
        ]
        self._dropouts: list[tuple[int, ...]] = []
        for name, layer in self.layers:
            match layer:
                case nn.Linear():
                    inputs, width = layer.in_features, layer.out_features
                    self.width = max(self.width, padded(inputs), padded(width))
                    form = (padded(inputs), padded(width))
                    weights.append(Place(f"{name}.weight", (width, inputs), form, transposed=True))
                    weights.append(Place(f"{name}.bias", (width,), (1, padded(width))))
                    self._steps.append(_linear(name))
                case nn.BatchNorm1d():
                    for part in ("weight", "bias"):
                        weights.append(Place(f"{name}.{part}", (width,), (1, padded(width))))
                    for part in ("running_mean", "running_var"):
                        buffers.append(Place(f"{name}.{part}", (width,), (1, padded(width))))
                    self._steps.append(_normalization(name, layer))
                case Dropout():
                    self._steps.append(_dropout(len(self._dropouts), padded(width) - width))
                    self._dropouts.append((width,))
                case _:
                    self._steps.append(_activation(layer, width))
        self.values = self.width * len(self._steps)
        first: Any = network.layers[0]
        self.inputs, self._outputs = padded(first.in_features), width
        self.weights, self.buffers = Layout(weights), Layout(buffers)
        self.decayed = slice(0, self.weights.size)

    def dropouts(self, window: int) -> list[tuple[int, ...]]:
        return self._dropouts

    def scores(self, weights: Tensors, buffers: Tensors, x: Any, batch: Batch | None = None) -> Any:
        for step in self._steps:
            x = step(weights, buffers, x, batch)
        return x[..., : self._outputs]


def _linear(name: str) -> Callable[..., Any]:
    weight, bias = f"{name}.weight", f"{name}.bias"
    return lambda weights, buffers, x, batch: torch.baddbmm(weights[bias], x, weights[weight])


def _normalization(name: str, layer: nn.BatchNorm1d) -> Callable[..., Any]:
    momentum, eps = layer.momentum or 0.0, layer.eps

    def normalize(weights: Tensors, buffers: Tensors, x: Any, batch: Batch | None) -> Any:
        means, variances = buffers[f"{name}.running_mean"], buffers[f"{name}.running_var"]
        # In reduced precision the sums would be too coarse.
        x = x.float()
        if batch is None:
            apart, variance = x - means, variances
        else:
            mean = _sum(x, batch) / batch.sizes
            apart = x - mean
            variance = _sum(apart * apart, batch) / batch.sizes
            with torch.no_grad():
                means.lerp_(mean, momentum)
                variances.lerp_(variance * (batch.sizes / (batch.sizes - 1)), momentum)
        return apart * torch.rsqrt(variance + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    return normalize


def _sum(x: Any, batch: Batch) -> Any:
    """Return the sum over the samples that count."""
    return (x if batch.counted is None else x * batch.counted).sum(1, keepdim=True)


def _activation(layer: nn.Module, width: int) -> Callable[..., Any]:
    function = _ACTIVATIONS[type(layer)]
    if not isinstance(layer, nn.Sigmoid) or padded(width) == width:
        return lambda weights, buffers, x, batch: function(x)
    # The sigmoid of a padding unit is 1/2, which would give its weights in the next layer a gradient.
    real = (torch.arange(padded(width)) < width).float()
    return lambda weights, buffers, x, batch: function(x) * real.to(x.device)


def _dropout(number: int, missing: int) -> Callable[..., Any]:
    def drop(weights: Tensors, buffers: Tensors, x: Any, batch: Batch | None) -> Any:
        if batch is None or not batch.masks:
            return x
        mask = batch.masks[number]
        return x * (functional.pad(mask, (0, missing)) if missing else mask)

    return drop


class _Rules:
    """Takagi-Sugeno networks whose memberships are weights if they are learned, else buffers."""

    layers: Sequence[tuple[str, nn.Module]] = ()

    def __init__(self, network: Anfis) -> None:
        self._memberships, self._outputs = network.memberships, network.outputs
        rules, columns = network.consequents.shape
        self._rules, self._columns = rules, columns
        self.width = max(padded(rules), padded(columns))
        self.values = 6 * padded(rules) + 4 * padded(columns)
        functions = [
            Place(name, tuple(tensor.shape), (1, *tensor.shape))
            for name, tensor in network.state_dict().items()
            if name.startswith("memberships.")
        ]
        inputs = network.center.shape
        self.inputs = int(inputs[-1])
        consequents = Place("consequents", (rules, columns), (padded(rules), padded(columns)))
        learned, given = (functions, []) if network.learns_memberships else ([], functions)
        self.weights = Layout([consequents, *learned])
        # Decay would pull the positions of the memberships to 0.
        self.decayed = self.weights.columns("consequents")
        self.buffers = Layout([Place("center", inputs, (1, *inputs)), Place("scale", inputs, (1, *inputs)), *given])

    def dropouts(self, window: int) -> list[tuple[int, ...]]:
        return []

    def scores(self, weights: Tensors, buffers: Tensors, x: Any, batch: Batch | None = None) -> Any:
        def tensor(kind: str, name: str) -> Any:
            full = f"memberships.{kind}_{name}"
            return weights[full] if full in weights else buffers[full]

        z = (x - buffers["center"]) / buffers["scale"]
        firing = normalized(self._memberships.log_degrees(z, tensor))
        missing = padded(self._rules) - self._rules
        firing = functional.pad(firing, (0, missing)) if missing else firing
        linear = torch.bmm(firing, weights["consequents"])[..., : self._columns]
        return weighted_mean(linear, z, self._outputs)


class _Recurrents:
    """LSTM or GRU: a stack of one, as a stack of more gains nothing on a CPU."""

    layers: Sequence[tuple[str, nn.Module]] = ()

    def __init__(self, network: Recurrent) -> None:
        first: Any = network.layers[0]
        self._hidden, self._long = first.hidden_size, isinstance(first, nn.LSTM)
        self._call: Callable[..., Any] = torch.lstm if self._long else torch.gru
        self._names = [
            [f"layers.{number}.{name}" for name, _ in layer.named_parameters()]
            for number, layer in enumerate(network.layers)
        ]
        self._drops = isinstance(network.dropout, Dropout)
        self.inputs = int(first.input_size)
        self.width, self.values = network.width, network.width * len(network.layers)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.named_parameters()}
        self.weights, self.buffers = Layout(Place(name, shape, shape) for name, shape in shapes.items()), Layout([])
        self.decayed = slice(0, self.weights.size)

    def dropouts(self, window: int) -> list[tuple[int, ...]]:
        inner = [(window, self._hidden)] * (len(self._names) - 1)
        return [*inner, (self._hidden,)] if self._drops else []

    def scores(self, weights: Tensors, buffers: Tensors, x: Any, batch: Batch | None = None) -> Any:
        (x,) = x.unbind(0)
        x = sequences(x)
        last = len(self._names) - 1
        for number, names in enumerate(self._names):
            zero = x.new_zeros(1, len(x), self._hidden)
            state = (zero, zero) if self._long else zero
            flat = [weights[name][0] for name in names]
            x = self._call(x, state, flat, True, 1, 0.0, False, False, True)[0]
            x = x[:, -1] if number == last else x
            if batch is not None and batch.masks:
                x = x * batch.masks[number][0]
        return functional.linear(x, weights["head.weight"][0], weights["head.bias"][0]).unsqueeze(0)


def stacked(network: nn.Module) -> StackedNetwork:
    """Return the stack of networks like ``network``, whose weights do not matter."""
    match network:
        case MultilayerPerceptron():
            return _Perceptrons(network)
        case Anfis():
            return _Rules(network)
        case Recurrent():
            return _Recurrents(network)
        case _:
            raise TypeError(f"there is no stack of {type(network).__name__}")

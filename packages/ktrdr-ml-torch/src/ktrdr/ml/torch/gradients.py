"""Losses and gradients of one training step of a stack.

Autograd builds a graph in each step, and takes fresh memory for each tensor: for small layers that costs more than the
arithmetic. Plain perceptrons go without it, layer by layer in memory that is used again. The kernels and their order
are those of autograd, so the gradients are the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from ktrdr.ml.torch.feed import Step
from ktrdr.ml.torch.losses import Loss, cross_entropy, cross_entropy_gradient, cross_entropy_parts
from ktrdr.ml.torch.networks import Dropout
from ktrdr.ml.torch.scratch import Scratch
from ktrdr.ml.torch.stacked_networks import StackedNetwork

__all__ = ["Autograd", "Gradients", "LayerByLayer", "make_gradients"]

# torch defines these at run time, so that type checkers do not know them.
_ATEN: Any = torch.ops.aten


class Gradients(Protocol):
    """Computes what a step needs to know."""

    def __call__(
        self, weights: Mapping[str, Any], buffers: Mapping[str, Any], step: Step
    ) -> tuple[Any, Any, list[Any]]:
        """Return losses ``(members,)``, scores ``(members, samples, outputs)``, and the gradients of the ``weights``.

        Args:
            weights: leaves of a graph.
            buffers: of the network.
            step: a batch.
        """
        ...


class Autograd:
    """Gradients of any network.

    Args:
        network: of the members.
        loss: of a sample.
        precision: returns the context of the forward pass.
    """

    def __init__(
        self, network: StackedNetwork, loss: Loss, precision: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self._network, self._loss, self._precision = network, loss, precision

    def __call__(
        self, weights: Mapping[str, Any], buffers: Mapping[str, Any], step: Step
    ) -> tuple[Any, Any, list[Any]]:
        """See :class:`Gradients`."""
        with self._precision():
            scores = self._network.scores(weights, buffers, step.x, step.batch)
        scores = scores.float()
        loss = _mean(self._loss(scores, step.labels), step)
        # The sum gives each member the gradient of its own loss. Gradients of the vector would be the same, but at
        # their first use torch imports its compiler, which takes seconds.
        gradients = torch.autograd.grad(loss.sum(), list(weights.values()))
        return loss.detach(), scores.detach(), list(gradients)


class LayerByLayer:
    """Gradients of perceptrons of linear layers, dropout and the activations tanh and relu, in float32.

    Args:
        network: of the members; :meth:`fits` is true of it.
        loss: of a sample.
        device: of the training.
    """

    def __init__(self, network: StackedNetwork, loss: Loss, device: Any) -> None:
        self._layers, self._loss, self._scratch = network.layers, loss, Scratch(device)

    @staticmethod
    def fits(network: StackedNetwork) -> bool:
        """Return True if all layers are of the kinds that this class knows, and a linear one is the last."""
        layers = [layer for _, layer in network.layers]
        known = all(isinstance(layer, nn.Linear | nn.Tanh | nn.ReLU | Dropout) for layer in layers)
        return bool(layers) and known and isinstance(layers[-1], nn.Linear)

    @torch.no_grad()
    def __call__(
        self, weights: Mapping[str, Any], buffers: Mapping[str, Any], step: Step
    ) -> tuple[Any, Any, list[Any]]:
        """See :class:`Gradients`."""
        values, masks = self._forward(weights, step)
        wide = values[-1]
        scores = wide[..., : self._layers[-1][1].out_features]
        loss, slope = self._loss_and_slope(scores, step)
        # The columns of the padding stay 0.
        gradient = self._scratch.tensor("scores", tuple(wide.shape))
        gradient[..., : slope.shape[-1]] = slope
        found = self._backward(weights, values, masks, gradient)
        return loss, scores, [found[name] for name in weights]

    def _forward(self, weights: Mapping[str, Any], step: Step) -> tuple[list[Any], Sequence[Any]]:
        """Return the input of each layer, and then the scores; and the mask of each layer with dropout."""
        values, x, masks = [], step.x, iter(step.batch.masks)
        used: list[Any] = []
        for number, (name, layer) in enumerate(self._layers):
            values.append(x)
            match layer:
                case nn.Linear():
                    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
                    if number == len(self._layers) - 1:
                        # Fresh memory, because the caller keeps the scores.
                        x = torch.baddbmm(bias, x, weight)
                    else:
                        shape = (*x.shape[:2], weight.shape[2])
                        x = torch.baddbmm(bias, x, weight, out=self._scratch.tensor(f"values {number}", shape))
                case Dropout() if step.batch.masks:
                    mask = next(masks)
                    missing = x.shape[-1] - mask.shape[-1]
                    used.append(functional.pad(mask, (0, missing)) if missing else mask)
                    x = torch.mul(x, used[-1], out=self._scratch.tensor(f"values {number}", tuple(x.shape)))
                case nn.Tanh():
                    # In place, as is the next one: their derivatives need the result only.
                    x = torch.tanh(x, out=x)
                case nn.ReLU():
                    x = torch.relu_(x)
        return [*values, x], used

    def _backward(
        self, weights: Mapping[str, Any], values: Sequence[Any], masks: Sequence[Any], gradient: Any
    ) -> dict[str, Any]:
        found, left = {}, list(masks)
        for number in reversed(range(len(self._layers))):
            name, layer = self._layers[number]
            match layer:
                case nn.Linear():
                    weight, x = weights[f"{name}.weight"], values[number]
                    found[f"{name}.bias"] = gradient.sum(1, keepdim=True)
                    out = self._scratch.tensor(f"weight {number}", tuple(weight.shape))
                    found[f"{name}.weight"] = torch.bmm(x.transpose(1, 2), gradient, out=out)
                    if number:
                        out = self._scratch.tensor(f"gradient {number}", tuple(x.shape))
                        gradient = torch.bmm(gradient, weight.transpose(1, 2), out=out)
                case Dropout() if left:
                    gradient.mul_(left.pop())
                case nn.Tanh():
                    _ATEN.tanh_backward.grad_input(gradient, values[number + 1], grad_input=gradient)
                case nn.ReLU():
                    _ATEN.threshold_backward.grad_input(gradient, values[number + 1], 0, grad_input=gradient)
        return found

    def _loss_and_slope(self, scores: Any, step: Step) -> tuple[Any, Any]:
        """Return the losses, and the gradient of their sum with respect to the ``scores``."""
        if self._loss is not cross_entropy:
            with torch.enable_grad():
                leaf = scores.detach().requires_grad_(True)
                loss = _mean(self._loss(leaf, step.labels), step)
                (slope,) = torch.autograd.grad(loss.sum(), [leaf])
            return loss.detach(), slope
        losses, powers, total = cross_entropy_parts(scores, step.labels)
        each = torch.ones_like(step.sizes).div_(step.sizes).unsqueeze(1)
        if step.factors is not None:
            each = each * step.factors
        return _mean(losses, step), cross_entropy_gradient(powers, total, step.labels, each)


def make_gradients(
    network: StackedNetwork, loss: Loss, device: Any, precision: Callable[[], AbstractContextManager[Any]] | None
) -> Gradients:
    """Return the fastest way; ``precision`` is the context of a forward pass in reduced precision, or ``None``."""
    if precision is None and LayerByLayer.fits(network):
        return LayerByLayer(network, loss, device)
    return Autograd(network, loss, precision or nullcontext)


def _mean(losses: Any, step: Step) -> Any:
    """Return the mean loss of each member ``(members,)``."""
    if step.factors is not None:
        # Weights have mean 1 over all samples, so a batch of small weights makes a small step.
        losses = losses * step.factors
    return losses.sum(1) / step.sizes

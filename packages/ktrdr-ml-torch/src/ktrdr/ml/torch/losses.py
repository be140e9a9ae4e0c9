"""Loss functions of scores and labels, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.strategy.training_parameters import CLASSIFICATION_LOSSES, REGRESSION_LOSSES

__all__ = ["Loss", "cross_entropy", "cross_entropy_gradient", "cross_entropy_parts", "make_loss"]

Loss = Callable[[Any, Any], Any]
"""From scores ``(..., outputs)`` and labels ``(...)`` to losses ``(...)``."""


def make_loss(settings: Mapping[str, Any], output: OutputKind) -> Loss:
    """Return the loss that ``settings`` names.

    Raises:
        BadInputError: the loss is not for this kind of output.
    """
    name = settings["loss"]
    fitting = CLASSIFICATION_LOSSES if output == "classification" else REGRESSION_LOSSES
    if name not in fitting:
        raise BadInputError(f"`training.loss: {name}` is not for {output}; use {' or '.join(fitting)}")
    match name:
        case "cross_entropy":
            return cross_entropy
        case "focal":
            return partial(_focal, settings["focal_gamma"])
        case "huber":
            return partial(_huber, settings["huber_delta"])
        case _:
            return _mse


class _CrossEntropy(torch.autograd.Function):
    """``log sum exp(scores) - score`` of the true class.

    torch's own kernels take three times as long for scores of a few classes, and those that do not are not the same for
    a network in a stack and alone: here each class is a contiguous tensor, and no sum is left to a kernel.
    """

    @staticmethod
    def forward(ctx: Any, scores: Any, labels: Any) -> Any:
        losses, powers, total = cross_entropy_parts(scores, labels)
        ctx.save_for_backward(powers, total, labels)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        powers, total, labels = ctx.saved_tensors
        return cross_entropy_gradient(powers, total, labels, gradient), None


def cross_entropy_parts(scores: Any, labels: Any) -> tuple[Any, Any, Any]:
    """Return losses ``(...)``, and what their gradient needs: exponentials ``(outputs, ...)``, their sum ``(...)``."""
    by_class = scores.movedim(-1, 0).contiguous()
    by_class = by_class - by_class.amax(0)
    own = by_class.gather(0, labels.unsqueeze(0)).squeeze(0)
    powers = by_class.exp_()
    total, *others = powers.unbind(0)
    for each in others:
        total = total + each
    return total.log() - own, powers, total


def cross_entropy_gradient(powers: Any, total: Any, labels: Any, gradient: Any) -> Any:
    """Return the gradient with respect to the scores ``(..., outputs)``, from that with respect to the losses."""
    change = (powers / total).scatter_(0, labels.unsqueeze(0), -1.0, reduce="add")
    return change.mul_(gradient).movedim(0, -1)


def cross_entropy(scores: Any, labels: Any) -> Any:
    """Return ``log sum exp(scores) - score`` of the true class."""
    return _CrossEntropy.apply(scores, labels)


def _focal(gamma: float, scores: Any, labels: Any) -> Any:
    """Return ``-(1 - p)^gamma log p`` of the true class.

    T.-Y. Lin et al., *Focal loss for dense object detection* (2017).
    """
    losses = cross_entropy(scores, labels)
    # 1 - p, exact for p close to 1; bounded away from 0, where the power has no derivative. The power is written as an
    # exponential, because the kernel of `pow` differs between its vectorized part and the remainder.
    rest = torch.expm1(-losses).neg().clamp(min=1e-12)
    return (rest.log() * gamma).exp() * losses


def _huber(delta: float, scores: Any, labels: Any) -> Any:
    return functional.huber_loss(scores.squeeze(-1), labels, delta=delta, reduction="none")


def _mse(scores: Any, labels: Any) -> Any:
    return functional.mse_loss(scores.squeeze(-1), labels, reduction="none")

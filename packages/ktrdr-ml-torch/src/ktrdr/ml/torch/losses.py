"""Loss functions of scores and labels, per sample or as mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch.nn import functional

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.strategy.training_parameters import CLASSIFICATION_LOSSES, REGRESSION_LOSSES

__all__ = ["Loss", "make_loss"]

Reduction = Literal["mean", "none"]
Loss = Callable[..., Any]
"""``(scores, labels, *, reduction) -> tensor``."""


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
            return functional.cross_entropy
        case "focal":
            return partial(_focal, settings["focal_gamma"])
        case "huber":
            return partial(_huber, settings["huber_delta"])
        case _:
            return _mse


def _focal(gamma: float, scores: Any, labels: Any, *, reduction: Reduction) -> Any:
    """Return ``-(1 - p)^gamma log p`` of the true class.

    T.-Y. Lin et al., *Focal loss for dense object detection* (2017).
    """
    losses = functional.cross_entropy(scores, labels, reduction="none")
    # 1 - p, exact for p close to 1; bounded away from 0, where the power has no derivative.
    losses = torch.expm1(-losses).neg().clamp(min=1e-12).pow(gamma) * losses
    return losses.mean() if reduction == "mean" else losses


def _huber(delta: float, scores: Any, labels: Any, *, reduction: Reduction) -> Any:
    return functional.huber_loss(scores.squeeze(1), labels, delta=delta, reduction=reduction)


def _mse(scores: Any, labels: Any, *, reduction: Reduction) -> Any:
    return functional.mse_loss(scores.squeeze(1), labels, reduction=reduction)

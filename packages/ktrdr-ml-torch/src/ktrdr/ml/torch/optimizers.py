"""Optimizers, and their state by names for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.anfis import Anfis

__all__ = ["load_optimizer_state", "make_optimizer", "optimizer_state"]


def make_optimizer(network: Any, settings: Mapping[str, Any]) -> Any:
    """Return the optimizer of ``settings`` for the learned weights of ``network``; ``None`` if there are none.

    Raises:
        BadInputError: a setting does not belong to this optimizer.
    """
    name, momentum = settings["optimizer"], settings["momentum"]
    if momentum and name in ("adam", "adamw"):
        raise BadInputError(
            f"`training.momentum` is of the optimizers sgd and rmsprop; {name} has its own: leave it out, or change "
            "`training.optimizer`"
        )
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        return None
    device = parameters[0].device.type
    common = {"lr": settings["learning_rate"]}
    groups = _groups(network, settings["weight_decay"])
    # Fused: one call for all weights instead of a loop in Python.
    fused: dict[str, Any] = {"fused": True} if device in ("cpu", "cuda") else {}
    match name:
        case "adam":
            return torch.optim.Adam(groups, **common, **fused)
        case "adamw":
            return torch.optim.AdamW(groups, **common, **fused)
        case "sgd":
            return torch.optim.SGD(groups, momentum=momentum, **common, **fused)
        case _:
            return torch.optim.RMSprop(groups, momentum=momentum, foreach=device != "mps", **common)


def _groups(network: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups; memberships have no weight decay, which would pull their positions to 0."""
    places = list(network.memberships.parameters()) if isinstance(network, Anfis) else []
    identities = {id(parameter) for parameter in places}
    others = [
        parameter for parameter in network.parameters() if parameter.requires_grad and id(parameter) not in identities
    ]
    groups = [{"params": others, "weight_decay": weight_decay}, {"params": places, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _parameters(optimizer: Any) -> Sequence[Any]:
    return [] if optimizer is None else [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """Return ``"{number of the parameter}.{name}"`` -> tensor, without learning rates, which the schedule gives."""
    return {
        f"{number}.{name}": tensor
        for number, parameter in enumerate(_parameters(optimizer))
        for name, tensor in optimizer.state.get(parameter, {}).items()
        if tensor is not None
    }


def load_optimizer_state(optimizer: Any, tensors: Mapping[str, Any]) -> None:
    """Restore what :func:`optimizer_state` returned."""
    if optimizer is None:
        return
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

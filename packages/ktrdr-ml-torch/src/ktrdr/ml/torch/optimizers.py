"""Optimizers of a stack: each member has a row of weights, a learning rate and a weight decay of its own.

The rules are those of :mod:`torch.optim`, with its default constants. They act on numbers one by one, so a row does not
depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.scratch import Scratch

__all__ = ["Optimizer", "check_optimizer", "clip", "make_optimizer"]

_BETA1, _BETA2, _EPS, _ALPHA = 0.9, 0.999, 1e-8, 0.99
_CLIP_EPS = 1e-6
# The root of a 0 takes six times as long as that of another number, that of a subnormal number 35 times. The root of
# the smallest normal number is so small that its sum with `_EPS` is the same.
_SMALLEST = torch.finfo(torch.float32).tiny


def check_optimizer(settings: Mapping[str, Any]) -> None:
    """Raise an error if a setting does not belong to the optimizer of ``settings``."""
    name = settings["optimizer"]
    if settings["momentum"] and name in ("adam", "adamw"):
        raise BadInputError(
            f"`training.momentum` is of the optimizers sgd and rmsprop; {name} has its own: leave it out, or change "
            "`training.optimizer`"
        )


def clip(gradient: Any, largest: Any) -> None:
    """Scale each row of ``gradient``, ``(members, size)``, down to the norm ``largest``, in place."""
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    gradient.mul_((largest / (norm + _CLIP_EPS)).clamp(max=1.0))


class Optimizer:
    """Gradient descent with momentum, and the base of the others.

    Args:
        weights: float32 ``(members, size)``, changed in place.
        settings: of each member; members differ in values only, not in the optimizer or in whether there is a momentum
            or a weight decay.
        decayed: columns that weight decay applies to.

    Attributes:
        state: tensors ``(members, size)`` by name, for checkpoints.
        rates: float32 ``(members, 1)``, the learning rates; set it before each epoch.
    """

    names: tuple[str, ...] = ()

    def __init__(self, weights: Any, settings: Sequence[Mapping[str, Any]], decayed: slice) -> None:
        self._decayed = decayed
        self._decay = _column([own["weight_decay"] for own in settings], weights)
        self._momentum = _column([own["momentum"] for own in settings], weights)
        self._decays = any(own["weight_decay"] for own in settings)
        self._moves = any(own["momentum"] for own in settings)
        names = (*self.names, *(["momentum"] if self._moves else []))
        self.state = {name: torch.zeros_like(weights) for name in names}
        self.rates: Any = None
        self._scratch = Scratch(weights.device)

    def keep(self, rows: Any) -> None:
        """Keep only the members ``rows``."""
        self.state = {name: tensor[rows] for name, tensor in self.state.items()}
        self._decay, self._momentum = self._decay[rows], self._momentum[rows]

    def step(self, weights: Any, gradient: Any, count: Sequence[int]) -> None:
        """Change the ``weights`` of the first members, ``(active, size)``; ``gradient`` is overwritten.

        ``count`` is the number of each member's step, from 1.
        """
        active = len(weights)
        if self._decays:
            self._add_decay(weights, gradient, self._decay[:active])
        state = {name: tensor[:active] for name, tensor in self.state.items()}
        self._change(weights, gradient, state, self.rates[:active], count)

    def _root(self, square: Any) -> Any:
        """Return the square root, valid until the next call."""
        return torch.clamp(square, min=_SMALLEST, out=self._scratch.tensor("root", tuple(square.shape))).sqrt_()

    def _add_decay(self, weights: Any, gradient: Any, decay: Any) -> None:
        gradient[:, self._decayed].addcmul_(weights[:, self._decayed], decay)

    def _change(self, weights: Any, gradient: Any, state: Mapping[str, Any], rates: Any, count: Sequence[int]) -> None:
        if self._moves:
            gradient = state["momentum"].mul_(self._momentum[: len(weights)]).add_(gradient)
        weights.addcmul_(gradient, -rates)


class _RMSprop(Optimizer):
    names = ("square",)

    def _change(self, weights: Any, gradient: Any, state: Mapping[str, Any], rates: Any, count: Sequence[int]) -> None:
        square = state["square"].mul_(_ALPHA).addcmul_(gradient, gradient, value=1 - _ALPHA)
        super()._change(weights, gradient.div_(self._root(square).add_(_EPS)), state, rates, count)


class _Adam(Optimizer):
    names = ("mean", "square")

    def _change(self, weights: Any, gradient: Any, state: Mapping[str, Any], rates: Any, count: Sequence[int]) -> None:
        mean = state["mean"].lerp_(gradient, 1 - _BETA1)
        square = state["square"].mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        corrections = {number: (1 - _BETA1**number, math.sqrt(1 - _BETA2**number)) for number in set(count)}
        first, second = (_column([corrections[number][part] for number in count], weights) for part in (0, 1))
        root = self._root(square).div_(second).add_(_EPS)
        weights.addcmul_(torch.div(mean, root, out=root), rates / -first)


class _AdamW(_Adam):
    def _add_decay(self, weights: Any, gradient: Any, decay: Any) -> None:
        weights[:, self._decayed].mul_(1 - self.rates[: len(weights)] * decay)


_KINDS = {"sgd": Optimizer, "rmsprop": _RMSprop, "adam": _Adam, "adamw": _AdamW}


def make_optimizer(weights: Any, settings: Sequence[Mapping[str, Any]], decayed: slice) -> Optimizer:
    """Return the optimizer that the first of the ``settings`` names; see :class:`Optimizer`."""
    return _KINDS[settings[0]["optimizer"]](weights, settings, decayed)


def _column(values: Sequence[float], like: Any) -> Any:
    if values.count(values[0]) == len(values):
        return torch.full((len(values), 1), values[0], dtype=like.dtype, device=like.device)
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)

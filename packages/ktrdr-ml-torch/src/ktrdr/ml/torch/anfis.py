"""First-order Takagi-Sugeno network (ANFIS) with rules that people can read.

J.-S. R. Jang, *ANFIS: adaptive-network-based fuzzy inference system*, IEEE Trans. SMC 23 (1993) 665-685: one rule for
each combination of memberships, fired by the product of their degrees, with an output linear in the inputs; the rules'
outputs are averaged by firing strength.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import nn

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import too_many_rules
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.model_description import Description

__all__ = ["Anfis", "normalized", "weighted_mean"]

_LEAST_FIRING = 1e-12


def normalized(degrees: Sequence[Any]) -> Any:
    """Return normalized firing strengths ``(..., n, rules)``; all are 0 where no rule fires.

    Args:
        degrees: logarithms of degrees ``(..., n, memberships)`` of each fuzzy input.
    """
    # Relative to the largest degree of each input, and so to the strongest rule: ratios of very small strengths do not
    # underflow, and logarithms of the rules that matter are near 0, where they are precise.
    strengths, *others = (_relative(logs) for logs in degrees)
    for more in others:
        strengths = (strengths.unsqueeze(-1) + more.unsqueeze(-2)).flatten(-2)
    strengths = strengths.exp()
    total = strengths.sum(-1, keepdim=True)
    return strengths / torch.where(total > 0, total, 1.0)


def _relative(logs: Any) -> Any:
    largest = logs.detach().amax(-1, keepdim=True)
    return logs - torch.where(largest.isfinite(), largest, 0.0)


def weighted_mean(linear: Any, z: Any, outputs: int) -> Any:
    """Return scores ``(..., n, outputs)``.

    Args:
        linear: consequents, averaged by firing strength, ``(..., n, (features + 1) * outputs)``.
        z: standardized ``(..., n, features)``.
        outputs: of the network.
    """
    linear = linear.unflatten(-1, (-1, outputs))
    return (linear[..., :-1, :] * z.unsqueeze(-1)).sum(-2) + linear[..., -1, :]


class Anfis(nn.Module):
    """An ANFIS with one rule for each combination of the memberships of all fuzzy inputs.

    ``consequents`` is ``(rules, (features + 1) * outputs)``: the coefficients of the standardized inputs, then the
    constant. ``shares`` is the mean of each rule's normalized firing strength over the training samples. ``centers``
    ``(rules, features)`` is the mean of the standardized training inputs, weighted by that strength: the place where
    the rule fires. In models of format 1 ``centers`` is ``None``.
    """

    center: Any
    scale: Any
    shares: Any
    centers: Any

    def __init__(self, description: Description) -> None:
        super().__init__()
        variables, architecture = description.fuzzy_variables, description.architecture
        counts = [len(variable.functions) for variable in variables]
        if problem := too_many_rules(description.kind, architecture, counts):
            raise BadInputError(f"`model`: {problem}")
        rules = math.prod(counts)
        self.width = max(rules, description.input_size * description.outputs)
        self.outputs = description.outputs
        self.learns_memberships = architecture["learn_memberships"]
        self.memberships = Memberships(variables, learn=self.learns_memberships)
        self.consequents = nn.Parameter(torch.empty(rules, (description.input_size + 1) * description.outputs))
        self.register_buffer("center", torch.empty(description.input_size))
        self.register_buffer("scale", torch.empty(description.input_size))
        self.register_buffer("shares", torch.empty(rules))
        measured = description.format > 1
        self.register_buffer("centers", torch.empty(rules, description.input_size) if measured else None)

    @torch.no_grad()
    def start(self, center: Sequence[float], scale: Sequence[float]) -> None:
        """Set the memberships of the strategy, and consequents of 0."""
        self.center.copy_(torch.tensor(center))
        self.scale.copy_(torch.tensor(scale))
        self.memberships.start(center, scale)
        self.consequents.zero_()
        self.shares.fill_(1 / len(self.shares))
        self.centers.zero_()

    def forward(self, x: Any) -> Any:
        """Return scores ``(n, outputs)`` of ``(n, features)``.

        Where no rule fires, for example outside of all triangles, the scores are 0.
        """
        z = self.standardized(x)
        return weighted_mean(normalized(self.memberships(z)) @ self.consequents, z, self.outputs)

    def standardized(self, x: Any) -> Any:
        """Return ``(n, features)``, scaled so that the training samples have mean 0 and standard deviation 1."""
        return (x - self.center) / self.scale

    def firing(self, x: Any) -> Any:
        """Return normalized firing strengths ``(n, rules)`` of ``(n, features)``; all are 0 where no rule fires."""
        return normalized(self.memberships(self.standardized(x)))

    @torch.no_grad()
    def set_measured(self, weights: Any, sums: Any) -> None:
        """Set ``shares`` and ``centers``.

        Args:
            weights: float64 ``(rules,)``, the sum of each rule's firing over the training samples.
            sums: float64 ``(rules, features)``, the sum of the standardized inputs times that firing. The
                center of a rule that never fired is the average sample.
        """
        fired = weights.unsqueeze(1)
        self.shares.copy_((weights / weights.sum().clamp(min=_LEAST_FIRING)).float())
        self.centers.copy_(torch.where(fired > 0, sums / fired.clamp(min=1e-300), 0.0).float())

    def rule_scores(self) -> Any:
        """Return the scores ``(rules, outputs)`` of the rules, at their centers or else at the average sample."""
        coefficients = self.consequents.view(len(self.consequents), -1, self.outputs)
        constants = coefficients[:, -1]
        if self.centers is None:
            return constants
        return (coefficients[:, :-1] * self.centers.unsqueeze(2)).sum(1) + constants

    def learned_functions(self) -> list[tuple[str, tuple[float, ...]]]:
        """Return ``(type, parameters)`` of every membership, in the order of the inputs; empty if not learned."""
        if not self.learns_memberships:
            return []
        return self.memberships.functions(self.center.tolist(), self.scale.tolist())

    def combinations(self) -> list[tuple[int, ...]]:
        """Return, for each rule in order, the number of the membership of each fuzzy input."""
        return list(product(*(range(count) for count in self.memberships.counts)))

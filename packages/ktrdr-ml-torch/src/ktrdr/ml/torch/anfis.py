"""First-order Takagi-Sugeno network whose rules can be read.

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
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.model_description import Description

__all__ = ["Anfis"]

# Where every rule is silent the scores go to 0: no opinion.
_SILENT = 1e-12


class Anfis(nn.Module):
    """Rules over all combinations of the memberships of all fuzzy inputs.

    ``consequents`` is ``(rules, (features + 1) * outputs)``: the coefficients of the standardized inputs, then the
    constant. ``shares`` is the mean of each rule's normalized firing strength over the training samples.
    """

    center: Any
    scale: Any
    shares: Any

    def __init__(self, description: Description) -> None:
        super().__init__()
        variables = description.fuzzy_variables
        rules = math.prod(len(variable.functions) for variable in variables)
        bound = description.architecture["max_rules"]
        if rules > bound:
            counts = " x ".join(str(len(variable.functions)) for variable in variables)
            raise BadInputError(
                f"`model`: anfis would have {rules:,} rules ({counts} memberships of {len(variables)} fuzzy inputs), "
                f"more than `max_rules: {bound}`; use fewer fuzzy inputs, lags or memberships, or raise `max_rules`"
            )
        self.width = max(rules, description.input_size * description.outputs)
        self.outputs = description.outputs
        self.learns_memberships = description.architecture["learn_memberships"]
        self.memberships = Memberships(variables, learn=self.learns_memberships)
        self.consequents = nn.Parameter(torch.empty(rules, (description.input_size + 1) * description.outputs))
        self.register_buffer("center", torch.empty(description.input_size))
        self.register_buffer("scale", torch.empty(description.input_size))
        self.register_buffer("shares", torch.empty(rules))

    @torch.no_grad()
    def start(self, center: Sequence[float], scale: Sequence[float], generator: Any) -> None:
        """Take the strategy's memberships, and consequents close to 0."""
        self.center.copy_(torch.tensor(center))
        self.scale.copy_(torch.tensor(scale))
        self.memberships.start(center, scale)
        bound = 0.1 / math.sqrt(len(center) + 1)
        self.consequents.uniform_(-bound, bound, generator=generator)
        self.shares.fill_(1 / len(self.shares))

    def forward(self, x: Any) -> Any:
        """Return scores ``(n, outputs)`` of ``(n, features)``."""
        z = (x - self.center) / self.scale
        linear = (self._normalized(z) @ self.consequents).view(len(x), -1, self.outputs)
        return (linear[:, :-1] * z.unsqueeze(2)).sum(1) + linear[:, -1]

    def firing(self, x: Any) -> Any:
        """Return normalized firing strengths ``(n, rules)`` of ``(n, features)``."""
        return self._normalized((x - self.center) / self.scale)

    def _normalized(self, z: Any) -> Any:
        first, *others = self.memberships(z)
        strengths = first
        for degrees in others:
            strengths = (strengths.unsqueeze(2) * degrees.unsqueeze(1)).flatten(1)
        return strengths / (strengths.sum(1, keepdim=True) + _SILENT)

    def learned_functions(self) -> list[tuple[str, tuple[float, ...]]]:
        """Return ``(type, parameters)`` of every membership, inputs in order; nothing if training left them alone."""
        if not self.learns_memberships:
            return []
        return self.memberships.functions(self.center.tolist(), self.scale.tolist())

    def combinations(self) -> list[tuple[int, ...]]:
        """Return, for each rule in order, the number of the membership of each fuzzy input."""
        return list(product(*(range(count) for count in self.memberships.counts)))

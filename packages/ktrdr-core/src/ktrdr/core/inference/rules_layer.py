"""Takagi-Sugeno rules."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ktrdr.core.inference.membership_shapes import Shape, shape_of
from ktrdr.core.inference.vocabulary import Rules

__all__ = ["RulesLayer"]


class RulesLayer:
    """Computes :class:`~ktrdr.core.inference.Rules`.

    The strength of the strongest rule is the product of the largest degree of each input, and the sum of the products
    of all combinations is the product of the sums. So the normalized strength of a rule is the product of the shares of
    its memberships, where the share of a membership is its degree, relative to the largest one, divided by the sum of
    those of the same input: logarithms and exponentials are taken of memberships, not of rules.
    """

    def __init__(self, node: Rules, arrays: Mapping[str, np.ndarray]) -> None:
        places, sizes = arrays[node.places], arrays[node.sizes]
        self._inputs: list[tuple[int, list[Shape]]] = []
        begin = 0
        for fuzzy in node.fuzzy_inputs:
            shapes = [
                shape_of(function, places[begin + number], sizes[begin + number])
                for number, function in enumerate(fuzzy.functions)
            ]
            begin += len(shapes)
            self._inputs.append((fuzzy.column, shapes))
        consequents = arrays[node.consequents]
        self._outputs = consequents.shape[2]
        # One product gives, for each row, the coefficients of each input and output, averaged over the rules.
        self._averaging = np.ascontiguousarray(consequents.reshape(len(consequents), -1).T)

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(..., outputs, m)`` of ``(..., inputs, m)``."""
        linear = self._linear(_strengths(self._shares(x)))
        y: np.ndarray = np.einsum("...ijm,...im->...jm", linear[..., :-1, :, :], x)
        y += linear[..., -1, :, :]
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``: by the consequents, and by the strengths of the rules."""
        shares = self._shares(x)
        strengths = _strengths(shares)
        found = np.einsum("...ijm,k...jm->k...im", self._linear(strengths)[..., :-1, :, :], gradient)
        row = np.concatenate((x, np.ones_like(x[..., :1, :])), axis=-2)
        by_coefficients = row[..., :, np.newaxis, :] * gradient[..., np.newaxis, :, :]
        by_coefficients = by_coefficients.reshape(*gradient.shape[:-2], -1, gradient.shape[-1])
        # Of each rule, times its strength: the sum over the rules with a membership is the derivative by the logarithm
        # of its degree, less its share of the sum over all rules.
        weighted = np.matmul(self._averaging.T, by_coefficients) * strengths
        counts = [len(shapes) for _, shapes in self._inputs]
        weighted = weighted.reshape(*gradient.shape[:-2], *counts, gradient.shape[-1])
        total = weighted.sum(axis=tuple(range(-len(counts) - 1, -1)))
        for number, ((column, shapes), share) in enumerate(zip(self._inputs, shares, strict=True)):
            others = tuple(-len(counts) - 1 + other for other in range(len(counts)) if other != number)
            by_logs = weighted.sum(axis=others) - share * total[..., np.newaxis, :]
            for position, shape in enumerate(shapes):
                found[..., column, :] += by_logs[..., position, :] * shape.slope_of_log(x[..., column, :])
        return found

    def _shares(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the shares ``(..., memberships, m)`` of each fuzzy input; all are 0 where all degrees are 0."""
        found = []
        for column, shapes in self._inputs:
            logs = np.stack([shape.log_degree(x[..., column, :]) for shape in shapes], axis=-2)
            largest = logs.max(axis=-2, keepdims=True)
            largest[largest == -math.inf] = 0.0
            logs -= largest
            np.exp(logs, out=logs)
            total = logs.sum(axis=-2, keepdims=True)
            total[total == 0] = 1.0
            logs /= total
            found.append(logs)
        return found

    def _linear(self, strengths: np.ndarray) -> np.ndarray:
        """Return the averaged coefficients ``(..., inputs + 1, outputs, m)``."""
        linear: np.ndarray = np.matmul(self._averaging, strengths)
        return linear.reshape(*linear.shape[:-2], -1, self._outputs, linear.shape[-1])


def _strengths(shares: list[np.ndarray]) -> np.ndarray:
    """Return the normalized strengths ``(..., rules, m)``."""
    strengths, *others = shares
    for more in others:
        product = strengths[..., :, np.newaxis, :] * more[..., np.newaxis, :, :]
        strengths = product.reshape(*product.shape[:-3], -1, product.shape[-1])
    return strengths

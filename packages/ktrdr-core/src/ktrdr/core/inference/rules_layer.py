"""Takagi-Sugeno rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.inference.matrix_product import product
from ktrdr.core.inference.membership_shares import MembershipShares
from ktrdr.core.inference.vocabulary import Rules

__all__ = ["RulesLayer"]


class RulesLayer:
    """Computes :class:`~ktrdr.core.inference.Rules`.

    The strength of the strongest rule is the product of the largest degree of each input, and the sum of all strengths
    is the product of the sums of the degrees. So the normalized strength of a rule is the product of the shares of its
    memberships, see :class:`~ktrdr.core.inference.membership_shares.MembershipShares`: logarithms and exponentials are
    taken of memberships, not of rules.
    """

    def __init__(self, node: Rules, arrays: Mapping[str, np.ndarray]) -> None:
        self._memberships = MembershipShares(node.fuzzy_inputs, arrays[node.places], arrays[node.sizes])
        consequents = arrays[node.consequents]
        self._outputs = consequents.shape[2]
        # One product gives, for each row, the coefficients of each input and output, averaged over the rules.
        self._averaging = np.ascontiguousarray(consequents.reshape(len(consequents), -1).T)

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(outputs, m)`` of ``(inputs, m)``."""
        linear = self._linear(self._strengths(self._memberships.shares(x)))
        y: np.ndarray = np.einsum("ijm,im->jm", linear[:-1], x)
        y += linear[-1]
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``: by the consequents, and by the strengths of the rules."""
        shares = self._memberships.shares(x)
        strengths = self._strengths(shares)
        gradient = gradient.astype(x.dtype, copy=False)
        found = np.einsum("ijm,kjm->kim", self._linear(strengths)[:-1], gradient)
        row = np.concatenate((x, np.ones_like(x[:1])))
        by_coefficients = row[:, np.newaxis] * gradient[:, np.newaxis]
        # Of each rule, times its strength: the sum over the rules with a membership is the derivative by the logarithm
        # of its degree, less its share of the sum over all rules.
        weighted = product(self._averaging.T, by_coefficients.reshape(len(gradient), -1, x.shape[1]))
        weighted *= strengths
        by_logs = np.concatenate(self._by_membership(weighted), axis=1)
        by_logs -= shares * weighted.sum(axis=1, keepdims=True)
        by_logs *= self._memberships.slopes(x)
        self._memberships.add_by_input(by_logs, found)
        return found

    def _strengths(self, shares: np.ndarray) -> np.ndarray:
        """Return the normalized strengths ``(rules, m)``."""
        first, *others = np.split(shares, np.cumsum(self._memberships.counts)[:-1])
        for more in others:
            first = (first[:, np.newaxis] * more).reshape(-1, shares.shape[1])
        return first

    def _by_membership(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the sums ``(k, memberships, m)`` of ``(k, rules, m)`` over the rules with a membership, by input."""
        found, before = [], 1
        for count in self._memberships.counts:
            found.append(values.reshape(len(values), before, count, -1, values.shape[-1]).sum(axis=(1, 3)))
            before *= count
        return found

    def _linear(self, strengths: np.ndarray) -> np.ndarray:
        """Return the averaged coefficients ``(inputs + 1, outputs, m)``."""
        linear: np.ndarray = product(self._averaging, strengths)
        return linear.reshape(-1, self._outputs, strengths.shape[1])

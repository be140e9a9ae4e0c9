"""The memberships of rules, each relative to the others of its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import numpy as np

from ktrdr.core.inference.vocabulary import FuzzyInput

__all__ = ["MembershipShares"]

_LEAST_DISTANCE = 1e-12
"""Smallest distance from the center of a bell, in its widths, whose logarithm is taken."""


class MembershipShares:
    """The share of each membership: its degree, divided by the sum of the degrees of the same input.

    All functions of a type are computed at once, in the dtype of the input. Their formulas are in
    :class:`~ktrdr.core.inference.Rules`.

    Args:
        inputs: the fuzzy inputs.
        places: ``(memberships,)``.
        sizes: ``(memberships, 3)``.
    """

    def __init__(self, inputs: Sequence[FuzzyInput], places: np.ndarray, sizes: np.ndarray) -> None:
        self.counts = [len(each.functions) for each in inputs]
        functions = np.array([function for each in inputs for function in each.functions])
        columns = np.repeat([each.column for each in inputs], self.counts)
        self._kinds = [
            _Kind(name, np.flatnonzero(functions == name), columns, places, sizes) for name in sorted(set(functions))
        ]
        # The degrees of these functions are no exponentials, so no logarithms are needed to compare small ones.
        self._plain = [kind.name for kind in self._kinds] == ["trapezoidal"]

    def shares(self, x: np.ndarray) -> np.ndarray:
        """Return ``(memberships, m)`` of ``(inputs, m)``; those of an input are 0 where all its degrees are 0."""
        found = self._joined([kind.degrees(x, logarithms=not self._plain) for kind in self._kinds])
        for part in self._parts(found):
            if not self._plain:
                # Relative to the largest degree, so that the ratios of very small ones do not underflow.
                part -= np.maximum(part.max(axis=-2, keepdims=True), np.finfo(x.dtype).min)
                np.exp(part, out=part)
            part /= np.maximum(part.sum(axis=-2, keepdims=True), np.finfo(x.dtype).tiny)
        return found

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Return the derivatives ``(memberships, m)`` of the logarithms of degrees; 0 for a degree of 0."""
        return self._joined([kind.slopes(x) for kind in self._kinds])

    def add_by_input(self, values: np.ndarray, found: np.ndarray) -> None:
        """Add ``values`` ``(..., memberships, m)`` to the columns of ``found`` that the memberships are of."""
        for kind in self._kinds:
            for position, column in zip(kind.positions, kind.columns, strict=True):
                found[..., column, :] += values[..., position, :]

    def _joined(self, values: list[np.ndarray]) -> np.ndarray:
        """Return the values of all kinds in the order of the memberships."""
        if len(values) == 1:
            return values[0]
        found = np.empty((sum(self.counts), values[0].shape[1]), values[0].dtype)
        for kind, own in zip(self._kinds, values, strict=True):
            found[kind.positions] = own
        return found

    def _parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Return views ``(..., memberships, m)`` of the inputs; of all at once if they have as many memberships."""
        if len(set(self.counts)) == 1:
            return [values.reshape(len(self.counts), self.counts[0], -1)]
        return [values[begin:end] for begin, end in pairwise(accumulate(self.counts, initial=0))]


class _Kind:
    """The functions of one type, at their positions among all."""

    def __init__(
        self, name: str, positions: np.ndarray, columns: np.ndarray, places: np.ndarray, sizes: np.ndarray
    ) -> None:
        self.name = name
        self.positions = positions
        self.columns = columns[positions]
        self._place = places[positions][:, np.newaxis]
        self._sizes = sizes[positions].T[:, :, np.newaxis]

    def degrees(self, x: np.ndarray, *, logarithms: bool) -> np.ndarray:
        """Return degrees ``(functions, m)``, or their logarithms."""
        distance = self._distance(x)
        if self.name != "trapezoidal":
            return _LOG_DEGREES[self.name](distance, self._sizes)
        degree = _trapezoidal(distance, self._sizes)[0]
        return np.log(degree, out=degree) if logarithms else degree

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Return the derivatives of the logarithms of degrees."""
        return _SLOPES[self.name](self._distance(x), self._sizes)

    def _distance(self, x: np.ndarray) -> np.ndarray:
        distance: np.ndarray = x[self.columns]
        distance -= self._place
        return distance


def _trapezoidal(distance: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return degrees, and how far up the two ramps they are, which may be below 0 or above 1."""
    left, right = _ramps(sizes)
    rising = distance / left
    rising += 1
    falling = (sizes[1] - distance) / right
    falling += 1
    degree = np.minimum(rising, falling)
    return np.clip(degree, 0, 1, out=degree), rising, falling


def _ramps(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the widths of the left and the right ramp; that of a shoulder is infinite, so it is as high everywhere."""
    left, _, right = np.where(sizes > 0, sizes, np.inf).astype(sizes.dtype)
    return left, right


def _trapezoidal_slopes(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    degree, rising, falling = _trapezoidal(distance, sizes)
    left, right = _ramps(sizes)
    slope = np.where(rising < falling, 1 / left, -1 / right)
    slope[np.minimum(rising, falling) > 1] = 0
    found = np.zeros_like(degree)
    np.divide(slope, degree, out=found, where=degree > 0)
    return found


def _gaussian(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    distance /= sizes[0]
    distance *= distance
    distance *= -0.5
    return distance


def _gaussian_slopes(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    found: np.ndarray = -distance / sizes[0] / sizes[0]
    return found


def _sigmoid(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    distance *= sizes[0]
    return _log_logistic(distance)


def _sigmoid_slopes(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    found: np.ndarray = sizes[0] * _logistic(-sizes[0] * distance)
    return found


def _bell(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return _log_logistic(_bell_logit(distance, sizes))


def _bell_slopes(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    far = np.abs(distance / sizes[0]) > _LEAST_DISTANCE
    found = np.zeros_like(distance)
    np.divide(-2 * sizes[1] * _logistic(-_bell_logit(distance, sizes)), distance, out=found, where=far)
    return found


def _bell_logit(distance: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the logarithm of the odds of the degree."""
    logit = np.abs(distance / sizes[0])
    np.maximum(logit, _LEAST_DISTANCE, out=logit)
    np.log(logit, out=logit)
    logit *= -2 * sizes[1]
    return logit


def _log_logistic(x: np.ndarray) -> np.ndarray:
    small = np.abs(x)
    np.negative(small, out=small)
    np.exp(small, out=small)
    small += 1
    np.log(small, out=small)
    found: np.ndarray = np.minimum(x, 0)
    found -= small
    return found


def _logistic(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-x))
    return found


_Function = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Functions of the distances ``(functions, m)``, which they may overwrite, and the sizes ``(3, functions, 1)``.
_LOG_DEGREES: dict[str, _Function] = {"gaussian": _gaussian, "sigmoid": _sigmoid, "bell": _bell}
_SLOPES: dict[str, _Function] = {
    "trapezoidal": _trapezoidal_slopes,
    "gaussian": _gaussian_slopes,
    "sigmoid": _sigmoid_slopes,
    "bell": _bell_slopes,
}

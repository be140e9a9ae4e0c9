"""Membership functions of rules, as logarithms of degrees.

Their formulas are in :class:`~ktrdr.core.inference.Rules`. All computing is in the dtype of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

__all__ = ["Shape", "shape_of"]

_LEAST_DISTANCE = 1e-12
"""Smallest distance from the center of a bell, in its widths, whose logarithm is taken."""


class Shape(Protocol):
    """A membership function."""

    def log_degree(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the degree of every value; minus infinity for a degree of 0."""
        ...

    def slope_of_log(self, x: np.ndarray) -> np.ndarray:
        """Return the derivative of :meth:`log_degree`; 0 for a degree of 0."""
        ...


def shape_of(function: str, place: np.floating, sizes: np.ndarray) -> Shape:
    """Return the membership function of a type of :class:`~ktrdr.core.inference.FuzzyInput`."""
    return _SHAPES[function](place, sizes)


class _Trapezoidal:
    def __init__(self, place: np.floating, sizes: np.ndarray) -> None:
        self._place = place
        self._left, self._top, self._right = sizes

    def log_degree(self, x: np.ndarray) -> np.ndarray:
        degree, _ = self._degree(x)
        found = np.full_like(degree, -math.inf)
        np.log(degree, out=found, where=degree > 0)
        return found

    def slope_of_log(self, x: np.ndarray) -> np.ndarray:
        degree, slope = self._degree(x)
        found = np.zeros_like(degree)
        np.divide(slope, degree, out=found, where=degree > 0)
        return found

    def _degree(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return degrees, which may be below 0 outside of the support, and their derivative."""
        distance = x - self._place
        one, zero = np.ones_like(distance), np.zeros_like(distance)
        rising = 1 + distance / self._left if self._left > 0 else one
        falling = 1 - (distance - self._top) / self._right if self._right > 0 else one
        up = 1 / self._left if self._left > 0 else zero
        down = -1 / self._right if self._right > 0 else zero
        degree = np.minimum(rising, falling)
        slope = np.where(degree > 1, zero, np.where(rising < falling, up, down))
        return np.minimum(degree, 1), slope


class _Gaussian:
    def __init__(self, place: np.floating, sizes: np.ndarray) -> None:
        self._place, self._width = place, sizes[0]

    def log_degree(self, x: np.ndarray) -> np.ndarray:
        z = (x - self._place) / self._width
        return -0.5 * (z * z)

    def slope_of_log(self, x: np.ndarray) -> np.ndarray:
        return -((x - self._place) / self._width) / self._width


class _Sigmoid:
    def __init__(self, place: np.floating, sizes: np.ndarray) -> None:
        self._place, self._slope = place, sizes[0]

    def log_degree(self, x: np.ndarray) -> np.ndarray:
        return _log_sigmoid((x - self._place) * self._slope)

    def slope_of_log(self, x: np.ndarray) -> np.ndarray:
        return self._slope * _sigmoid((self._place - x) * self._slope)


class _Bell:
    def __init__(self, place: np.floating, sizes: np.ndarray) -> None:
        self._place, self._width, self._slope = place, sizes[0], sizes[1]

    def log_degree(self, x: np.ndarray) -> np.ndarray:
        return _log_sigmoid(self._logit(x))

    def slope_of_log(self, x: np.ndarray) -> np.ndarray:
        distance = x - self._place
        far = np.abs(distance / self._width) > _LEAST_DISTANCE
        found = np.zeros_like(distance)
        np.divide(-2 * self._slope * _sigmoid(-self._logit(x)), distance, out=found, where=far)
        return found

    def _logit(self, x: np.ndarray) -> np.ndarray:
        distance = np.maximum(np.abs((x - self._place) / self._width), _LEAST_DISTANCE)
        return -2 * self._slope * np.log(distance)


_SHAPES: dict[str, Callable[[np.floating, np.ndarray], Shape]] = {
    "trapezoidal": _Trapezoidal,
    "gaussian": _Gaussian,
    "sigmoid": _Sigmoid,
    "bell": _Bell,
}


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
    return found


def _sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-x))
    return found

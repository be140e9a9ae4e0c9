"""Activations."""

from __future__ import annotations

import math

import numpy as np

from ktrdr.core.inference.layer import Layer
from ktrdr.core.inference.vocabulary import Activation

__all__ = ["LEAK", "activation_layer"]

LEAK = 0.01
"""Slope of the leaky relu below 0."""

# The distribution function of the normal distribution is 1 / (1 + exp(-x * s(x ** 2))), where s(u) is smooth: it is
# log(cdf(x) / cdf(-x)) / x. These are the coefficients of a polynomial for s, the constant first, for u up to 36. They
# are the weighted minimax fit of degree 6 (Lawson's algorithm on 400 Chebyshev nodes), with the error of the gelu,
# x ** 2 * cdf(x) * cdf(-x) * error of s, as the weighted error: at most 7e-8. Beyond, where the gelu differs from x or
# 0 by less than 6e-9, s stays as it is at 36.
_LOGIT = (
    1.5957684314539782,
    0.07266857025827508,
    -6.626277804138987e-05,
    -0.00011047945709366072,
    7.938103192285015e-06,
    -2.6688587279261863e-07,
    3.611082671787981e-09,
)
_LOGIT_END = 36.0


class _Relu:
    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        y: np.ndarray = np.maximum(x, _row(0, x), out=x if reuse else None)
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        found: np.ndarray = gradient * (y > 0)
        return found


class _LeakyRelu:
    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        y: np.ndarray = np.maximum(x, x * LEAK, out=x if reuse else None)
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.where(y > 0, gradient, gradient * LEAK)
        return found


class _Tanh:
    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        y: np.ndarray = np.tanh(x, out=x if reuse else None)
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        found: np.ndarray = gradient * (1 - y * y)
        return found


class _Sigmoid:
    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        y: np.ndarray = np.negative(x, out=x if reuse else None)
        np.exp(y, out=y)
        y += 1
        return np.divide(1, y, out=y)

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        found: np.ndarray = gradient * (y * (1 - y))
        return found


class _Gelu:
    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        # For a positive x as x less a small number, which is exact to the last digit.
        size = np.abs(x)
        tail = _odds(size)
        tail += 1
        np.divide(size, tail, out=tail)
        y: np.ndarray = np.maximum(x, _row(0, x), out=x if reuse else None)
        y -= tail
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        tail = 1 / (1 + _odds(np.abs(x)))
        density = np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        found: np.ndarray = gradient * (np.where(x > 0, 1 - tail, tail) + x * density)
        return found


def _odds(x: np.ndarray) -> np.ndarray:
    """Return ``cdf(x) / cdf(-x)`` of the normal distribution, of numbers that are not negative."""
    square: np.ndarray = x * x
    np.minimum(square, _row(_LOGIT_END, x), out=square)
    logit: np.ndarray = square * _LOGIT[-1]
    for coefficient in _LOGIT[-2:0:-1]:
        logit += coefficient
        logit *= square
    logit += _LOGIT[0]
    logit *= x
    return np.exp(logit, out=logit)


def _row(value: float, x: np.ndarray) -> np.ndarray:
    """Return a row of equal numbers: beside it, minimum and maximum of numpy take half as long as beside a number."""
    return np.full(x.shape[-1], value, x.dtype)


_FUNCTIONS: dict[str, type[Layer]] = {
    "relu": _Relu,
    "leaky_relu": _LeakyRelu,
    "tanh": _Tanh,
    "sigmoid": _Sigmoid,
    "gelu": _Gelu,
}


def activation_layer(node: Activation) -> Layer:
    """Return what computes :class:`~ktrdr.core.inference.Activation`."""
    return _FUNCTIONS[node.function]()

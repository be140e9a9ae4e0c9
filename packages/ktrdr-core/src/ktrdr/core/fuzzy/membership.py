"""The five membership functions, vectorized.

Arithmetic is in float64 up to the point where the result no longer depends on the scale of the values (a price of
60000.12 keeps its cents), the rest and the result are float32. Work goes block by block, so that what is computed
stays in the processor's cache: that is worth a factor of two on a million values.

Formulas: Jang, Sun, Mizutani, *Neuro-Fuzzy and Soft Computing* (1997), section 2.4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from ktrdr.core.strategy.model import MembershipFunction

__all__ = ["MEMBERSHIP_TYPES", "membership", "write_membership"]

MEMBERSHIP_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "triangular": ("a", "b", "c"),
        "trapezoidal": ("a", "b", "c", "d"),
        "gaussian": ("mean", "sigma"),
        "sigmoid": ("center", "slope"),
        "bell": ("width", "slope", "center"),
    }
)
"""Names of the parameters of each type, in the order the grammar gives them."""

_BLOCK = 4096

_Kernel: TypeAlias = Callable[[np.ndarray, tuple[float, ...], np.ndarray], None]


def membership(function: MembershipFunction, values: np.ndarray) -> np.ndarray:
    """Return the degree of membership of each value.

    Args:
        function: type and parameters, as the strategy loader has checked them.
        values: float64 ``(n,)``; NaN gives NaN, infinities the function's limit.

    Returns:
        float32 ``(n,)`` in ``[0, 1]``.
    """
    degrees = np.empty(values.shape, dtype=np.float32)
    write_membership(function, values, degrees)
    return degrees


def write_membership(function: MembershipFunction, values: np.ndarray, out: np.ndarray) -> None:
    """As :func:`membership`, into ``out``: float32 ``(n,)``, which may be a column of a matrix."""
    kernel, parameters = _KERNELS[function.type], function.parameters
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        for start in range(0, len(values), _BLOCK):
            rows = slice(start, start + _BLOCK)
            kernel(values[rows], parameters, out[rows])


def _trapezoidal(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``min((x - a) / (b - a), 1, (d - x) / (d - c))``, not below 0.

    A side without width is a shoulder: it does not limit, so the membership stays 1 however far ``x`` goes.
    """
    a, b, c, d = parameters
    if a == b and c == d:
        out[...] = np.where(np.isnan(x), np.nan, 1.0)
        return
    if a == b:
        lowest = _ramp(x, d, c)
    elif c == d:
        lowest = _ramp(x, a, b)
    else:
        lowest = _ramp(x, a, b)
        np.minimum(lowest, _ramp(x, d, c), out=lowest)
    # maximum and minimum hand NaN on.
    np.maximum(lowest, 0.0, out=lowest)
    np.minimum(lowest, 1.0, out=out, casting="same_kind")


def _ramp(x: np.ndarray, foot: float, top: float) -> np.ndarray:
    """Return the line that is 0 at ``foot`` and exactly 1 at ``top``."""
    line = np.subtract(x, foot)
    np.divide(line, top - foot, out=line)
    return line


def _triangular(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    a, b, c = parameters
    _trapezoidal(x, (a, b, b, c), out)


def _gaussian(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``exp(-((x - mean) / sigma)^2 / 2)``."""
    mean, sigma = parameters
    z = np.subtract(x, mean)
    np.divide(z, sigma, out=z)
    np.multiply(z, z, out=z)
    np.multiply(z, -0.5, out=z)
    np.exp(z.astype(np.float32), out=out)


def _sigmoid(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``1 / (1 + exp(-slope (x - center)))``."""
    center, slope = parameters
    z = np.subtract(x, center)
    np.multiply(z, -slope, out=z)
    _write_logistic(z.astype(np.float32), out)


def _bell(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``1 / (1 + |(x - center) / width|^(2 slope))``."""
    width, slope, center = parameters
    z = np.subtract(x, center)
    np.divide(z, width, out=z)
    # |z|^p as exp(p log|z|): float32 has vectorized exp and log everywhere, power in few places. Where the error of
    # the exponent is large, 1 / (1 + ...) is next to 0, so the result is within a few float32 steps of 1.
    exponent = np.abs(z.astype(np.float32))
    np.log(exponent, out=exponent)
    np.multiply(exponent, np.float32(2.0 * slope), out=exponent)
    _write_logistic(exponent, out)


def _write_logistic(exponent: np.ndarray, out: np.ndarray) -> None:
    """Write ``1 / (1 + exp(exponent))``; ``exponent`` is overwritten."""
    np.exp(exponent, out=exponent)
    np.add(exponent, np.float32(1.0), out=exponent)
    np.divide(np.float32(1.0), exponent, out=out)


_KERNELS: Mapping[str, _Kernel] = {
    "triangular": _triangular,
    "trapezoidal": _trapezoidal,
    "gaussian": _gaussian,
    "sigmoid": _sigmoid,
    "bell": _bell,
}

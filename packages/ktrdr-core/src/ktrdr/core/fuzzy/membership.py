"""The five membership functions, vectorized.

The center or foot of the function is subtracted in float64, so that a price of 60000.12 keeps its cents; the rest is
computed in float32, which is twice as fast and accurate to a few units in the last place. Values are processed in
blocks that fit into the processor's cache.

Formulas: Jang, Sun, Mizutani, *Neuro-Fuzzy and Soft Computing* (1997), section 2.4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from ktrdr.core.fuzzy.definition import FuzzySet, MembershipFunction

__all__ = ["MEMBERSHIP_TYPES", "corners_of", "dead_zone_share", "membership", "write_membership"]

MEMBERSHIP_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "triangular": ("a", "b", "c"),
        "trapezoidal": ("a", "b", "c", "d"),
        "gaussian": ("mean", "sigma"),
        "sigmoid": ("center", "slope"),
        "bell": ("width", "slope", "center"),
    }
)
"""Names of the parameters of each type, in the order of a strategy file."""

_BLOCK = 32_768
_WHOLE_POWERS = frozenset(range(1, 17))
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

_Kernel: TypeAlias = Callable[[np.ndarray, tuple[float, ...], np.ndarray], None]


def membership(function: MembershipFunction, values: np.ndarray) -> np.ndarray:
    """Return the degree of membership of each value.

    Args:
        function: type and parameters, checked by the strategy loader.
        values: float64 ``(n,)``; NaN gives NaN, an infinity gives the limit of the function.

    Returns:
        float32 ``(n,)`` in ``[0, 1]``.
    """
    degrees = np.empty(values.shape, dtype=np.float32)
    write_membership(function, values, degrees)
    return degrees


def write_membership(function: MembershipFunction, values: np.ndarray, out: np.ndarray) -> None:
    """Write the result of :func:`membership` into ``out``: float32 ``(n,)``, which may be a column of a matrix."""
    kernel, parameters = _KERNELS[function.type], function.parameters
    # Not directly into a column: on non-contiguous arrays numpy's exp is twenty times slower and uses another
    # algorithm, and the degree of a value must not depend on the layout of the output.
    scratch = out if out.flags.c_contiguous else np.empty(min(len(values), _BLOCK), dtype=np.float32)
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        for start in range(0, len(values), _BLOCK):
            x = values[start : start + _BLOCK]
            if scratch is out:
                kernel(x, parameters, out[start : start + _BLOCK])
            else:
                kernel(x, parameters, scratch[: len(x)])
                out[start : start + _BLOCK] = scratch[: len(x)]


def dead_zone_share(fuzzy_set: FuzzySet, values: np.ndarray) -> float:
    """Return the share of values for which every membership is 0.

    Args:
        fuzzy_set: the set.
        values: float64 ``(n,)``; NaN are left out.

    Returns:
        From 0 to 1; 0 if there are no values.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0
    silent = np.ones(len(known), dtype=bool)
    for function in fuzzy_set.memberships.values():
        silent &= membership(function, known) == 0
    return float(silent.mean())


def corners_of(function: MembershipFunction) -> tuple[float, ...]:
    """Return the values between which the membership changes, to choose the range of a plot."""
    match function.type, function.parameters:
        case "gaussian", (mean, sigma):
            return mean - 3 * sigma, mean + 3 * sigma
        case "sigmoid", (center, slope):
            reach = 6 / abs(slope) if slope else 1.0
            return center - reach, center + reach
        case "bell", (width, _, center):
            return center - 2 * abs(width), center + 2 * abs(width)
        case _, corners:
            return corners


def _distance(x: np.ndarray, origin: float, out: np.ndarray) -> None:
    """Write ``x - origin``, subtracted in float64."""
    out[...] = np.subtract(x, origin)


def _single(number: float) -> np.float32:
    """Return ``number`` as float32, limited to magnitudes that float32 can multiply and divide by."""
    magnitude = min(max(abs(number), _SMALLEST), _LARGEST)
    return np.float32(-magnitude if number < 0 else magnitude)


def _trapezoidal(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``min((x - a) / (b - a), 1, (d - x) / (d - c))``, not below 0.

    A side without width is a shoulder: the membership stays 1 on that side for every ``x``.
    """
    a, b, c, d = parameters
    if a == b and c == d:
        out[...] = np.where(np.isnan(x), np.nan, 1.0)
        return
    if a == b:
        _ramp(x, d, c, out)
    elif c == d:
        _ramp(x, a, b, out)
    else:
        falling = np.empty_like(out)
        _ramp(x, a, b, out)
        _ramp(x, d, c, falling)
        np.minimum(out, falling, out=out)
    # clip and minimum propagate NaN.
    np.clip(out, np.float32(0.0), np.float32(1.0), out=out)


def _ramp(x: np.ndarray, foot: float, top: float, out: np.ndarray) -> None:
    """Write the line that is 0 at ``foot`` and exactly 1 at ``top``."""
    _distance(x, foot, out)
    # Division, not multiplication by the inverse, so that the value at the top is exactly 1.
    np.divide(out, _single(top - foot), out=out)


def _triangular(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    a, b, c = parameters
    _trapezoidal(x, (a, b, b, c), out)


def _gaussian(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``exp(-((x - mean) / sigma)^2 / 2)``."""
    mean, sigma = parameters
    _distance(x, mean, out)
    np.divide(out, _single(sigma), out=out)
    np.multiply(out, out, out=out)
    np.multiply(out, np.float32(-0.5), out=out)
    np.exp(out, out=out)


def _sigmoid(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``1 / (1 + exp(-slope (x - center)))``."""
    center, slope = parameters
    _distance(x, center, out)
    np.multiply(out, _single(-slope), out=out)
    _logistic(out)


def _bell(x: np.ndarray, parameters: tuple[float, ...], out: np.ndarray) -> None:
    """Write ``1 / (1 + |(x - center) / width|^(2 slope))``."""
    width, slope, center = parameters
    _distance(x, center, out)
    np.divide(out, _single(width), out=out)
    if 2.0 * slope in _WHOLE_POWERS:
        _raise(out, int(2.0 * slope))
        np.add(out, np.float32(1.0), out=out)
        np.divide(np.float32(1.0), out, out=out)
        return
    # |z|^p as exp(p log|z|): float32 has vectorized exp and log everywhere, power in few places. Where the error of
    # the exponent is large, 1 / (1 + ...) is next to 0, so the result is within a few float32 steps of 1.
    np.absolute(out, out=out)
    np.log(out, out=out)
    np.multiply(out, _single(2.0 * slope), out=out)
    _logistic(out)


def _raise(base: np.ndarray, power: int) -> None:
    """Replace ``base`` by ``|base|^power``, by squaring: a few products cost less than a logarithm."""
    np.absolute(base, out=base)
    square = base.copy()
    base[...] = 1.0
    while power:
        if power & 1:
            np.multiply(base, square, out=base)
        power >>= 1
        if power:
            np.multiply(square, square, out=square)


def _logistic(exponent: np.ndarray) -> None:
    """Replace ``exponent`` by ``1 / (1 + exp(exponent))``."""
    np.exp(exponent, out=exponent)
    np.add(exponent, np.float32(1.0), out=exponent)
    np.divide(np.float32(1.0), exponent, out=exponent)


_KERNELS: Mapping[str, _Kernel] = {
    "triangular": _triangular,
    "trapezoidal": _trapezoidal,
    "gaussian": _gaussian,
    "sigmoid": _sigmoid,
    "bell": _bell,
}

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ktrdr.core.fuzzy.definition import MembershipFunction


def _reference(function: MembershipFunction, x: float) -> float:
    """One value at a time, straight from the textbook and the grammar's table."""
    if math.isnan(x):
        return math.nan
    match function.type:
        case "triangular":
            a, b, c = function.parameters
            return _reference(MembershipFunction(type="trapezoidal", parameters=(a, b, b, c)), x)
        case "trapezoidal":
            a, b, c, d = function.parameters
            if x < b and a != b:
                return 0.0 if x <= a else (x - a) / (b - a)
            if x > c and c != d:
                return 0.0 if x >= d else (d - x) / (d - c)
            return 1.0
        case "gaussian":
            mean, sigma = function.parameters
            return math.exp(-(((x - mean) / sigma) ** 2) / 2)
        case "sigmoid":
            center, slope = function.parameters
            exponent = -slope * (x - center)
            return 0.0 if exponent > 700 else 1 / (1 + math.exp(exponent))
        case "bell":
            width, slope, center = function.parameters
            ratio = abs((x - center) / width)
            if ratio > 1 and 2 * slope * math.log(ratio) > 700:
                return 0.0
            return 1 / (1 + ratio ** (2 * slope))


@pytest.fixture(scope="session")
def reference() -> Callable[[MembershipFunction, float], float]:
    return _reference

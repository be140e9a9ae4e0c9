"""Figures that stand beside a limit: with as many digits as tell them from it."""

from __future__ import annotations

__all__ = ["beside", "probability_beside"]

_MOST_DIGITS = 12
_SMALLEST, _LARGEST = 0.001, 0.999


def beside(value: float, limit: float, form: str = "f", digits: int = 2) -> str:
    """Return a figure as text that does not look like a limit which it differs from, such as ``94.97%`` for 95 %.

    Args:
        value: the figure.
        limit: what it is compared with.
        form: ``f`` for a number, ``%`` for a share.
        digits: smallest number of digits after the point.

    Returns:
        The text, with as many more digits as tell the figure from the limit.
    """
    text = ""
    for places in range(digits, _MOST_DIGITS):
        text = format(value, f",.{places}{form}")
        # "-0.00" is no other figure than "0.00".
        if value == limit or text.lstrip("-") != format(limit, f",.{places}{form}").lstrip("-"):
            break
    return text


def probability_beside(value: float, limit: float) -> str:
    """Return a probability as :func:`beside` does; one that is nearly certain is not shown as certain.

    Args:
        value: the probability.
        limit: what it is compared with.

    Returns:
        The text, such as ``71.0%`` or ``over 99.9%``.
    """
    if value > _LARGEST:
        return f"over {_LARGEST:.1%}"
    return f"under {_SMALLEST:.1%}" if value < _SMALLEST else beside(value, limit, "%", 1)

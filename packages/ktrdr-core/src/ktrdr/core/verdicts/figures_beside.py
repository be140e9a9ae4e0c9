"""Figures that stand beside a limit: with as many digits as tell them from it."""

from __future__ import annotations

__all__ = ["beside"]

_MOST_DIGITS = 12


def beside(value: float, limit: float, form: str = "f", digits: int = 2) -> str:
    """Return a figure as text that does not look like a limit which it does not reach, such as ``94.97%`` for 95 %.

    Args:
        value: the figure.
        limit: what it is compared with.
        form: ``f`` for a number, ``%`` for a share.
        digits: smallest number of digits after the point.

    Returns:
        The text; with a digit for each further place that is needed to tell the figure from the limit.
    """
    for places in range(digits, _MOST_DIGITS):
        text = format(value, f",.{places}{form}")
        # A zero with a sign is not another figure than zero.
        if value == limit or text.lstrip("-") != format(limit, f",.{places}{form}").lstrip("-"):
            break
    return text

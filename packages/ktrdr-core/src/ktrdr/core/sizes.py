"""Sizes in bytes, as people write them in environment variables."""

from __future__ import annotations

import os
import re

from ktrdr.core.errors import BadInputError

__all__ = ["size_from_environment"]

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]*)", re.ASCII)


def size_from_environment(variable: str, default: str, zero: str = "") -> int:
    """Return the number of bytes that an environment variable gives. Read at every call.

    Args:
        variable: its name.
        default: size without the variable.
        zero: what a size of 0 means, for the message.

    Raises:
        BadInputError: the variable is not a size.
    """
    given = os.environ.get(variable) or default
    match = _SIZE.fullmatch(given.strip().lower())
    if match is None or match[2] not in _UNITS:
        also = f", or to 0 {zero}" if zero else ""
        raise BadInputError(
            f"{variable} is not a size: {given!r}; set it to a number of bytes such as 500MB or {default}{also}"
        )
    number, unit = match[1], _UNITS[match[2]]
    return int(number) * unit if number.isdigit() else int(float(number) * unit)

"""The cache below ``KTRDR_HOME``, and its limit from the environment."""

from __future__ import annotations

import os
import re

from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.errors import BadInputError
from ktrdr.core.home import home_directory

__all__ = ["DEFAULT_LIMIT", "LIMIT_VARIABLE", "cache_limit", "default_cache"]

LIMIT_VARIABLE = "KTRDR_CACHE_LIMIT"
"""Environment variable with the maximum size of the cache; 0 turns the cache off."""

DEFAULT_LIMIT = "2GiB"
"""Limit without the variable: the features of some ten trainings on a million bars."""

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]*)", re.ASCII)


def cache_limit() -> int:
    """Return the maximum number of bytes of the cache. Read at every call.

    Raises:
        BadInputError: the variable is not a size.
    """
    given = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT
    match = _SIZE.fullmatch(given.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise BadInputError(
            f"{LIMIT_VARIABLE} is not a size: {given!r}; set it to a number of bytes such as 500MB or {DEFAULT_LIMIT},"
            " or to 0 to turn the cache off"
        )
    number, unit = match[1], _UNITS[match[2]]
    return int(number) * unit if number.isdigit() else int(float(number) * unit)


def default_cache() -> ArrayCache:
    """Return the cache ``$KTRDR_HOME/cache``.

    Raises:
        BadInputError: the limit in the environment is not a size.
    """
    return ArrayCache(home_directory() / "cache", cache_limit())

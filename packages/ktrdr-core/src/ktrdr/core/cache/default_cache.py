"""The cache below ``KTRDR_HOME``, and its limit from the environment."""

from __future__ import annotations

from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.home import home_directory
from ktrdr.core.sizes import size_from_environment

__all__ = ["DEFAULT_LIMIT", "LIMIT_VARIABLE", "cache_limit", "default_cache"]

LIMIT_VARIABLE = "KTRDR_CACHE_LIMIT"
"""Environment variable with the maximum size of the cache; 0 turns the cache off."""

DEFAULT_LIMIT = "2GiB"
"""Limit without the variable: the features of some ten trainings on a million bars."""


def cache_limit() -> int:
    """Return the maximum number of bytes of the cache. Read at every call.

    Raises:
        BadInputError: the variable is not a size.
    """
    return size_from_environment(LIMIT_VARIABLE, DEFAULT_LIMIT, zero="to turn the cache off")


def default_cache() -> ArrayCache:
    """Return the cache ``$KTRDR_HOME/cache``.

    Raises:
        BadInputError: the limit in the environment is not a size.
    """
    return ArrayCache(home_directory() / "cache", cache_limit())

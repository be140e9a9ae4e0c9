"""Limits of the threads that numerical libraries start on their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["one_blas_thread", "openmp_threads"]

_LOCK = threading.Lock()
_LIMITS: list[Any] = []
"""The limit of BLAS, once for each training that needs it now."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread: with more, the order of its sums, and so the last bits, depend on their number.

    The threads of BLAS are those of the whole process: the limit holds until the last training that needs it has ended.
    """
    from threadpoolctl import threadpool_limits

    with _LOCK:
        _LIMITS.append(_LIMITS[0] if _LIMITS else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limit = _LIMITS.pop()
            if not _LIMITS:
                limit.restore_original_limits()


@contextmanager
def openmp_threads(threads: int | None) -> Iterator[None]:
    """Let OpenMP use a number of threads in what this thread calls; as many as it likes for ``None``."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads, user_api="openmp"):
        yield

"""Process-wide settings of torch that training needs, put back when it is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["repeatable", "threads_for"]

# Multiply-adds of a batch from which several threads are worth their cost.
_LARGE_BATCH = 1 << 27
_THREADS = 4

# torch makes its attributes up at run time, out of sight of type checkers.
_MEMORY: Any = torch.utils.deterministic

_lock = threading.Lock()
_users = 0
_before: dict[str, Any] = {}


def threads_for(batch_size: int, window: int, parameters: int) -> int:
    """Return how many threads to train with on the CPU.

    The number decides the order of sums, and so the last bits of the weights: it follows from the task alone, never
    from the machine or from what else runs there. Small networks are fastest with one.
    """
    return _THREADS if batch_size * window * parameters >= _LARGE_BATCH else 1


@contextmanager
def repeatable(device: Any, threads: int) -> Iterator[None]:
    """Make torch's arithmetic repeatable on ``device`` for a while.

    Trainings in several threads of one process may overlap: the last one out puts everything back.
    """
    global _users
    with _lock:
        if _users == 0:
            _before.update(threads=torch.get_num_threads(), deterministic=_deterministic())
        _users += 1
        if device.type == "cuda":
            # cuBLAS reads it when it starts; without it matrix products differ from run to run.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Filling memory that is written anyway only costs time.
            _MEMORY.fill_uninitialized_memory = False
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            torch.set_num_threads(_before["threads"])
            if _users == 0:
                enabled, warn_only, fill = _before["deterministic"]
                torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
                _MEMORY.fill_uninitialized_memory = fill


def _deterministic() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _MEMORY.fill_uninitialized_memory,
    )

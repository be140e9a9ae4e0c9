"""Process-wide settings of torch for repeatable training, restored afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["repeatable", "threads_for"]

# Several threads are faster for batches of at least this many multiply-adds.
_LARGE_BATCH = 1 << 27
_THREADS = 4

# torch defines these attributes at run time, so that type checkers do not know them.
_MEMORY: Any = torch.utils.deterministic

_lock = threading.Lock()
_users = 0
_before: dict[str, Any] = {}


def threads_for(batch_size: int, window: int, parameters: int) -> int:
    """Return the number of threads for training on the CPU.

    The number determines the order of sums, and so the last bits of the weights. It depends only on the task, not on
    the machine or its load. Small networks are fastest with one thread.
    """
    return _THREADS if batch_size * window * parameters >= _LARGE_BATCH else 1


@contextmanager
def repeatable(device: Any, threads: int) -> Iterator[None]:
    """Make torch's arithmetic on ``device`` repeatable inside the context.

    Trainings in several threads of one process may overlap; the last one restores the settings.
    """
    global _users
    with _lock:
        if _users == 0:
            _before.update(threads=torch.get_num_threads(), deterministic=_deterministic())
        _users += 1
        if device.type == "cuda":
            # cuBLAS reads this variable when it starts; without it matrix products differ from run to run.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Unnecessary: all memory is written before it is read.
            _MEMORY.fill_uninitialized_memory = False
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            torch.set_num_threads(_before["threads"])
            # Only what was changed, because torch imports its compiler to set it, which takes seconds.
            if _users == 0 and _deterministic() != _before["deterministic"]:
                enabled, warn_only, fill = _before["deterministic"]
                torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
                _MEMORY.fill_uninitialized_memory = fill


def _deterministic() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _MEMORY.fill_uninitialized_memory,
    )

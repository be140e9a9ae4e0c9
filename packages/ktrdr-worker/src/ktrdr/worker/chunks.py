"""A chunk of a sweep, run in the worker's own process: its backtests are too short for a process each."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.cluster.remote_calls import OPERATIONS_TOPIC

__all__ = ["run_chunk"]

_announced: set[str] = set()
_announcing = threading.Lock()


def run_chunk(operation_id: str, attempt: int, job: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """Run some trials of a sweep; see :func:`ktrdr.core.workflows.run_chunk.run_chunk`.

    Before its first chunk of an attempt the worker says that it has begun.
    """
    from distributed import get_worker

    from ktrdr.core.workflows import run_chunk as workflow

    worker = get_worker()
    key = f"{operation_id}:{attempt}"
    with _announcing:
        new = key not in _announced
        _announced.add(key)
    if new:
        message = {"operation_id": operation_id, "attempt": attempt, "event": "started", "worker": worker.address}
        worker.log_event(OPERATIONS_TOPIC, message)
    return workflow.run_chunk(key, job, numbers)

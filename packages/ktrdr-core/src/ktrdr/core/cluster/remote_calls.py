"""Remote calls between API and workers by name, so that neither needs the other installed."""

from __future__ import annotations

import importlib
from typing import Any

from ktrdr.core.errors import record_of

__all__ = [
    "DRAIN",
    "OPERATIONS_TOPIC",
    "RUN_CHUNK",
    "RUN_OPERATION",
    "STOP_OPERATION",
    "await_by_name",
    "call_by_name",
    "failed",
]

OPERATIONS_TOPIC = "ktrdr-operations"
"""Topic of the messages that a worker sends about its operations."""

RUN_OPERATION = "ktrdr.worker.children:run_operation"
RUN_CHUNK = "ktrdr.worker.chunks:run_chunk"
STOP_OPERATION = "ktrdr.worker.children:stop_operation"
DRAIN = "ktrdr.worker.drain:drain"

_TARGETS = frozenset({RUN_OPERATION, RUN_CHUNK, STOP_OPERATION, DRAIN})


def failed(error: BaseException) -> dict[str, Any]:
    """Return the event for work that failed with ``error``."""
    return {"event": "failed", "error": record_of(error).to_json()}


def call_by_name(target: str, *args: Any) -> Any:
    """Call one of the functions named above in this process; refuse any other name.

    Only this function and :func:`await_by_name` are sent to a worker, so a worker runs nothing but its own code.
    """
    return _resolve(target)(*args)


async def await_by_name(target: str, *args: Any, dask_worker: Any = None) -> Any:
    """Await a coroutine function by name, as :func:`call_by_name`; Dask passes ``dask_worker`` on to it."""
    return await _resolve(target)(*args, dask_worker=dask_worker)


def _resolve(target: str) -> Any:
    if target not in _TARGETS:
        raise ValueError(f"{target} is not a function of a worker")
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)

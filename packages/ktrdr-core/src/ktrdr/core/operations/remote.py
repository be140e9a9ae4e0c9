"""What API and workers say to each other, in names: neither needs the other installed."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["DRAIN", "OPERATIONS_TOPIC", "RUN_OPERATION", "STOP_OPERATION", "call_by_name"]

OPERATIONS_TOPIC = "ktrdr-operations"
"""Topic of the messages a worker sends about its operations."""

RUN_OPERATION = "ktrdr.worker.operations:run_operation"
STOP_OPERATION = "ktrdr.worker.operations:stop_operation"
DRAIN = "ktrdr.worker.drain:drain"

_TARGETS = frozenset({RUN_OPERATION, STOP_OPERATION, DRAIN})


def call_by_name(target: str, *args: Any, **kwargs: Any) -> Any:
    """Call one of the functions above where this runs; anything else is refused.

    This is the only function that is sent to a worker, so what runs there is the worker's own code.
    """
    if target not in _TARGETS:
        raise ValueError(f"{target} is not a function of a worker")
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)(*args, **kwargs)

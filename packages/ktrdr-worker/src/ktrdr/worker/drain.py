"""Draining of a worker: running operations write a checkpoint and return to the queue."""

from __future__ import annotations

import asyncio
from typing import Any

from ktrdr.worker.children import RUNNING, stop_all

__all__ = ["drain"]


async def drain(grace: float, dask_worker: Any) -> int:
    """Accept no more work, stop every operation with a checkpoint, and return their number once all have stopped.

    Dask passes ``dask_worker``.
    """
    from distributed import Status

    dask_worker.status = Status.paused
    count = stop_all(grace)
    while RUNNING:
        await asyncio.sleep(0.05)
    # The endings are still being sent to the scheduler: wait a moment before the connection closes.
    await asyncio.sleep(0.3)
    return count

"""Hand back what runs, so that the worker can leave without losing work."""

from __future__ import annotations

import asyncio
from typing import Any

from ktrdr.worker.children import RUNNING, stop_all

__all__ = ["drain"]


async def drain(grace: float, dask_worker: Any) -> int:
    """Take no more work, have every operation leave a checkpoint, and return how many there were once all have stopped.

    ``dask_worker`` is filled in by Dask.
    """
    from distributed import Status

    dask_worker.status = Status.paused
    count = stop_all(grace)
    while RUNNING:
        await asyncio.sleep(0.05)
    # The endings are on their way to the scheduler: give them a moment before the connection goes.
    await asyncio.sleep(0.3)
    return count

"""Run a worker: join, come back when the scheduler does, drain when asked to leave."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ktrdr.core.operations.remote import DRAIN, await_by_name

__all__ = ["WorkerOptions", "run_worker"]

_SECONDS_BETWEEN_TRIES = 2.0


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """``slots`` is how many operations run at once; ``grace`` seconds are given to running ones when leaving."""

    address: str
    name: str | None = None
    slots: int = 1
    require: Sequence[str] = ()
    grace: float = 30.0
    host: str | None = None
    security: Any = None


async def run_worker(options: WorkerOptions) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    A Dask nanny leaves for good when its scheduler goes (dask/distributed#6387, #6391), so this is a loop around one.
    """
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    while not leaving.is_set():
        await _serve_once(options, leaving)
        if not leaving.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leaving.wait(), _SECONDS_BETWEEN_TRIES)


async def _serve_once(options: WorkerOptions, leaving: asyncio.Event) -> None:
    from distributed import Nanny

    argv = [part for item in options.require for part in ("--require", item)]
    nanny = Nanny(
        options.address,
        nthreads=options.slots,
        name=options.name,
        preload=["ktrdr.worker.preload"],
        preload_argv=[argv],
        memory_limit=0,
        host=options.host,
        security=options.security,
        dashboard_address=":0",
        dashboard=True,
    )
    try:
        await _until(nanny, leaving)
        gone = asyncio.create_task(nanny.finished())
        left = asyncio.create_task(leaving.wait())
        await asyncio.wait({gone, left}, return_when=asyncio.FIRST_COMPLETED)
        if left.done() and not gone.done():
            await _drain(nanny, options)
        for task in (gone, left):
            task.cancel()
        await asyncio.gather(gone, left, return_exceptions=True)
    except (OSError, TimeoutError):
        return  # the scheduler is not there, or not yet
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            await nanny.close(timeout=5)


async def _until(nanny: Any, leaving: asyncio.Event) -> None:
    """Start the nanny, unless told to leave before the scheduler answers."""
    starting = asyncio.ensure_future(nanny)
    left = asyncio.create_task(leaving.wait())
    await asyncio.wait({starting, left}, return_when=asyncio.FIRST_COMPLETED)
    left.cancel()
    if not starting.done():
        starting.cancel()
        raise TimeoutError
    await starting


async def _drain(nanny: Any, options: WorkerOptions) -> None:
    from distributed import Client

    try:
        async with Client(options.address, asynchronous=True, security=options.security, timeout=5) as client:
            await asyncio.wait_for(
                client.run(await_by_name, DRAIN, options.grace, workers=[nanny.worker_address]), options.grace + 10
            )
    except (OSError, TimeoutError):
        return  # the scheduler has gone: the operations end with the worker, and the ledger runs them again

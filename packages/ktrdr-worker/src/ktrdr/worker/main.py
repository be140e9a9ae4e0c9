"""The worker process: joins a scheduler, joins again after its restart, and drains before it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrdr.core.cluster.dask_settings import configure, tls_security
from ktrdr.core.cluster.remote_calls import DRAIN, await_by_name
from ktrdr.core.errors import one_line
from ktrdr.worker.self_check import check_versions

__all__ = ["WorkerOptions", "run_worker"]

_SECONDS_BETWEEN_TRIES = 2.0
_LONGEST_START = 15.0


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of a worker.

    Attributes:
        address: of the scheduler.
        name: shown in lists.
        slots: number of operations that run at once.
        require: see :func:`ktrdr.worker.self_check.validate`.
        grace: seconds that running operations have to stop when the worker stops.
        host: address at which other machines reach this worker.
        http: ``host:port`` of ``/health`` and ``/metrics``, which have no authentication.
        certificates: directory of mutual certificates.
        with_parent: stop at end of file on standard input, so that the worker does not outlive its parent process.
    """

    address: str
    name: str | None = None
    slots: int = 1
    require: Sequence[str] = ()
    grace: float = 30.0
    host: str | None = None
    http: str = "127.0.0.1:0"
    certificates: Path | None = None
    with_parent: bool = False


async def run_worker(options: WorkerOptions) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    A Dask nanny ends when its scheduler does (dask/distributed#6387, #6391), so a loop starts another one.

    Raises:
        UnfitError: the API at the scheduler uses another protocol.
        BadInputError: a certificate is missing.
    """
    configure()
    # The child process of the nanny reads its logging settings from the environment, before any other settings.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    tls_security(options.certificates)
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    if options.with_parent:
        loop.add_reader(0, _leave_at_end_of_file, leaving)
    while not leaving.is_set():
        await _serve_once(options, leaving)
        if not leaving.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leaving.wait(), _SECONDS_BETWEEN_TRIES)


def _leave_at_end_of_file(leaving: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asyncio.get_running_loop().remove_reader(0)
        leaving.set()


async def _serve_once(options: WorkerOptions, leaving: asyncio.Event) -> None:
    from distributed import Nanny
    from distributed.comm.core import FatalCommClosedError
    from distributed.core import rpc

    security = tls_security(options.certificates)
    try:
        connection = None if security is None else security.get_connection_args("worker")
        async with rpc(options.address, connection_args=connection, timeout=5) as scheduler:
            await check_versions(scheduler)
    except FatalCommClosedError as error:
        reason = one_line(error.__cause__ or error)
        _say(f"{options.address} and this worker do not accept each other's certificates ({reason}); trying again")
        return
    except (OSError, TimeoutError):
        _say(f"waiting for a scheduler at {options.address}")
        return
    argv = [part for item in options.require for part in ("--require", item)]
    nanny = Nanny(
        options.address,
        nthreads=options.slots,
        name=options.name,
        preload=["ktrdr.worker.preload"],
        preload_argv=[argv],
        memory_limit=0,
        host=options.host,
        security=security,
        dashboard_address=options.http,
        dashboard=False,
    )
    try:
        await _until(nanny, leaving)
        _say(f"joined {options.address} as {nanny.worker_address}")
        gone = asyncio.create_task(nanny.finished())
        left = asyncio.create_task(leaving.wait())
        await asyncio.wait({gone, left}, return_when=asyncio.FIRST_COMPLETED)
        if left.done() and not gone.done():
            await _drain(nanny, options)
        for task in (gone, left):
            task.cancel()
        await asyncio.gather(gone, left, return_exceptions=True)
    except (OSError, TimeoutError):
        return  # the scheduler cannot be reached now
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            await nanny.close(timeout=5)


def _say(message: str) -> None:
    print(f"ktrdr worker: {message}", file=sys.stderr, flush=True)


async def _until(nanny: Any, leaving: asyncio.Event) -> None:
    """Start the nanny. If the worker is to stop meanwhile, wait for the start: a half-started nanny cannot be closed.

    Raises:
        TimeoutError: the nanny did not start within the time limit.
    """
    starting = asyncio.ensure_future(nanny)
    left = asyncio.create_task(leaving.wait())
    await asyncio.wait({starting, left}, return_when=asyncio.FIRST_COMPLETED)
    left.cancel()
    if not starting.done():
        await asyncio.wait({starting}, timeout=_LONGEST_START)
    if not starting.done():
        await _give_up(nanny, starting)
        raise TimeoutError
    await starting


async def _give_up(nanny: Any, starting: asyncio.Future[Any]) -> None:
    """End the start of a nanny that lost its scheduler: the start would wait forever, and closing the nanny too.

    ``distributed.nanny.WorkerProcess.kill`` waits until the process has joined. Once the process is killed, the start
    fails.
    """
    process = nanny.process and nanny.process.process
    if process is None:
        starting.cancel()
    else:
        await process.kill()
    await asyncio.wait({starting}, timeout=_LONGEST_START)
    if starting.done() and not starting.cancelled():
        starting.exception()  # marks the expected error as retrieved


async def _drain(nanny: Any, options: WorkerOptions) -> None:
    from distributed import Client

    try:
        security = tls_security(options.certificates)
        async with Client(options.address, asynchronous=True, security=security, timeout=5) as client:
            await asyncio.wait_for(
                client.run(await_by_name, DRAIN, options.grace, workers=[nanny.worker_address]), options.grace + 10
            )
    except (OSError, TimeoutError):
        return  # the scheduler is lost: the operations end with the worker and are queued again

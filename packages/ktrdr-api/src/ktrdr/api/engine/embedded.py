"""A whole cluster on this machine: the scheduler in this process, the workers as child processes."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.api.engine.dask import DaskEngine
from ktrdr.api.engine.port import EngineListener, Joining, log_failure, worker_command
from ktrdr.core.cluster.dask_settings import configure, tls_security

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from distributed import Scheduler

    from ktrdr.core.cluster.exchange import Exchange

__all__ = ["UNFIT", "EmbeddedEngine"]

_log = logging.getLogger(__name__)

UNFIT = 78
"""Exit status of a worker that lacks a required capability; starting it again does not help."""

_LONGEST_PAUSE = 30.0
_SECONDS_BETWEEN_COUNTS = 0.2


class EmbeddedEngine(DaskEngine):
    """Runs a scheduler at ``listen``, and ``workers`` worker processes that end with this process.

    The workers are those of the command ``ktrdr worker``; workers on other machines may join too.

    Args:
        listen: address of the scheduler; port 0 takes a free one.
        workers: number of local worker processes to keep running.
        require: capabilities that each of them must have, see ``ktrdr worker --require``.
        grace: seconds that a running operation has to stop by itself.
        certificates: directory of mutual certificates, for an address that begins with ``tls://``.
        exchange: see :class:`~ktrdr.api.engine.dask.DaskEngine`.
        http: ``host:port`` of the scheduler's ``/health`` and ``/metrics``.

    Attributes:
        on_unfit: called for each local worker that lacks a required capability, and is therefore not started again.
    """

    def __init__(
        self,
        *,
        listen: str = "tcp://127.0.0.1:0",
        workers: int = 1,
        require: Sequence[str] = (),
        grace: float = 30.0,
        certificates: Path | None = None,
        exchange: Exchange | None = None,
        http: str = "127.0.0.1:0",
    ) -> None:
        super().__init__(listen, grace=grace, certificates=certificates, exchange=exchange)
        self._listen = listen
        self._count = workers
        self._require = tuple(require)
        self._http = http
        self._scheduler: Scheduler | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._processes: set[Process] = set()
        self._announcing: asyncio.Task[None] | None = None
        self._closing = False
        self.on_unfit: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        """Address that workers join; known after :meth:`start`."""
        return self._address

    async def start(self, listener: EngineListener) -> None:
        """Start the scheduler, connect, and start the workers.

        Raises:
            OSError: the scheduler cannot listen on the address.
        """
        configure()
        from distributed import Scheduler

        protocol, _, place = self._listen.partition("://")
        host, _, port = place.rpartition(":")
        self._scheduler = await Scheduler(
            host=host,
            port=int(port),
            protocol=protocol,
            security=tls_security(self._certificates),
            dashboard=False,
            dashboard_address=self._http,
        )
        self._address = self._scheduler.address
        await super().start(listener)
        self._keepers = [
            asyncio.create_task(self._keep_worker(f"local-{number}"), name=f"local worker {number}")
            for number in range(1, self._count + 1)
        ]

    async def joining(self) -> Joining:
        """Return the address that workers join, and the number of local workers that have not joined yet."""
        there = {worker.name for worker in self._workers}
        own = {f"local-{number}" for number in range(1, self._count + 1)}
        return Joining(self._address, await self.healthy(), len(own - there))

    def announce(self, say: Callable[[str], object]) -> None:
        """Call ``say`` with a message now, and with another once all local workers have joined."""
        self._announcing = asyncio.create_task(self._announce(say), name="announcement of workers")
        self._announcing.add_done_callback(log_failure)

    async def _announce(self, say: Callable[[str], object]) -> None:
        workers = "1 worker" if self._count == 1 else f"{self._count} workers"
        say(f"Waiting for {workers} to join {self._address} ...")
        while (await self.joining()).expected:
            await asyncio.sleep(_SECONDS_BETWEEN_COUNTS)
        say(f"{workers} joined; start another one with `{worker_command(self._address)}`.")

    async def close(self) -> None:
        """Drain and stop the workers, then stop the client and the scheduler."""
        self._closing = True
        if self._announcing is not None:
            self._announcing.cancel()
        for process in self._processes:
            process.terminate()
        _, late = await asyncio.wait(self._keepers, timeout=self._grace + 15) if self._keepers else ((), ())
        for process in set(self._processes) if late else ():
            process.kill()
        await asyncio.gather(*self._keepers)
        await super().close()
        if self._scheduler is not None:
            await self._scheduler.close()

    async def _keep_worker(self, name: str) -> None:
        """Run one worker process; start another when it dies, unless its exit status is :data:`UNFIT`."""
        pause = 1.0
        while not self._closing:
            began = asyncio.get_running_loop().time()
            status = await self._run_worker(name)
            if self._closing:
                return
            if status == UNFIT:
                _log.error("local worker %s is not started again; see its message above", name)
                self.on_unfit()
                return
            _log.warning("local worker %s ended with status %d; starting another", name, status)
            lived = asyncio.get_running_loop().time() - began
            pause = 1.0 if lived > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _run_worker(self, name: str) -> int:
        options: list[Any] = ["--name", name, "--grace", self._grace, "--with-parent"]
        for item in self._require:
            options += ["--require", item]
        if self._certificates is not None:
            options += ["--certificates", self._certificates]
        # Its standard input is a pipe from this process: the worker ends when this process ends, even if it is killed.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ktrdr.core.cli.main",
            "worker",
            self._address,
            *map(str, options),
            stdin=asyncio.subprocess.PIPE,
            # Ctrl+C on the terminal must reach only this process, which then drains the workers.
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            return await process.wait()
        finally:
            self._processes.discard(process)

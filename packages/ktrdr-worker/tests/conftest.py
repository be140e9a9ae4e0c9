"""Fixtures: a real scheduler on loopback, and `ktrdr worker` as a user starts it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

# As where no backend is installed, whatever is installed beside these tests.
NO_PLUGINS = {"KTRDR_BLOCK_PLUGINS": "torch,sklearn"}


@pytest.fixture
def ktrdr(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``ktrdr(*arguments, **environ)``: the command line in a process of its own."""

    def run(*arguments: str, timeout: float = 60, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ktrdr.core.cli.main", *arguments],
            env={**os.environ, **NO_PLUGINS, "KTRDR_HOME": str(tmp_path), **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


class SchedulerThread:
    """A Dask scheduler on loopback, on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.scheduler = self.call(self._start())

    @property
    def address(self) -> str:
        return self.scheduler.address

    def call(self, work, timeout: float = 30):
        """Run a coroutine on the scheduler's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    async def _start(self):
        from ktrdr.core.cluster.dask_settings import configure

        configure()
        from distributed import Scheduler

        return await Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0")

    def close(self) -> None:
        """Stop it; nothing if that was done."""
        if self.loop.is_closed() or not self.loop.is_running():
            return
        self.call(self.scheduler.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


@pytest.fixture
def scheduler() -> Iterator[SchedulerThread]:
    """A running scheduler."""
    running = SchedulerThread()
    yield running
    running.close()


@pytest.fixture
def start_worker(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return ``start(address, *options)``: `ktrdr worker` in the background, ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(address: str, *options: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "ktrdr.core.cli.main", "worker", address, *options],
            env={**os.environ, **NO_PLUGINS, "KTRDR_HOME": str(tmp_path), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

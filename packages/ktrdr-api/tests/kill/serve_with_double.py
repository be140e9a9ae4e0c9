"""A server for the test that kills it: the real application, with a double of the engine that plays a few workers.

The double runs what it is given for a moment, then completes, fails or loses it, and forgets everything when it dies:
as an embedded cluster does.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.api.app import create_app
from ktrdr.api.engine.port import Attempt, EngineListener, Joining, WorkerInfo
from ktrdr.api.server import make_server
from ktrdr.api.settings import load_settings
from ktrdr.core.errors import BadInputError, record_of


class PlayingEngine:
    """Runs at most four attempts at once."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(4)
        self._listener: EngineListener | None = None

    async def start(self, listener: EngineListener) -> None:
        self._listener = listener

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def healthy(self) -> bool:
        return True

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        if attempt not in self._tasks:
            self._tasks[attempt] = asyncio.create_task(self._play(attempt))

    async def stop(self, attempt: Attempt) -> None:
        task = self._tasks.get(attempt)
        if task is not None:
            task.cancel()

    async def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo("tcp://double", "double", ("ml-torch", "ml-sklearn", "backtest"))]

    async def joining(self) -> Joining:
        return Joining("tcp://double")

    async def reattach(self) -> set[Attempt]:
        return set()

    async def _play(self, attempt: Attempt) -> None:
        assert self._listener is not None
        try:
            async with self._slots:
                await self._listener.on_started(attempt, "tcp://double")
                for step in range(3):
                    await asyncio.sleep(self._dice.random() * 0.05)
                    await self._listener.on_progress(attempt, {"step": "training", "done": step})
        except asyncio.CancelledError:
            asyncio.get_running_loop().create_task(self._listener.on_cancelled(attempt))
            return
        chance = self._dice.random()
        if chance < 0.7:
            await self._listener.on_completed(attempt, {"model": "x/1", "operation": attempt.operation_id})
        elif chance < 0.85:
            await self._listener.on_failed(attempt, record_of(BadInputError("no bars")))
        else:
            await self._listener.on_lost(attempt, "its process was killed by SIGKILL", counts=True)


if __name__ == "__main__":
    settings = load_settings({"port": int(sys.argv[1]), "rate_limit": 0})
    app = create_app(settings, PlayingEngine(int(os.environ["SEED"])))  # type: ignore[arg-type]
    with socket.socket() as listening:
        # The test keeps the port for us.
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listening.setsockopt(socket.SOL_SOCKET, option, 1)
        listening.bind(("127.0.0.1", settings.port))
        make_server(app, settings, log_level="error").run(sockets=[listening])

"""Execution of a sweep as many small tasks: chunks of backtests for all workers that meet its requirements."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ktrdr.api.engine.port import Attempt, WorkerLostError
from ktrdr.core.cluster.dask_settings import PROTOCOL_RESOURCE
from ktrdr.core.cluster.remote_calls import RUN_CHUNK, call_by_name, failed
from ktrdr.core.errors import BadInputError
from ktrdr.core.work.progress import ProgressEvent

if TYPE_CHECKING:
    from distributed import Client, Future

    from ktrdr.core.sweeps.grid import Cell
    from ktrdr.core.trials.look import Look
    from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["FanOut"]

_SECONDS_PER_CHUNK = 0.25
_FIRST_CHUNK = 4
_MOST_LOSSES = 3
# One running and one waiting, so that a worker is not idle while its result is sent.
_CHUNKS_PER_SLOT = 2


@dataclass(frozen=True, slots=True)
class _Chunk:
    future: Future
    numbers: list[int]


@dataclass(slots=True)
class FanOut:
    """Executes one attempt of a sweep.

    A few chunks are submitted at a time. Their size grows to a quarter of a second of work, by the measured time of a
    backtest. A chunk that is lost with its worker is run again; the sweep fails when the same backtests are lost three
    times.

    Args:
        client: of the scheduler.
        attempt: to execute.
        job: of the sweep, checked.
        requires: capabilities that a worker must have.
        slots: returns how many operations the workers with these capabilities can run at once.
        report: receives progress.
        judge: records looks at the results of a model as trials, and returns their count.

    Attributes:
        stopping: set it to end the sweep as cancelled.
        seconds: time of all workers together in the backtests.
        preparing: time of all workers together before the backtests.
    """

    client: Client
    attempt: Attempt
    job: Mapping[str, Any]
    requires: Sequence[str]
    slots: Callable[[], int]
    report: Callable[[Mapping[str, Any]], Awaitable[None]]
    judge: Callable[[Sequence[Look], str], Awaitable[TrialCount]]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _cells: dict[int, Cell] = field(default_factory=dict)
    _intervals: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _facts: Mapping[str, Any] | None = None
    _running: dict[asyncio.Task[Mapping[str, Any]], _Chunk] = field(default_factory=dict)
    _losses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    preparing: float = 0.0
    _submitted: int = 0

    async def run(self) -> dict[str, Any]:
        """Return the ending of the attempt, in the form of :func:`ktrdr.worker.children.run_operation`.

        Raises the error of a Dask future whose scheduler is lost.
        """
        from ktrdr.core.jobs.kinds import SweepJob
        from ktrdr.core.sweeps.grid import rank, sweep_result, trials_of

        job = SweepJob.model_validate(dict(self.job))
        total = len(trials_of(job))
        stopped = asyncio.ensure_future(self.stopping.wait())
        try:
            ending = await self._carry_out(list(range(total)), stopped, resample=False)
            if ending is not None:
                return ending
            assert self._facts is not None
            cells = [self._cells[number] for number in range(total)]
            # The trials are recorded before any result of the sweep is shown.
            count = await self.judge([cell.look for cell in cells], self._facts["model"])
            count = count.with_elsewhere(job.trials)
            rows = rank(job, [cell.metrics for cell in cells], count)
            shown = [row["trial"] - 1 for row in rows[: job.top]]
            ending = await self._carry_out(list(shown), stopped, resample=True)
            if ending is not None:
                return ending
        finally:
            stopped.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            with contextlib.suppress(OSError, TimeoutError):
                await self.client.cancel([chunk.future for chunk in self._running.values()], force=True)
        result = sweep_result(job, self._facts, rows, [self._intervals[number] for number in shown], count)
        return {"event": "completed", "result": result.to_json()}

    async def _carry_out(
        self, waiting: list[int], stopped: asyncio.Future[Any], *, resample: bool
    ) -> dict[str, Any] | None:
        """Run the cells ``waiting``; return the ending of the sweep if it ends early, else ``None``."""
        total = len(waiting)
        while waiting or self._running:
            self._hand_out(waiting, resample=resample)
            await asyncio.wait({stopped, *self._running}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return {"event": "cancelled", "message": "stopped on request"}
            for task in [task for task in self._running if task.done()]:
                ending = self._take_in(task, waiting)
                if ending is not None:
                    return ending
            if not resample:
                await self._say(len(self._cells), total)
        return None

    def _hand_out(self, waiting: list[int], *, resample: bool) -> None:
        slots = max(self.slots(), 1)
        most = _CHUNKS_PER_SLOT * slots
        while waiting and len(self._running) < most:
            # Towards the end chunks shrink, to a quarter at least, so that all workers finish at about the same time.
            size, share = self._size(), math.ceil(len(waiting) / most)
            numbers = waiting[: min(size, max(share, math.ceil(size / 4)))]
            del waiting[: len(numbers)]
            self._submitted += 1
            operation, number = self.attempt.operation_id, self.attempt.number
            future = self.client.submit(
                call_by_name,
                RUN_CHUNK,
                operation,
                number,
                dict(self.job),
                numbers,
                resample,
                key=f"{operation}:{number}:{self._submitted}",
                resources=dict.fromkeys([PROTOCOL_RESOURCE, *self.requires], 1),
                retries=0,
                pure=False,
            )
            self._running[asyncio.create_task(_result(future), name=f"chunk {future.key}")] = _Chunk(future, numbers)

    def _size(self) -> int:
        """Return the number of trials per chunk."""
        done = len(self._cells) + len(self._intervals)
        return max(1, round(_SECONDS_PER_CHUNK * done / max(self.seconds, 1e-6))) if done else _FIRST_CHUNK

    def _take_in(self, task: asyncio.Task[Mapping[str, Any]], waiting: list[int]) -> dict[str, Any] | None:
        """Record a finished chunk; return the ending of the sweep if the chunk ends it, else ``None``."""
        from distributed import KilledWorker

        from ktrdr.core.sweeps.grid import unpack_cells

        numbers = self._running.pop(task).numbers
        if isinstance(task.exception(), KilledWorker):
            for number in numbers:
                self._losses[number] = self._losses.get(number, 0) + 1
            if max(self._losses[number] for number in numbers) >= _MOST_LOSSES:
                message = f"{_MOST_LOSSES} workers were lost while they ran the same backtests"
                return failed(WorkerLostError(message))
            waiting[:0] = numbers
            return None
        chunk = task.result()
        if "error" in chunk:
            return {"event": "failed", "error": chunk["error"]}
        if self._facts is not None and self._facts != chunk["facts"]:
            message = "the workers do not have the same model and bars, or these changed during the sweep; run it again"
            return failed(BadInputError(message))
        self._facts = chunk["facts"]
        self.seconds += chunk["seconds"]
        self.preparing += chunk["preparing"]
        if "intervals" in chunk:
            self._intervals |= zip(numbers, chunk["intervals"], strict=True)
        else:
            self._cells |= zip(numbers, unpack_cells(chunk), strict=True)
        return None

    async def _say(self, done: int, total: int) -> None:
        await self.report(ProgressEvent("backtests", done, total, "backtests", done / total).to_json())


async def _result(future: Future) -> Mapping[str, Any]:
    return await future

"""Bring ledger and engine together: submit what can run, take in what happened, put right what was missed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.api.engine.port import Attempt, ExecutionEngine, WorkerInfo
from ktrdr.api.ledger.ledger import Ledger, Operation, TransitionError, UnknownOperationError
from ktrdr.api.operations.broadcast import Broadcast

__all__ = ["OperationService"]

_log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 3
"""Attempts that may be lost under one operation before it is held to be at fault."""

_SECONDS_BETWEEN_ROUNDS = 5.0
_SECONDS_BETWEEN_PROGRESS = 0.25


class OperationService:
    """The only writer of operation states.

    A round submits every queued operation some present worker can run, and tells the others what they wait for. A round
    runs when something changed, and every few seconds in case news was lost.
    """

    def __init__(self, ledger: Ledger, engine: ExecutionEngine) -> None:
        self._ledger = ledger
        self._engine = engine
        self.broadcast = Broadcast(ledger)
        self._submitted: set[Attempt] = set()
        self._changed = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._progress: dict[Attempt, Mapping[str, Any]] = {}
        self._writers: dict[Attempt, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Connect the engine, reconcile, and begin the rounds."""
        await self._engine.start(self)
        await self._reconcile()
        self._rounds = asyncio.create_task(self._run_rounds(), name="operation rounds")

    async def close(self) -> None:
        """Stop the rounds and disconnect. What runs on other machines goes on."""
        tasks = [task for task in (self._rounds, *self._writers.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engine.close()

    # What clients ask for.

    async def create(
        self, kind: str, job: Mapping[str, Any], requires: Sequence[str], *, idempotency_key: str | None = None
    ) -> tuple[Operation, bool]:
        """Queue an operation; see :meth:`Ledger.create`."""
        operation, new = await self._ledger.create(kind, job, requires, idempotency_key=idempotency_key)
        if new:
            self._tell()
        return operation, new

    async def cancel(self, operation_id: str) -> Operation:
        """Cancel: at once if queued, cooperatively if running."""
        operation = await self._ledger.request_cancel(operation_id)
        if operation.state == "running":
            await self._engine.stop(Attempt(operation.id, operation.attempt))
        self._tell()
        return operation

    async def retry(self, operation_id: str) -> Operation:
        """Queue a failed or cancelled operation again; a training goes on from its checkpoint."""
        operation = await self._ledger.retry(operation_id)
        self._tell()
        return operation

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers that are there now."""
        return await self._engine.workers()

    async def engine_healthy(self) -> bool:
        """Return True if work can be submitted now."""
        return await self._engine.healthy()

    # What the engine tells (EngineListener).

    async def on_started(self, attempt: Attempt, worker: str) -> None:
        """Take in that a worker began."""
        async with self._current(attempt):
            operation = await self._ledger.start(attempt.operation_id, attempt.number, worker)
            if operation.cancel_requested:
                await self._engine.stop(attempt)

    async def on_progress(self, attempt: Attempt, progress: Mapping[str, Any]) -> None:
        """Keep the newest progress; write it a few times a second at most, and the last always."""
        self._progress[attempt] = progress
        if attempt not in self._writers:
            self._writers[attempt] = asyncio.create_task(self._write_progress(attempt))

    async def on_completed(self, attempt: Attempt, result: Mapping[str, Any]) -> None:
        """Take in the result."""
        await self._end(attempt, "completed", result=result)

    async def on_failed(self, attempt: Attempt, error: Mapping[str, Any]) -> None:
        """Take in that the work failed."""
        await self._end(attempt, "failed", error=error)

    async def on_cancelled(self, attempt: Attempt) -> None:
        """Take in that the work stopped on request."""
        await self._end(attempt, "cancelled")

    async def on_lost(self, attempt: Attempt, reason: str, *, counts: bool) -> None:
        """Queue the work again, unless it was to be cancelled, or it has cost too many workers."""
        self._submitted.discard(attempt)
        async with self._current(attempt):
            operation = await self._ledger.get(attempt.operation_id)
            if operation.attempt != attempt.number or operation.state != "running":
                self._tell()
                return
            await self._flush(attempt)
            if operation.cancel_requested:
                await self._ledger.finish(operation.id, attempt.number, "cancelled")
            elif counts and attempt.number >= _MOST_ATTEMPTS:
                history = [row["outcome"] for row in await self._ledger.attempts(operation.id) if row["outcome"]]
                message = f"{_MOST_ATTEMPTS} attempts were lost: " + "; ".join([*history, reason])
                error = {"type": "worker-lost", "message": message}
                await self._ledger.finish(operation.id, attempt.number, "failed", error=error)
            else:
                await self._ledger.requeue(operation.id, attempt.number, reason)
        self._tell()

    async def on_workers_changed(self) -> None:
        """Try again what waits."""
        self._tell()

    # Rounds.

    def _tell(self) -> None:
        self._changed.set()
        self.broadcast.wake()

    async def _run_rounds(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._round()
            except (OSError, TimeoutError) as error:
                _log.warning("round of operations put off: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _SECONDS_BETWEEN_ROUNDS)

    async def _round(self) -> None:
        workers = await self._engine.workers()
        queued = await self._ledger.list(states=["queued"], limit=10_000)
        for operation in reversed(queued):
            attempt = Attempt(operation.id, operation.attempt)
            if attempt in self._submitted:
                continue
            waiting_for = _missing(operation.requires, workers)
            if waiting_for is not None:
                if waiting_for != operation.waiting_for:
                    await self._ledger.set_waiting(operation.id, waiting_for)
                    self.broadcast.wake()
                continue
            self._submitted.add(attempt)
            await self._engine.submit(attempt, operation.kind, operation.job, operation.requires)

    async def _reconcile(self) -> None:
        known = await self._engine.reattach()
        for operation in await self._ledger.list(states=["running"], limit=10_000):
            attempt = Attempt(operation.id, operation.attempt)
            if attempt not in known:
                await self.on_lost(attempt, "the engine no longer had it when the API came back", counts=False)
        self._submitted |= known

    # Helpers.

    async def _end(self, attempt: Attempt, state: Any, **outcome: Any) -> None:
        self._submitted.discard(attempt)
        async with self._current(attempt):
            await self._flush(attempt)
            await self._ledger.finish(attempt.operation_id, attempt.number, state, **outcome)
        self._tell()

    async def _write_progress(self, attempt: Attempt) -> None:
        try:
            while attempt in self._progress:
                await self._flush(attempt)
                await asyncio.sleep(_SECONDS_BETWEEN_PROGRESS)
        finally:
            self._writers.pop(attempt, None)

    async def _flush(self, attempt: Attempt) -> None:
        progress = self._progress.pop(attempt, None)
        if progress is not None and await self._ledger.report(attempt.operation_id, attempt.number, progress):
            self.broadcast.wake()

    @contextlib.asynccontextmanager
    async def _current(self, attempt: Attempt) -> Any:
        """Drop news of an attempt that the ledger has left behind."""
        try:
            yield
        except TransitionError as error:
            _log.info("late news of attempt %d dropped: %s", attempt.number, error)
        except UnknownOperationError:
            _log.warning("news of unknown operation %s dropped", attempt.operation_id)
        self.broadcast.wake()


def _missing(requires: Sequence[str], workers: Sequence[WorkerInfo]) -> str | None:
    """Return what no present worker offers, in words, or ``None`` if one offers all of it."""
    if any(set(requires) <= set(worker.capabilities) for worker in workers):
        return None
    wanted = ", ".join(requires)
    backends = [name.removeprefix("ml-") for name in requires if name.startswith("ml-")]
    options = "".join(f" --require {name}" for name in backends)
    plugins = " and ".join(f"plugin `{name}`" for name in backends)
    kind = f"a worker with {plugins}" if plugins else "a worker"
    if not workers:
        return f"waits for {kind} ({wanted}); no worker is connected, start one with `ktrdr worker ADDRESS{options}`"
    return f"waits for {kind} ({wanted}); none of the {len(workers)} connected offers all of it"

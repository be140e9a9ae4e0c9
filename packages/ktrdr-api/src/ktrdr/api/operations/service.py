"""Connects the ledger and the engine: submits queued operations, records reports, repairs missed ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ktrdr.api.engine.port import (
    Attempt,
    ExecutionEngine,
    SchedulerInfo,
    WorkerInfo,
    WorkerLostError,
    log_failure,
)
from ktrdr.api.ledger.operation_json import shown
from ktrdr.api.ledger.records import (
    Idempotency,
    LedgerUnavailableError,
    Operation,
    TransitionError,
    UnknownOperationError,
)
from ktrdr.api.ledger.states import State
from ktrdr.api.operations.broadcast import Broadcast
from ktrdr.api.operations.progress_writer import ProgressWriter
from ktrdr.api.operations.waiting import what_is_missing
from ktrdr.core.errors import ErrorRecord, record_of

if TYPE_CHECKING:
    from ktrdr.api.ledger.ledger import Ledger
    from ktrdr.core.trials.look import Look
    from ktrdr.core.trials.trial_count import TrialCount
    from ktrdr.core.trials.trial_ledger import TrialLedger

__all__ = ["OperationService"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MOST_LOSSES = 3
"""Lost attempts after which an operation fails, counting those whose loss the job itself may have caused."""

_SECONDS_BETWEEN_ROUNDS = 5.0
_SECONDS_BETWEEN_BEATS = 30.0


class OperationService:
    """The only writer of operation states; an :class:`~ktrdr.api.engine.port.EngineListener`.

    A round submits every queued operation that a connected worker can run, stores for the others what they wait for,
    and repeats requests to stop that did not reach the engine. A round runs after every change, and every few seconds
    in case a report was lost.
    """

    def __init__(self, ledger: Ledger, engine: ExecutionEngine, trials: TrialLedger) -> None:
        self._ledger = ledger
        self._trials = trials
        self._engine = engine
        self.broadcast = Broadcast(ledger)
        self._progress = ProgressWriter(ledger, self.broadcast)
        self._submitted: set[Attempt] = set()
        self._told_to_stop: set[Attempt] = set()
        self._changed = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._last_beat = 0.0
        self._trouble: LedgerUnavailableError | None = None
        self._closing = False

    async def start(self) -> None:
        """Connect the engine, compare its operations with the ledger, and begin the rounds."""
        await self.broadcast.start()
        await self._engine.start(self)
        await self._reconcile()
        self._rounds = asyncio.create_task(self._run_rounds(), name="operation rounds")
        self._rounds.add_done_callback(log_failure)

    async def close(self) -> None:
        """Stop the rounds and disconnect. Operations on other machines continue."""
        self._closing = True
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
        await self._engine.close()
        await self._progress.close()
        await self.broadcast.close()

    # Requests of clients.

    async def create(
        self,
        kind: str,
        job: Mapping[str, Any],
        requires: Sequence[str],
        *,
        idempotency: Idempotency | None = None,
        retry_of: str | None = None,
    ) -> tuple[Operation, bool]:
        """Queue an operation; see :meth:`Ledger.create`. It contains at once what it waits for, if anything."""
        operation, new = await self._ledger.create(kind, job, requires, idempotency=idempotency, retry_of=retry_of)
        if not new:
            return operation, False
        waiting_for = what_is_missing(requires, await self._engine.workers(), await self._engine.joining())
        if waiting_for is not None:
            await self._ledger.set_waiting(operation.id, waiting_for)
            operation = await self._ledger.get(operation.id)
        self._tell()
        return operation, True

    async def cancel(self, operation_id: str) -> Operation:
        """Cancel a queued operation at once; ask a running one to stop."""
        operation = await self._ledger.request_cancel(operation_id)
        await self._stop(Attempt(operation.id, operation.attempt))
        self._tell()
        return operation

    async def resume(self, operation_id: str) -> Operation:
        """Queue a failed or cancelled operation again; a training continues from its checkpoint."""
        operation = await self._ledger.resume(operation_id)
        self._tell()
        return operation

    async def retry(self, operation_id: str, *, idempotency: Idempotency | None = None) -> tuple[Operation, bool]:
        """Queue the job of an operation again as a new operation, from the beginning."""
        earlier = await self._ledger.get(operation_id)
        return await self.create(
            earlier.kind, earlier.job, earlier.requires, idempotency=idempotency, retry_of=earlier.id
        )

    async def workers(self) -> list[WorkerInfo]:
        """Return the connected workers."""
        return await self._engine.workers()

    async def scheduler(self) -> SchedulerInfo | None:
        """Return the scheduler, ``None`` while none is connected."""
        return await self._engine.scheduler()

    async def engine_healthy(self) -> bool:
        """Return True if work can be submitted now."""
        return await self._engine.healthy()

    def check(self) -> None:
        """Raise the ledger's error of the newest round, if the round failed with one.

        A round reads more of the ledger than any request, and writes to it.
        """
        if self._trouble is not None:
            raise self._trouble

    def working(self) -> bool:
        """Return True while both tasks run, rounds and broadcast; a task that has ended does not start again."""
        return self._rounds is not None and not self._rounds.done() and self.broadcast.working()

    # Reports of the engine.

    async def on_started(self, attempt: Attempt, worker: str) -> None:
        """Record that a worker has started an attempt; stop the attempt if it should not run."""
        self._submitted.add(attempt)
        if await _until_written(lambda: self._take_in_start(attempt, worker)):
            await self._stop(attempt)
        self.broadcast.wake()

    async def _take_in_start(self, attempt: Attempt, worker: str) -> bool:
        """Return True if the attempt should not run."""
        try:
            operation = await self._ledger.start(attempt.operation_id, attempt.number, worker)
            return operation.cancel_requested
        except TransitionError as error:
            now = error.operation
            return now.attempt != attempt.number or now.state != "running" or now.cancel_requested
        except UnknownOperationError:
            return True

    async def on_progress(self, attempt: Attempt, progress: Mapping[str, Any]) -> None:
        """Accept progress; it is written a few times a second at most, and the last report always."""
        self._progress.put(attempt, progress)

    async def judge(self, looks: Sequence[Look], model: str) -> TrialCount:
        """Record looks at the same bars as trials, and return the count of the known trials on these bars."""
        return await asyncio.to_thread(self._trials.judge, looks, model=model)

    async def on_completed(self, attempt: Attempt, result: Mapping[str, Any]) -> None:
        """Record the result of an attempt."""
        await self._end(attempt, "completed", result=shown(result))

    async def on_failed(self, attempt: Attempt, error: ErrorRecord) -> None:
        """Record that an attempt failed."""
        await self._end(attempt, "failed", error=error)

    async def on_cancelled(self, attempt: Attempt) -> None:
        """Record that an attempt stopped on request."""
        await self._end(attempt, "cancelled")

    async def on_lost(self, attempt: Attempt, reason: str, *, counts: bool) -> None:
        """Queue a lost operation again, unless it is to be cancelled or has lost too many workers."""
        self._forget(attempt)
        await _until_written(lambda: self._take_in_loss(attempt, reason, counts))
        self._tell()

    async def _take_in_loss(self, attempt: Attempt, reason: str, counts: bool) -> None:
        async with self._current(attempt):
            operation = await self._ledger.get(attempt.operation_id)
            if operation.attempt != attempt.number or operation.state != "running":
                return
            await self._progress.flush(attempt)
            losses = [past.outcome for past in await self._ledger.attempts(operation.id) if past.counts]
            if operation.cancel_requested:
                await self._ledger.finish(operation.id, attempt.number, "cancelled")
            elif counts and len(losses) + 1 >= _MOST_LOSSES:
                message = f"{_MOST_LOSSES} attempts were lost: " + "; ".join([*map(str, losses), reason])
                error = record_of(WorkerLostError(message))
                await self._ledger.finish(operation.id, attempt.number, "failed", error=error)
            else:
                await self._ledger.requeue(operation.id, attempt.number, reason, counts=counts)

    async def on_workers_changed(self) -> None:
        """Run a round: waiting operations may be able to run now."""
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
                self._trouble = None
            except LedgerUnavailableError as error:
                self._trouble = error
                _log.warning("round of operations postponed: %s", error)
            except OSError as error:
                _log.warning("round of operations postponed: %s", error)
            # A cancellation during an error of the database may be raised as that error.
            if self._closing:
                return
            # Not `wait_for`: on Python 3.11 it loses a cancellation that coincides with the change.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS_BETWEEN_ROUNDS):
                    await self._changed.wait()

    async def _round(self) -> None:
        workers = await self._engine.workers()
        await self._submit_queued(workers)
        await self._stop_cancelled()
        if time.monotonic() - self._last_beat >= _SECONDS_BETWEEN_BEATS:
            self._last_beat = time.monotonic()
            await self._ledger.beat(
                {attempt.operation_id: attempt.number for worker in workers for attempt in worker.running}
            )

    async def _submit_queued(self, workers: Sequence[WorkerInfo]) -> None:
        queued = await self._ledger.page(states=["queued"], limit=10_000)
        joining = await self._engine.joining()
        for operation in reversed(queued):
            attempt = Attempt(operation.id, operation.attempt)
            if attempt in self._submitted:
                continue
            waiting_for = what_is_missing(operation.requires, workers, joining)
            if waiting_for != operation.waiting_for:
                await self._ledger.set_waiting(operation.id, waiting_for)
                self.broadcast.wake()
            if waiting_for is not None:
                continue
            job = (await self._ledger.get_listed(operation.id)).job
            self._submitted.add(attempt)
            try:
                await self._engine.submit(attempt, operation.kind, job, operation.requires)
            except BaseException:
                self._submitted.discard(attempt)
                raise

    async def _stop_cancelled(self) -> None:
        """Stop running operations that were cancelled while the engine was not reachable."""
        for operation in await self._ledger.page(states=["running"], limit=10_000):
            attempt = Attempt(operation.id, operation.attempt)
            if operation.cancel_requested and attempt not in self._told_to_stop:
                await self._stop(attempt)

    async def _reconcile(self) -> None:
        known = await self._engine.reattach()
        self._submitted |= known
        for operation in await self._ledger.page(states=["running"], limit=10_000):
            attempt = Attempt(operation.id, operation.attempt)
            if attempt not in known:
                await self.on_lost(
                    attempt, "the engine no longer had the operation when the server started again", counts=False
                )

    # Helpers.

    async def _stop(self, attempt: Attempt) -> None:
        """Tell the engine to stop a submitted attempt; if it cannot be reached, the next round tells it again."""
        if attempt not in self._submitted:
            return
        try:
            await self._engine.stop(attempt)
        except OSError as error:
            _log.warning("the engine cannot be told to stop %s now: %s", attempt, error)
        else:
            self._told_to_stop.add(attempt)

    def _forget(self, attempt: Attempt) -> None:
        self._submitted.discard(attempt)
        self._told_to_stop.discard(attempt)

    async def _end(self, attempt: Attempt, state: State, **outcome: Any) -> None:
        await _until_written(lambda: self._take_in_end(attempt, state, outcome))
        self._forget(attempt)
        self._tell()

    async def _take_in_end(self, attempt: Attempt, state: State, outcome: Mapping[str, Any]) -> None:
        async with self._current(attempt):
            await self._progress.flush(attempt)
            try:
                await self._ledger.finish(attempt.operation_id, attempt.number, state, **outcome)
            except TransitionError as error:
                if error.operation.state != "queued" or error.operation.attempt != attempt.number:
                    raise
                # The report of the start was lost, or arrives after this one.
                await self._ledger.start(attempt.operation_id, attempt.number, "unknown")
                await self._ledger.finish(attempt.operation_id, attempt.number, state, **outcome)

    @contextlib.asynccontextmanager
    async def _current(self, attempt: Attempt) -> AsyncIterator[None]:
        """Drop a report of an attempt that is no longer the present one in the ledger."""
        try:
            yield
        except TransitionError as error:
            _log.info("an outdated report of attempt %d was dropped: %s", attempt.number, error)
        except UnknownOperationError:
            _log.warning("a report of unknown operation %s was dropped", attempt.operation_id)


async def _until_written(write: Callable[[], Awaitable[T]]) -> T:
    """Repeat a write until the database accepts it: the engine sends each report only once."""
    delay = 0.1
    while True:
        try:
            return await write()
        except OSError as error:
            _log.warning("the ledger cannot be written just now, trying again in %.1f s: %s", delay, error)
        await asyncio.sleep(delay)
        delay = min(2 * delay, 10.0)

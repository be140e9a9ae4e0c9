"""The interface between the service of operations and an engine that executes them.

The ledger decides what runs and stores the results; an engine decides where and when an attempt runs. An engine may
lose its state when a scheduler restarts: the lost attempts are then submitted again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ktrdr.core.errors import ErrorRecord, KtrdrError

if TYPE_CHECKING:
    from ktrdr.core.trials.look import Look
    from ktrdr.core.trials.trial_count import TrialCount

__all__ = [
    "Attempt",
    "EngineListener",
    "ExecutionEngine",
    "Joining",
    "NoEngine",
    "SchedulerInfo",
    "WorkerInfo",
    "WorkerLostError",
    "log_failure",
    "worker_command",
]

_log = logging.getLogger(__name__)


def log_failure(task: asyncio.Future[Any]) -> None:
    """Log the error of a task; a callback for tasks that nothing awaits."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s failed", task, exc_info=task.exception())


class WorkerLostError(KtrdrError):
    """An operation lost too many workers: they were killed, ran out of memory, or did not answer."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one operation: the key by which an engine identifies work."""

    operation_id: str
    number: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A connected worker, its capabilities and its running attempts."""

    address: str
    name: str
    capabilities: Sequence[str]
    running: Sequence[Attempt] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerInfo:
    """The scheduler: the ``address`` that workers join, and the URL below which ``/health`` and ``/metrics`` are."""

    address: str
    http: str | None = None


@dataclass(frozen=True, slots=True)
class Joining:
    """How workers can join.

    Attributes:
        address: of the scheduler that workers join; ``None`` if there is no scheduler.
        answers: whether the scheduler answers.
        expected: number of the server's own workers that are starting.
    """

    address: str | None
    answers: bool = True
    expected: int = 0


def worker_command(address: str, plugins: Sequence[str] = ()) -> str:
    """Return the command that starts a worker with ``plugins`` on the machine of the scheduler at ``address``."""
    secure = " --certificates DIRECTORY" if address.startswith("tls://") else ""
    return f"ktrdr worker {address}{secure}" + "".join(f" --require {name}" for name in plugins)


class EngineListener(Protocol):
    """Receiver of an engine's reports. It drops reports of attempts that are not the present ones in the ledger."""

    async def on_started(self, attempt: Attempt, worker: str) -> None:
        """Report that a worker has started an attempt."""

    async def on_progress(self, attempt: Attempt, progress: Mapping[str, Any]) -> None:
        """Report the progress of an attempt."""

    async def judge(self, looks: Sequence[Look], model: str) -> TrialCount:
        """Record looks at the same bars as trials, and return the count of the known trials on these bars.

        Raises ``StoreError`` if the ledger of trials cannot be written now.
        """
        ...

    async def on_completed(self, attempt: Attempt, result: Mapping[str, Any]) -> None:
        """Report that an attempt is completed."""

    async def on_failed(self, attempt: Attempt, error: ErrorRecord) -> None:
        """Report that the job itself failed: it would fail again."""

    async def on_cancelled(self, attempt: Attempt) -> None:
        """Report that an attempt stopped on request."""

    async def on_lost(self, attempt: Attempt, reason: str, *, counts: bool) -> None:
        """Report that the worker was lost or drained. ``counts``: the job, which had started, may be the cause."""

    async def on_workers_changed(self) -> None:
        """Report that workers have joined or left, so that waiting operations are tried again."""


class ExecutionEngine(Protocol):
    """An engine that executes attempts."""

    async def start(self, listener: EngineListener) -> None:
        """Connect, and send reports to ``listener`` from now on."""

    async def close(self) -> None:
        """Disconnect. Attempts on workers that the server has not started continue."""

    async def healthy(self) -> bool:
        """Return True if work can be submitted now."""
        ...

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        """Submit an attempt. Submitting an attempt twice has no further effect."""

    async def stop(self, attempt: Attempt) -> None:
        """Ask a running attempt to stop; stop it by force after the engine's grace period."""

    async def workers(self) -> list[WorkerInfo]:
        """Return the connected workers."""
        ...

    async def scheduler(self) -> SchedulerInfo | None:
        """Return the scheduler, ``None`` while none is connected."""
        ...

    async def joining(self) -> Joining:
        """Return how workers can join."""
        ...

    async def reattach(self) -> set[Attempt]:
        """Return the attempts that the engine still has after a restart of the server, and report on them again."""
        ...


class NoEngine:
    """The engine of a server without a scheduler: all operations wait."""

    async def start(self, listener: EngineListener) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def healthy(self) -> bool:
        """Return False: nothing can be submitted."""
        return False

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        """Raise ``RuntimeError``; the service submits nothing while there are no workers."""
        raise RuntimeError("no engine is configured")

    async def stop(self, attempt: Attempt) -> None:
        """Do nothing: nothing runs."""

    async def workers(self) -> list[WorkerInfo]:
        """Return no workers."""
        return []

    async def scheduler(self) -> SchedulerInfo | None:
        """Return ``None``."""
        return None

    async def joining(self) -> Joining:
        """Return that there is no scheduler to join."""
        return Joining(None)

    async def reattach(self) -> set[Attempt]:
        """Return no attempts."""
        return set()

"""The port between the ledger and whatever executes.

The ledger owns what is to be done and how it ended; an engine owns where and when it runs. An engine may forget
everything (a scheduler restarts): the ledger then submits again.
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
    """As a callback of a task that nobody awaits: it must not fail in silence."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s failed", task, exc_info=task.exception())


class WorkerLostError(KtrdrError):
    """Work cost too many workers: they were killed, ran out of memory, or fell silent."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one operation: what an engine knows work by."""

    operation_id: str
    number: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that is there: what it offers, and what it runs."""

    address: str
    name: str
    capabilities: Sequence[str]
    running: Sequence[Attempt] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerInfo:
    """What hands work to the workers: where they join, and where it answers at ``/health`` and ``/metrics``."""

    address: str
    http: str | None = None


@dataclass(frozen=True, slots=True)
class Joining:
    """How workers come to be there.

    Attributes:
        address: of the scheduler that they join; ``None`` where there is none to join.
        answers: the scheduler does.
        expected: workers of the server's own that are on their way.
    """

    address: str | None
    answers: bool = True
    expected: int = 0


def worker_command(address: str, plugins: Sequence[str] = ()) -> str:
    """Return the command that starts a worker with ``plugins`` on the machine of the scheduler at ``address``."""
    secure = " --certificates DIRECTORY" if address.startswith("tls://") else ""
    return f"ktrdr worker {address}{secure}" + "".join(f" --require {name}" for name in plugins)


class EngineListener(Protocol):
    """Who is told. News of an attempt that is not the ledger's current one is dropped by the listener."""

    async def on_started(self, attempt: Attempt, worker: str) -> None:
        """Say that a worker began."""

    async def on_progress(self, attempt: Attempt, progress: Mapping[str, Any]) -> None:
        """Pass progress on."""

    async def judge(self, looks: Sequence[Look], model: str) -> TrialCount:
        """Record looks at the same bars as trials, and return what is known of these trials then.

        Raises ``StoreError`` if the ledger of trials cannot be written now.
        """
        ...

    async def on_completed(self, attempt: Attempt, result: Mapping[str, Any]) -> None:
        """Say that the work is done."""

    async def on_failed(self, attempt: Attempt, error: ErrorRecord) -> None:
        """Say that the work itself failed: running it again would fail again."""

    async def on_cancelled(self, attempt: Attempt) -> None:
        """Say that the work stopped on request."""

    async def on_lost(self, attempt: Attempt, reason: str, *, counts: bool) -> None:
        """Say that the worker was lost or drained. ``counts``: the work may be to blame (it had begun)."""

    async def on_workers_changed(self) -> None:
        """Say that workers came or went, so that what waits may be tried again."""


class ExecutionEngine(Protocol):
    """Executes attempts."""

    async def start(self, listener: EngineListener) -> None:
        """Connect; from now on the listener is told what happens."""

    async def close(self) -> None:
        """Disconnect. Work goes on where workers are not ours."""

    async def healthy(self) -> bool:
        """Return True if work can be submitted now."""
        ...

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        """Hand over an attempt. Submitting one twice is the same as once."""

    async def stop(self, attempt: Attempt) -> None:
        """Ask a running attempt to stop, and force it after the engine's grace period."""

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers that are there now."""
        ...

    async def scheduler(self) -> SchedulerInfo | None:
        """Return what hands out the work, ``None`` while there is nothing of the kind."""
        ...

    async def joining(self) -> Joining:
        """Return how workers come to be there."""
        ...

    async def reattach(self) -> set[Attempt]:
        """Return the attempts the engine still has after the API was away; their news flows again."""
        ...


class NoEngine:
    """No engine is configured: everything waits, and says so."""

    async def start(self, listener: EngineListener) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def healthy(self) -> bool:
        """Return False: nothing can be submitted."""
        return False

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        """Refuse: the service asks for workers first, and there are none."""
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
        """Return that no worker can."""
        return Joining(None)

    async def reattach(self) -> set[Attempt]:
        """Return nothing."""
        return set()

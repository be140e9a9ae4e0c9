"""Records and errors of the ledger. This module imports no library of a database."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktrdr.api.ledger.states import State
from ktrdr.core.errors import ErrorRecord

__all__ = [
    "Event",
    "Idempotency",
    "IdempotencyConflictError",
    "LedgerDamagedError",
    "LedgerUnavailableError",
    "Operation",
    "OperationSummary",
    "PastAttempt",
    "TransitionError",
    "UnknownOperationError",
]


@dataclass(frozen=True, slots=True)
class OperationSummary:
    """A row of the ledger without its job and result, which may be long.

    Attributes:
        id: sorts by time of creation.
        attempt: number of the present attempt, from 1; reports of any other attempt are outdated.
        requires: capabilities that a worker must have, all of them.
        waiting_for: why it is still queued, as a text for people.
        retry_of: the operation whose job this one runs again.
        heartbeat_at: when it was last known to run.
    """

    id: str
    kind: str
    state: State
    attempt: int
    requires: Sequence[str]
    waiting_for: str | None
    cancel_requested: bool
    retry_of: str | None
    worker: str | None
    progress: Mapping[str, Any] | None
    error: ErrorRecord | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    heartbeat_at: dt.datetime | None
    finished_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Operation(OperationSummary):
    """A whole row of the ledger; ``job`` describes the work completely, so that it can be run again."""

    job: Mapping[str, Any]
    result: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One attempt. ``outcome`` is ``None`` while it runs; ``counts``: the job itself may have caused its loss."""

    attempt: int
    worker: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str | None
    counts: bool


@dataclass(frozen=True, slots=True)
class Event:
    """An event of an operation; ``seq`` grows with time."""

    seq: int
    operation_id: str
    at: dt.datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for one request, and a digest of that request."""

    key: str
    digest: str

    @classmethod
    def of(cls, key: str | None, kind: str, request: Mapping[str, Any]) -> Idempotency | None:
        """Return the pair for a JSON-ready ``request``, or ``None`` if the client gave no key."""
        if key is None:
            return None
        text = json.dumps([kind, request], sort_keys=True, separators=(",", ":"))
        return cls(key, hashlib.sha256(text.encode()).hexdigest())


class UnknownOperationError(LookupError):
    """There is no operation with this id."""


class TransitionError(Exception):
    """The request is not possible in the present state of ``operation``."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(f"operation {operation.id} is {operation.state}")
        self.operation = operation


class IdempotencyConflictError(Exception):
    """The idempotency key was used before for another request."""


class LedgerUnavailableError(ConnectionError):
    """The database cannot be reached just now, or is too busy."""


class LedgerDamagedError(LedgerUnavailableError):
    """The database answers, but its content cannot be read: its file was changed, or a table is missing."""

"""Reads and writes operations. Every change of state is one compare-and-set statement, together with its event."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, String, Text, bindparam, cast, delete, func, insert, select, type_coerce, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from ktrdr.api.ledger.database import Database, Reading
from ktrdr.api.ledger.operation_json import detail_json, summary_json
from ktrdr.api.ledger.records import (
    Event,
    Idempotency,
    IdempotencyConflictError,
    LedgerDamagedError,
    Operation,
    OperationSummary,
    PastAttempt,
    TransitionError,
    UnknownOperationError,
)
from ktrdr.api.ledger.rows import AttemptRow, EventRow, OperationRow
from ktrdr.api.ledger.states import STATES, TERMINAL, State, sources_of
from ktrdr.core.errors import ErrorRecord

__all__ = ["Ledger"]

# Frequent queries are built once: SQLAlchemy takes longer to build a query than SQLite to run it.
_OPERATIONS, _ATTEMPTS, _EVENTS = OperationRow.__table__.c, AttemptRow.__table__.c, EventRow.__table__.c
_SUMMARY = [_OPERATIONS[name] for name in OperationSummary.__dataclass_fields__]
_WHOLE = [_OPERATIONS[name] for name in Operation.__dataclass_fields__]
_JSON = {"requires", "progress", "result", "error", "job"}
_TIMES = {"created_at", "started_at", "heartbeat_at", "finished_at"}


def _as_text(name: str) -> Any:
    """Return a column of operations as text: JSON is not parsed and times are not converted."""
    column = _OPERATIONS[name]
    if name in _JSON:
        return cast(column, Text).label(name)
    return type_coerce(column, String).label(name) if name in _TIMES else column


_SUMMARY_TEXT = [_as_text(name) for name in OperationSummary.__dataclass_fields__]
_GET_TEXT = select(*map(_as_text, Operation.__dataclass_fields__)).where(_OPERATIONS.id == bindparam("id"))
_GET = select(*_WHOLE).where(_OPERATIONS.id == bindparam("id"))
_FIND = select(*_WHOLE, _OPERATIONS.idempotency_digest).where(_OPERATIONS.idempotency_key == bindparam("key"))
_ATTEMPTS_OF = (
    select(*(_ATTEMPTS[name] for name in PastAttempt.__dataclass_fields__))
    .where(_ATTEMPTS.operation_id == bindparam("id"))
    .order_by(_ATTEMPTS.attempt)
)
_EVENTS_AFTER = select(*_EVENTS).where(_EVENTS.seq > bindparam("seq")).order_by(_EVENTS.seq).limit(bindparam("most"))
_EVENTS_OF_AFTER = _EVENTS_AFTER.where(_EVENTS.operation_id == bindparam("id"))
_LAST_EVENT = select(func.coalesce(func.max(_EVENTS.seq), 0))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Ledger:
    """Operations in a database. Several processes may use it at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        kind: str,
        job: Mapping[str, Any],
        requires: Sequence[str],
        *,
        idempotency: Idempotency | None = None,
        retry_of: str | None = None,
    ) -> tuple[Operation, bool]:
        """Queue an operation; return it, and whether it is new.

        With an idempotency key seen before, the earlier operation is returned.

        Raises:
            IdempotencyConflictError: the key was used for another request.
        """
        values: dict[str, Any] = {
            "id": str(ULID()),
            "kind": kind,
            "state": "queued",
            "attempt": 1,
            "job": dict(job),
            "requires": list(requires),
            "cancel_requested": False,
            "retry_of": retry_of,
            "created_at": _now(),
            "idempotency_key": None if idempotency is None else idempotency.key,
            "idempotency_digest": None if idempotency is None else idempotency.digest,
        }
        try:
            async with self._database.writing(may_conflict=True) as connection:
                await connection.execute(insert(OperationRow).values(**values))
                await _record(connection, values["id"], "queued", {"attempt": 1})
                return await _read(connection, values["id"]), True
        except IntegrityError as error:
            earlier = None if idempotency is None else await self.find(idempotency)
            if earlier is None:
                # The id is new and no key was used before, so the rows contradict each other.
                raise LedgerDamagedError(str(error.orig)) from error
            return earlier, False

    async def find(self, idempotency: Idempotency) -> Operation | None:
        """Return the operation that was started with this key, or ``None``; see :meth:`create`."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND, {"key": idempotency.key})).one_or_none()
        if row is None:
            return None
        if row.idempotency_digest != idempotency.digest:
            raise IdempotencyConflictError(idempotency.key)
        return _operation(row)

    async def get(self, operation_id: str) -> Operation:
        """Return one operation; raises :class:`UnknownOperationError`."""
        async with self._database.reading() as connection:
            return await _read(connection, operation_id)

    async def page(
        self,
        *,
        states: Sequence[State] = (),
        kinds: Sequence[str] = (),
        before: str | None = None,
        limit: int = 50,
    ) -> list[OperationSummary]:
        """Return operations, newest first; ``before`` is the last id of the page before."""
        async with self._database.reading() as connection:
            rows = await connection.execute(*_page(states, kinds, before, limit, text=False))
            return [OperationSummary(**row._mapping) for row in rows]

    async def page_texts(
        self,
        *,
        states: Sequence[State] = (),
        kinds: Sequence[str] = (),
        before: str | None = None,
        limit: int = 50,
    ) -> list[tuple[str, str]]:
        """Return id and JSON of the operations that :meth:`page` returns."""
        async with self._database.reading() as connection:
            rows = await connection.execute(*_page(states, kinds, before, limit, text=True))
            return [(row[0], summary_json(row)) for row in rows.all()]

    async def get_listed(self, operation_id: str) -> Operation:
        """Return an operation that :meth:`page` has listed; operations are never removed.

        Raises ``LedgerDamagedError`` if it is not found.
        """
        try:
            return await self.get(operation_id)
        except UnknownOperationError:
            raise LedgerDamagedError(f"operation {operation_id} is listed and cannot be found") from None

    async def get_text(self, operation_id: str) -> str:
        """Return one operation with its job, its result and its attempts, as JSON.

        Raises :class:`UnknownOperationError`.
        """
        async with self._database.reading() as connection:
            row = (await connection.execute(_GET_TEXT, {"id": operation_id})).one_or_none()
            if row is None:
                raise UnknownOperationError(operation_id)
            past = await connection.execute(_ATTEMPTS_OF, {"id": operation_id})
            return detail_json(row, [PastAttempt(**each._mapping) for each in past])

    async def check(self) -> None:
        """Run the queries of usual requests: the newest operation with its attempts, and the newest event.

        Raises ``LedgerUnavailableError`` if one of them fails.
        """
        for operation in await self.page(limit=1):
            await self.get_listed(operation.id)
            await self.attempts(operation.id)
        await self.events_after(await self.last_event() - 1, limit=1)

    async def counts(self) -> dict[str, int]:
        """Return the number of operations in each state that occurs."""
        query = select(OperationRow.state, func.count().label("count_")).group_by(OperationRow.state)
        async with self._database.reading() as connection:
            return {str(row[0]): row.count_ for row in await connection.execute(query)}

    async def attempts(self, operation_id: str) -> list[PastAttempt]:
        """Return the attempts that were started, oldest first."""
        async with self._database.reading() as connection:
            rows = await connection.execute(_ATTEMPTS_OF, {"id": operation_id})
            return [PastAttempt(**row._mapping) for row in rows]

    async def start(self, operation_id: str, attempt: int, worker: str) -> Operation:
        """Record that ``worker`` has started attempt ``attempt``."""
        values = {"worker": worker, "started_at": _now(), "heartbeat_at": _now(), "waiting_for": None}
        async with self._database.writing() as connection:
            operation = await _move(connection, operation_id, "running", attempt, values, {"worker": worker})
            await connection.execute(
                insert(AttemptRow).values(
                    operation_id=operation_id,
                    attempt=attempt,
                    worker=worker,
                    started_at=values["started_at"],
                    counts=False,
                )
            )
            return operation

    async def finish(
        self,
        operation_id: str,
        attempt: int,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        error: ErrorRecord | None = None,
    ) -> Operation:
        """End attempt ``attempt`` as completed, failed or cancelled."""
        if state not in TERMINAL:
            raise ValueError(f"{state} is not a final state")
        values: dict[str, Any] = {"finished_at": _now(), "waiting_for": None}
        values |= {"result": dict(result)} if result is not None else {}
        values |= {"error": error} if error is not None else {}
        async with self._database.writing() as connection:
            told = {} if error is None else error.to_json()
            operation = await _move(connection, operation_id, state, attempt, values, told)
            await _end_attempt(connection, operation_id, attempt, state if error is None else error.message)
            return operation

    async def requeue(self, operation_id: str, attempt: int, reason: str, *, counts: bool) -> Operation:
        """Put an operation whose worker was lost or drained back into the queue, as the next attempt."""
        values = {"attempt": attempt + 1, "worker": None, "started_at": None, "progress": None}
        async with self._database.writing() as connection:
            operation = await _move(
                connection, operation_id, "queued", attempt, values, {"reason": reason}, sources={"running"}
            )
            await _end_attempt(connection, operation_id, attempt, reason, counts=counts)
            return operation

    async def resume(self, operation_id: str) -> Operation:
        """Queue a failed or cancelled operation again, as the next attempt."""
        values = {
            "attempt": OperationRow.attempt + 1,
            "worker": None,
            "error": None,
            "progress": None,
            "cancel_requested": False,
            "started_at": None,
            "finished_at": None,
        }
        async with self._database.writing() as connection:
            return await _move(connection, operation_id, "queued", None, values, {}, sources={"failed", "cancelled"})

    async def request_cancel(self, operation_id: str) -> Operation:
        """Cancel a queued operation at once; ask a running one to stop. An ended one raises ``TransitionError``."""
        async with self._database.writing() as connection:
            done = await connection.execute(
                update(OperationRow)
                .where(OperationRow.id == operation_id, OperationRow.state == "queued")
                .values(state="cancelled", finished_at=_now(), waiting_for=None, cancel_requested=True)
            )
            if done.rowcount:
                await _record(connection, operation_id, "cancelled", {})
                return await _read(connection, operation_id)
            asked = await connection.execute(
                update(OperationRow)
                .where(OperationRow.id == operation_id, OperationRow.state == "running")
                .values(cancel_requested=True)
            )
            operation = await _read(connection, operation_id)
            if not asked.rowcount:
                raise TransitionError(operation)
            await _record(connection, operation_id, "cancel_requested", {})
            return operation

    async def report(self, operation_id: str, attempt: int, progress: Mapping[str, Any]) -> bool:
        """Store progress of a running attempt; return False if the attempt is no longer running.

        Only the newest progress event of an operation is kept: late listeners need no older one.
        """
        async with self._database.writing() as connection:
            done = await connection.execute(
                update(OperationRow)
                .where(
                    OperationRow.id == operation_id,
                    OperationRow.state == "running",
                    OperationRow.attempt == attempt,
                )
                .values(progress=dict(progress), heartbeat_at=_now())
            )
            if done.rowcount:
                await connection.execute(
                    delete(EventRow).where(EventRow.operation_id == operation_id, EventRow.kind == "progress")
                )
                await _record(connection, operation_id, "progress", {"attempt": attempt, **progress})
            return bool(done.rowcount)

    async def beat(self, attempts: Mapping[str, int]) -> None:
        """Record a heartbeat of these attempts (id -> number).

        Without attempts a write transaction begins nevertheless, and shows whether the ledger is writable.
        """
        query = update(OperationRow).where(OperationRow.state == "running")
        async with self._database.writing() as connection:
            for operation_id, attempt in attempts.items():
                await connection.execute(
                    query.where(OperationRow.id == operation_id, OperationRow.attempt == attempt).values(
                        heartbeat_at=_now()
                    )
                )

    async def set_waiting(self, operation_id: str, waiting_for: str | None) -> None:
        """Store what a queued operation waits for."""
        async with self._database.writing() as connection:
            done = await connection.execute(
                update(OperationRow)
                .where(
                    OperationRow.id == operation_id,
                    OperationRow.state == "queued",
                    OperationRow.waiting_for.is_distinct_from(waiting_for),
                )
                .values(waiting_for=waiting_for)
            )
            if done.rowcount:
                await _record(connection, operation_id, "waiting", {"waiting_for": waiting_for})

    async def events_after(self, seq: int, *, operation_id: str | None = None, limit: int = 500) -> list[Event]:
        """Return events with a greater ``seq``, oldest first."""
        given: dict[str, Any] = {"seq": seq, "most": limit}
        async with self._database.reading() as connection:
            if operation_id is None:
                rows = await connection.execute(_EVENTS_AFTER, given)
            else:
                rows = await connection.execute(_EVENTS_OF_AFTER, {**given, "id": operation_id})
            return [Event(**row._mapping) for row in rows]

    async def last_event(self) -> int:
        """Return the greatest ``seq``, 0 if there is no event."""
        async with self._database.reading() as connection:
            return (await connection.execute(_LAST_EVENT)).scalar_one()


def _page(
    states: Sequence[State], kinds: Sequence[str], before: str | None, limit: int, *, text: bool
) -> tuple[Select[Any], dict[str, Any]]:
    given: dict[str, Any] = {"most": limit}
    given |= {"states": list(states)} if states else {}
    given |= {"kinds": list(kinds)} if kinds else {}
    given |= {"before": before} if before is not None else {}
    return _page_query(bool(states), bool(kinds), before is not None, text), given


@functools.cache
def _page_query(states: bool, kinds: bool, before: bool, text: bool) -> Select[Any]:
    query = select(*(_SUMMARY_TEXT if text else _SUMMARY)).order_by(_OPERATIONS.id.desc()).limit(bindparam("most"))
    if states:
        query = query.where(_OPERATIONS.state.in_(bindparam("states", expanding=True)))
    if kinds:
        query = query.where(_OPERATIONS.kind.in_(bindparam("kinds", expanding=True)))
    if before:
        query = query.where(_OPERATIONS.id < bindparam("before"))
    return query


def _operation(row: Any) -> Operation:
    if row.state not in STATES:
        raise ValueError(f"{row.state!r} is not a state of an operation")
    return Operation(**{name: getattr(row, name) for name in Operation.__dataclass_fields__})


async def _read(connection: Reading, operation_id: str) -> Operation:
    row = (await connection.execute(_GET, {"id": operation_id})).one_or_none()
    if row is None:
        raise UnknownOperationError(operation_id)
    return _operation(row)


async def _record(connection: AsyncConnection, operation_id: str, kind: str, data: dict[str, Any]) -> None:
    await connection.execute(insert(EventRow).values(operation_id=operation_id, at=_now(), kind=kind, data=data))


async def _move(
    connection: AsyncConnection,
    operation_id: str,
    target: State,
    attempt: int | None,
    values: Mapping[str, Any],
    data: dict[str, Any],
    *,
    sources: set[str] | None = None,
) -> Operation:
    """Compare and set: change the row only if its state (and attempt) are still those that the caller expects."""
    allowed = sources_of(target) if sources is None else sources_of(target) & sources
    statement = update(OperationRow).where(OperationRow.id == operation_id, OperationRow.state.in_(allowed))
    if attempt is not None:
        statement = statement.where(OperationRow.attempt == attempt)
    done = await connection.execute(statement.values(state=target, **values))
    operation = await _read(connection, operation_id)
    if not done.rowcount:
        raise TransitionError(operation)
    await _record(connection, operation_id, target, {"attempt": operation.attempt, **data})
    return operation


async def _end_attempt(
    connection: AsyncConnection, operation_id: str, attempt: int, outcome: str, *, counts: bool = False
) -> None:
    await connection.execute(
        update(AttemptRow)
        .where(AttemptRow.operation_id == operation_id, AttemptRow.attempt == attempt)
        .values(ended_at=_now(), outcome=outcome, counts=counts)
    )

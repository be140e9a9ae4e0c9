"""Streams of the events of operations, as Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from ktrdr.api.http.problems import Problem
from ktrdr.api.ledger.records import Event
from ktrdr.api.ledger.states import TERMINAL
from ktrdr.api.routes.operations import OperationId
from ktrdr.api.services import Opened

__all__ = ["router"]

router = APIRouter(tags=["operations"])

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern="^[0-9]{1,18}$",
        description="`id` of the last event that the client received; the stream continues after it.",
    ),
]

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such operation"}}


async def _position_of_all(opened: Opened, last_event_id: LastEventId = None) -> int:
    return await opened.ledger.last_event() if last_event_id is None else int(last_event_id)


async def _position_of_one(operation_id: OperationId, opened: Opened, last_event_id: LastEventId = None) -> int:
    await opened.ledger.get(operation_id)  # an unknown operation is answered with 404 before the stream begins
    return int(last_event_id or 0)


def _sent(event: Event | None) -> ServerSentEvent:
    if event is None:
        return ServerSentEvent(comment="waiting")
    data = {"operation_id": event.operation_id, "at": event.at.isoformat(), **event.data}
    return ServerSentEvent(id=str(event.seq), event=event.kind, data=data)


@router.get("/events", response_class=EventSourceResponse)
async def stream_events(
    opened: Opened, after: Annotated[int, Depends(_position_of_all)]
) -> AsyncIterator[ServerSentEvent]:
    """Stream the events of all operations from now on, or after ``Last-Event-ID``.

    Only the newest progress event of an operation is kept, so a client that reconnects receives no older ones.
    """
    async for event in opened.operations.broadcast.stream(after):
        yield _sent(event)


@router.get("/operations/{operation_id}/events", response_class=EventSourceResponse, responses=_MISSING)
async def stream_operation_events(
    operation_id: OperationId, opened: Opened, after: Annotated[int, Depends(_position_of_one)]
) -> AsyncIterator[ServerSentEvent]:
    """Stream the events of one operation from its beginning, or after ``Last-Event-ID``, until it has ended."""
    if (await opened.ledger.get(operation_id)).state in TERMINAL:
        for past in await opened.ledger.events_after(after, operation_id=operation_id):
            yield _sent(past)
        return
    async for event in opened.operations.broadcast.stream(after, operation_id):
        yield _sent(event)
        # The operation may have been resumed since this event, so its present state decides.
        if (event is None or event.kind in TERMINAL) and await _has_ended(opened, operation_id):
            return


async def _has_ended(opened: Opened, operation_id: str) -> bool:
    return (await opened.ledger.get(operation_id)).state in TERMINAL

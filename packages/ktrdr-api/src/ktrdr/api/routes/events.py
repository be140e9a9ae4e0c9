"""Server-Sent Events: what happens to operations, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from ktrdr.api.ledger.ledger import UnknownOperationError
from ktrdr.api.ledger.states import TERMINAL
from ktrdr.api.problems import ProblemError, not_found
from ktrdr.api.services import Services, services

__all__ = ["router"]

router = APIRouter(tags=["operations"])

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]


def _position(last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18):
        raise ProblemError(
            400,
            "invalid-request",
            "The request is not valid",
            "Last-Event-ID must be the id of an earlier event",
            field="header.Last-Event-ID",
        )
    return int(last_event_id)


async def _position_of_all(opened: Annotated[Services, Depends(services)], last_event_id: LastEventId = None) -> int:
    position = _position(last_event_id)
    return await opened.ledger.last_event() if position is None else position


async def _position_of_one(
    operation_id: str, opened: Annotated[Services, Depends(services)], last_event_id: LastEventId = None
) -> int:
    try:
        await opened.ledger.get(operation_id)
    except UnknownOperationError:
        raise not_found("operation", operation_id) from None
    return _position(last_event_id) or 0


@router.get("/operations-events", response_class=EventSourceResponse)
async def stream_all(
    opened: Annotated[Services, Depends(services)], after: Annotated[int, Depends(_position_of_all)]
) -> AsyncIterator[ServerSentEvent]:
    """Stream the events of all operations from now on, or from ``Last-Event-ID``."""
    async for event in opened.operations.broadcast.stream(after):
        yield (
            ServerSentEvent(comment="waiting")
            if event is None
            else ServerSentEvent(
                id=str(event.seq), event=event.kind, data={"operation_id": event.operation_id, **event.data}
            )
        )


@router.get("/operations/{operation_id}/events", response_class=EventSourceResponse)
async def stream_one(
    operation_id: str,
    opened: Annotated[Services, Depends(services)],
    after: Annotated[int, Depends(_position_of_one)],
) -> AsyncIterator[ServerSentEvent]:
    """Stream the events of one operation from its beginning, or from ``Last-Event-ID``; ends when it has ended."""
    async for event in opened.operations.broadcast.stream(after, operation_id):
        if event is None:
            if (await opened.ledger.get(operation_id)).state in TERMINAL:
                return
            yield ServerSentEvent(comment="waiting")
            continue
        yield ServerSentEvent(
            id=str(event.seq), event=event.kind, data={"operation_id": event.operation_id, **event.data}
        )
        if event.kind in TERMINAL and (await opened.ledger.get(operation_id)).state in TERMINAL:
            return

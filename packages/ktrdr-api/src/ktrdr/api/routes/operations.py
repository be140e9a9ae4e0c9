"""Operations: list, look at, cancel, run again."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from ktrdr.api.ledger.ledger import Operation, TransitionError, UnknownOperationError
from ktrdr.api.ledger.states import State
from ktrdr.api.problems import ProblemError, not_found
from ktrdr.api.services import Services, services

__all__ = ["OperationView", "router", "view"]

router = APIRouter(tags=["operations"])


class OperationView(BaseModel):
    """One operation. ``id`` sorts by time of creation; ``waiting_for`` says why it is still queued."""

    id: str
    kind: str
    state: State
    attempt: int
    requires: list[str]
    waiting_for: str | None
    cancel_requested: bool
    worker: str | None
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    heartbeat_at: dt.datetime | None
    finished_at: dt.datetime | None


class AttemptView(BaseModel):
    """One attempt; ``outcome`` is empty while it runs."""

    attempt: int
    worker: str | None
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str | None


class OperationDetail(OperationView):
    """An operation with the job it can always be run again from, and how each attempt went."""

    job: dict[str, Any]
    attempts: list[AttemptView]


class OperationPage(BaseModel):
    """Operations, newest first; pass ``next`` as ``before`` for the following page."""

    items: list[OperationView]
    next: str | None


def view(operation: Operation) -> OperationView:
    """Return what clients see of an operation."""
    return OperationView.model_validate(operation, from_attributes=True)


@router.get("/operations")
async def list_operations(
    opened: Annotated[Services, Depends(services)],
    state: Annotated[list[State] | None, Query()] = None,
    kind: Annotated[list[str] | None, Query()] = None,
    before: Annotated[str | None, Query(max_length=26, pattern="^[0-9A-Z]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> OperationPage:
    """List operations, newest first."""
    found = await opened.ledger.list(states=state or (), kinds=kind or (), before=before, limit=limit + 1)
    return OperationPage(
        items=[view(operation) for operation in found[:limit]],
        next=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/operations/{operation_id}")
async def get_operation(operation_id: str, opened: Annotated[Services, Depends(services)]) -> OperationDetail:
    """Return one operation with its job and attempts."""
    try:
        operation = await opened.ledger.get(operation_id)
    except UnknownOperationError:
        raise not_found("operation", operation_id) from None
    attempts = await opened.ledger.attempts(operation_id)
    return OperationDetail(**view(operation).model_dump(), job=dict(operation.job), attempts=attempts)


@router.post("/operations/{operation_id}/cancel", status_code=202)
async def cancel_operation(operation_id: str, opened: Annotated[Services, Depends(services)]) -> OperationView:
    """Cancel: at once if queued; a running one is asked to stop, and stopped by force after a grace period."""
    return await _changed(opened.operations.cancel(operation_id), operation_id, "cancelled")


@router.post("/operations/{operation_id}/resume", status_code=202)
async def resume_operation(operation_id: str, opened: Annotated[Services, Depends(services)]) -> OperationView:
    """Queue a failed or cancelled operation again; a training goes on from its last checkpoint."""
    return await _changed(opened.operations.retry(operation_id), operation_id, "resumed")


async def _changed(change: Any, operation_id: str, what: str) -> OperationView:
    try:
        return view(await change)
    except UnknownOperationError:
        raise not_found("operation", operation_id) from None
    except TransitionError as error:
        state = error.operation.state
        raise ProblemError(
            409, "wrong-state", "Not in this state", f"operation {operation_id} is {state} and cannot be {what}"
        ) from None

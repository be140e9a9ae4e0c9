"""Operations: list, inspect, cancel, resume and retry them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ktrdr.api.http.problems import Problem
from ktrdr.api.ledger.operation_json import page_json, shown
from ktrdr.api.ledger.records import Idempotency, Operation
from ktrdr.api.ledger.states import State
from ktrdr.api.routes._shared.starting import STARTED, IdempotencyKey
from ktrdr.api.services import Opened
from ktrdr.core.errors import ErrorRecord

__all__ = ["OperationId", "OperationView", "router", "view"]

router = APIRouter(tags=["operations"])

_ID = "^[0-9A-HJKMNP-TV-Z]{26}$"
OperationId = Annotated[str, Path(pattern=_ID, examples=["01K9ZJ5T3C8E6W2V4R7Q1M0N8B"])]

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such operation"}}
_STATE: dict[int | str, dict[str, Any]] = {
    **_MISSING,
    409: {"model": Problem, "description": "Not possible in the present state of the operation"},
}


class ErrorView(BaseModel):
    """Why an operation failed. `ktrdr ... --server` prints the same message and exits with the same status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "NotFoundError",
                    "message": "no 1h bars of EURUSD in the store; `ktrdr data import FILE` adds some",
                    "exit_status": 2,
                }
            ]
        }
    )

    type: Annotated[
        str,
        Field(
            description="Class of the error, such as `WorkerLostError` for an operation that lost too many workers;"
            " `system` for an error of the operating system, `fault` for a bug, `unknown` if no error was reported"
        ),
    ]
    message: Annotated[str, Field(description="The error in one sentence, for people")]
    exit_status: Annotated[
        int,
        Field(
            ge=1, le=255, description="Exit status of a command that ends with this error; 2 for a mistake in its input"
        ),
    ]


def _told(error: Any) -> Any:
    return error.to_json() if isinstance(error, ErrorRecord) else error


class OperationSummaryView(BaseModel):
    """One operation in a list, without its result and its job, which may be long.

    ``id`` sorts by time of creation; ``waiting_for`` says why the operation is still queued; ``progress`` is the newest
    report.
    """

    id: str
    kind: str
    state: State
    attempt: int
    requires: list[str]
    waiting_for: str | None
    cancel_requested: bool
    retry_of: str | None
    worker: str | None
    progress: dict[str, Any] | None
    error: Annotated[ErrorView | None, BeforeValidator(_told)]
    created_at: dt.datetime
    started_at: dt.datetime | None
    heartbeat_at: dt.datetime | None
    finished_at: dt.datetime | None


class OperationView(OperationSummaryView):
    """One operation with its ``result``."""

    result: dict[str, Any] | None


class AttemptView(BaseModel):
    """One attempt; ``outcome`` is null while it runs; ``counts``: the job itself may have caused its loss."""

    attempt: int
    worker: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str | None
    counts: bool


class OperationDetail(OperationView):
    """An operation with its job, from which it can be run again, and its attempts."""

    job: dict[str, Any]
    attempts: list[AttemptView]


class OperationPage(BaseModel):
    """Operations, newest first; pass ``next`` as ``before`` for the following page."""

    items: list[OperationSummaryView]
    next: str | None


def view(operation: Operation) -> OperationView:
    """Return the view of an operation for clients."""
    seen = OperationView.model_validate(operation, from_attributes=True)
    return seen.model_copy(update={"result": None if operation.result is None else shown(operation.result)})


@router.get("/operations", response_model=OperationPage)
async def list_operations(
    opened: Opened,
    state: Annotated[list[State] | None, Query()] = None,
    kind: Annotated[list[Annotated[str, Query(pattern="^[a-z_-]{1,32}$")]] | None, Query(max_length=20)] = None,
    before: Annotated[str | None, Query(pattern=_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List operations, newest first, without results and jobs: `GET /operations/{id}` returns those of one."""
    found = await opened.ledger.page_texts(states=state or (), kinds=kind or (), before=before, limit=limit + 1)
    following = found[limit - 1][0] if len(found) > limit else None
    return _json(page_json([text for _, text in found[:limit]], following))


@router.get("/operations/{operation_id}", responses=_MISSING, response_model=OperationDetail)
async def get_operation(operation_id: OperationId, opened: Opened) -> Response:
    """Return one operation with its result, its job and its attempts."""
    return _json(await opened.ledger.get_text(operation_id))


def _json(text: str) -> Response:
    # Texts of a worker may contain characters that UTF-8 cannot encode, such as half a surrogate pair: escape them.
    return Response(text.encode("utf-8", "backslashreplace"), media_type="application/json")


@router.post("/operations/{operation_id}/cancel", status_code=202, responses=_STATE)
async def cancel_operation(operation_id: OperationId, opened: Opened) -> OperationView:
    """Cancel a queued operation at once; stop a running one, by force after a grace period."""
    return view(await opened.operations.cancel(operation_id))


@router.post("/operations/{operation_id}/resume", status_code=202, responses=_STATE)
async def resume_operation(operation_id: OperationId, opened: Opened) -> OperationView:
    """Queue a failed or cancelled operation again, as its next attempt; a training continues from its checkpoint."""
    return view(await opened.operations.resume(operation_id))


@router.post("/operations/{operation_id}/retry", status_code=202, responses={**_MISSING, **STARTED})
async def retry_operation(
    operation_id: OperationId, response: Response, opened: Opened, idempotency_key: IdempotencyKey = None
) -> OperationView:
    """Queue the job of an operation again as a new operation, from the beginning, in any state of the first."""
    idempotency = Idempotency.of(idempotency_key, "retry", {"operation": operation_id})
    operation, _ = await opened.operations.retry(operation_id, idempotency=idempotency)
    response.headers["Location"] = f"/api/v1/operations/{operation.id}"
    return view(operation)

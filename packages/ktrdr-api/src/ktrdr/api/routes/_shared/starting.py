"""Parameters, responses and functions of routes that start an operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

from ktrdr.api.http.problems import Problem, ProblemError
from ktrdr.api.ledger.records import Idempotency, Operation
from ktrdr.api.services import Services

__all__ = ["STARTED", "IdempotencyKey", "completed", "start"]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Any text that the client chooses. The same key with the same request returns the same operation, "
        "however often it is sent; the same key with another request is refused.",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        examples=["2f1c9a52-5d0e-4a6c-9a52-b7f7a2f6f0c4"],
    ),
]

STARTED: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {"Location": {"description": "URL of the operation", "schema": {"type": "string"}}},
        "description": "The operation is queued; poll it, or follow its events",
    },
    409: {"model": Problem, "description": "The Idempotency-Key was used for another request"},
}


async def start(
    opened: Services,
    response: Response,
    kind: str,
    asked: BaseModel,
    idempotency_key: str | None,
    prepare: Callable[[], Awaitable[tuple[dict[str, Any], list[str]]]],
) -> Operation:
    """Queue an operation, and set the header Location to its URL.

    Args:
        opened: services of the server.
        response: gets the header.
        kind: kind of the operation.
        asked: the request.
        idempotency_key: that the client sent; ``None`` without one.
        prepare: checks the request, and returns the job and what it requires. It is not called for a repeated request,
            which gets the first operation even if the strategy or the model was changed since.
    """
    idempotency = Idempotency.of(idempotency_key, kind, asked.model_dump(mode="json"))
    earlier = await opened.ledger.find(idempotency) if idempotency is not None else None
    if earlier is not None:
        job, requires = dict(earlier.job), list(earlier.requires)
    else:
        job, requires = await prepare()
    operation, _ = await opened.operations.create(kind, job, requires, idempotency=idempotency)
    response.headers["Location"] = f"/api/v1/operations/{operation.id}"
    return operation


def completed(operation: Operation, kind: str) -> Mapping[str, Any]:
    """Return the result of a completed operation; raise ``ProblemError`` for any other."""
    if operation.kind != kind:
        raise ProblemError(404, "not-found", "Not found", f"there is no {kind} `{operation.id}`")
    if operation.state == "completed" and operation.result is not None:
        return operation.result
    reason = operation.waiting_for or (operation.error.message if operation.error else "")
    detail = f"{kind} {operation.id} is {operation.state} and has no result" + (f": {reason}" if reason else "")
    raise ProblemError(409, "no-result", "There is no result", detail)

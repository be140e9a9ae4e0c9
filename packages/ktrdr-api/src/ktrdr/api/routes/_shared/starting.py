"""Parameters, responses and functions of routes that start an operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Header, Response

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
    job: Mapping[str, Any],
    requires: Sequence[str],
    idempotency: Idempotency | None,
) -> Operation:
    """Queue an operation, and set the header Location to its URL."""
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

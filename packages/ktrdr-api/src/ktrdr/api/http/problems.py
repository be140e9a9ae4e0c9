"""Errors as RFC 9457 problem details: a stable type and the remedy, without tracebacks or paths of the server."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from ktrdr.api.http.uploads import UPLOAD_PREFIX
from ktrdr.api.ledger.records import (
    IdempotencyConflictError,
    LedgerUnavailableError,
    TransitionError,
    UnknownOperationError,
)
from ktrdr.core.errors import BadInputError, DiskFullError, NotFoundError, PluginError, StoreError
from ktrdr.core.files.disk_space import is_out_of_room
from ktrdr.core.home import home_directory
from ktrdr.core.jobs.refusals import message_of
from ktrdr.core.names import DEVICE_PATTERN, NAME_PATTERN, REFERENCE_PATTERN, SYMBOL_PATTERN
from ktrdr.core.short_texts import quoted

__all__ = [
    "MEDIA_TYPE",
    "PROBLEM_RESPONSES",
    "FieldError",
    "Problem",
    "ProblemError",
    "install_problem_handlers",
    "not_found",
    "problem_response",
]

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPES = "urn:ktrdr:problem:"


class FieldError(BaseModel):
    """One error: ``field`` is its place in the request, or in the strategy file at ``line`` and ``column``."""

    field: str
    message: str
    line: int | None = None
    column: int | None = None
    severity: str | None = None


class Problem(BaseModel):
    """An error (RFC 9457): ``type`` is stable, for programs; ``detail`` names the remedy, for people.

    ``field`` is the wrong part of the request, if there is one; ``errors`` lists all errors if there are several.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:ktrdr:problem:not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": "there is no strategy `mean_reversion`",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    errors: list[FieldError] | None = None


_TOLD = {
    400: "The body cannot be read",
    401: "A token is needed",
    403: "Not allowed with this token, from this site or with this Host header",
    422: "The request is not valid, or cannot be carried out",
    429: "Too many requests",
    413: "The body is too large",
    500: "An error in the server",
    503: "A ledger or the stored data of the server cannot be used just now",
    507: "The server's disk is full",
}

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description} for status, description in sorted(_TOLD.items())
}
"""The error responses that every route may give, besides its own."""


class ProblemError(Exception):
    """An exception that is answered with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        field: str | None = None,
        errors: Sequence[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            type=_TYPES + kind,
            title=title,
            status=status,
            detail=detail,
            field=field,
            errors=None if errors is None else list(errors),
        )
        self.headers = dict(headers or {})


def not_found(kind: str, name: str) -> ProblemError:
    """Return the problem for something that does not exist."""
    return ProblemError(404, "not-found", "Not found", f"there is no {kind} `{name}`")


def problem_response(
    status: int, kind: str, title: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a response with a problem."""
    return _answer(Problem(type=_TYPES + kind, title=title, status=status, detail=detail), headers)


def _without_paths(message: str) -> str:
    """Remove paths of the server from a message of core: clients must not see them."""
    message = message.replace(str(home_directory()), "$KTRDR_HOME")
    return re.sub(rf"[^\s'\"`]*/{UPLOAD_PREFIX}[^/\s]*/", "", message)


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        problem.model_dump(exclude_none=True), problem.status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every error with a problem."""

    @app.exception_handler(ProblemError)
    async def own(request: Request, error: ProblemError) -> JSONResponse:
        return _answer(error.problem, error.headers)

    @app.exception_handler(BadInputError)
    async def bad_input(request: Request, error: BadInputError) -> JSONResponse:
        return _answer(_bad_input(error))

    @app.exception_handler(UnknownOperationError)
    async def unknown(request: Request, error: UnknownOperationError) -> JSONResponse:
        return _answer(not_found("operation", str(error)).problem)

    @app.exception_handler(TransitionError)
    async def transition(request: Request, error: TransitionError) -> JSONResponse:
        detail = f"operation {error.operation.id} is {error.operation.state}; in this state the request is not possible"
        return problem_response(409, "wrong-state", "Not possible in this state", detail)

    @app.exception_handler(IdempotencyConflictError)
    async def conflict(request: Request, error: IdempotencyConflictError) -> JSONResponse:
        detail = "this Idempotency-Key was used for another request; take a new one"
        return problem_response(409, "idempotency-conflict", "The key was used before", detail)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(_invalid(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        title = HTTPStatus(error.status_code).phrase
        kind = "too-large" if error.status_code == 413 else title.lower().replace(" ", "-")
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_allowed(request))) or headers.get("Allow", "GET")
        return problem_response(error.status_code, kind, title, str(error.detail), headers=headers)

    @app.exception_handler(LedgerUnavailableError)
    async def unavailable(request: Request, error: LedgerUnavailableError) -> JSONResponse:
        _log.warning("the ledger cannot be reached: %s", error)
        detail = "the ledger cannot be reached or read just now; try again, and see the server's log for the reason"
        return problem_response(503, "ledger-unreachable", "Try again", detail, headers={"Retry-After": "1"})

    @app.exception_handler(OSError)
    async def system(request: Request, error: OSError) -> JSONResponse:
        if not is_out_of_room(error):
            raise error
        return await full(request, error)

    @app.exception_handler(DiskFullError)
    async def full(request: Request, error: Exception) -> JSONResponse:
        _log.error("no space is left: %s", error)
        detail = "the server's disk is full; free some space, and try again"
        return problem_response(507, "disk-full", "The disk is full", detail)

    @app.exception_handler(StoreError)
    async def unusable(request: Request, error: StoreError) -> JSONResponse:
        # The message names files and machines of the server, which clients must not see.
        _log.error("%s", error)
        detail = (
            "the stored data of the server cannot be read or written just now; try again, and see the server's log"
            " for the reason"
        )
        return problem_response(503, "store-unusable", "Try again", detail, headers={"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        # The traceback is in the server's log only.
        return problem_response(500, "fault", "An error in the server", "see the server's log for the reason")


def _allowed(request: Request) -> set[str]:
    """Return every method of the path: Starlette names only those of the first route that matches."""
    methods: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        pattern = "".join(
            "[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"({\w+})", template)
        )
        if re.fullmatch(pattern, request.url.path):
            methods |= {method.upper() for method in operations}
    return methods | ({"HEAD"} if "GET" in methods else set())


def _bad_input(error: BadInputError) -> Problem:
    from ktrdr.core.strategy.diagnostics import StrategyError

    status, kind, title = 422, "bad-input", "The request cannot be carried out"
    errors = None
    if isinstance(error, StrategyError):
        kind, title = "strategy", "The strategy has errors"
        errors = [
            FieldError(
                field=item.path, message=item.message, line=item.line, column=item.column, severity=item.severity
            )
            for item in error.diagnostics
        ]
    elif isinstance(error, PluginError):
        kind, title = "plugin", "A plugin cannot be used"
    elif isinstance(error, NotFoundError):
        status, kind, title = 404, "not-found", "Not found"
    detail = _without_paths(str(error))
    return Problem(type=_TYPES + kind, title=title, status=status, detail=detail, errors=errors)


_WRITTEN_LIKE = {
    f"^{NAME_PATTERN}$": "rsi_reversion",
    f"^{REFERENCE_PATTERN}$": "rsi_reversion/1",
    f"^{DEVICE_PATTERN}$": "cpu or cuda:1",
    f"^{SYMBOL_PATTERN}$": "EURUSD",
}
"""An example of what each pattern of a name asks for, which says more than the pattern."""


def _message(found: ErrorDetails) -> str:
    if found["type"] == "string_pattern_mismatch" and found["ctx"]["pattern"] in _WRITTEN_LIKE:
        return f"must be written like {_WRITTEN_LIKE[found['ctx']['pattern']]}, not {quoted(found['input'])}"
    return message_of(found)


def _invalid(error: RequestValidationError) -> Problem:
    errors = [
        FieldError(field=".".join(str(part) for part in found["loc"]), message=_message(found))
        for found in error.errors()
    ]
    return Problem(
        type=_TYPES + "invalid-request",
        title="The request is not valid",
        status=422,
        detail=f"{errors[0].field}: {errors[0].message}",
        field=errors[0].field,
        errors=errors,
    )

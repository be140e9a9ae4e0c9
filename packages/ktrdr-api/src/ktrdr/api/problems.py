"""Errors as RFC 9457 problem details: a stable type, the remedy, never a stack trace or a path of the server."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ktrdr.core.errors import BadInputError, NotFoundError, PluginError
from ktrdr.core.settings import home_directory

__all__ = ["PROBLEM_RESPONSES", "Problem", "ProblemError", "install_problem_handlers", "not_found"]

_MEDIA_TYPE = "application/problem+json"
_TYPES = "urn:ktrdr:problem:"


class Problem(BaseModel):
    """RFC 9457. ``field`` is the place in the request at fault, where there is one."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "A problem (RFC 9457)", "content": {_MEDIA_TYPE: {}}},
}
"""What every route may answer besides its own."""


class ProblemError(Exception):
    """Raise to answer with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(type=_TYPES + kind, title=title, status=status, detail=detail, field=field)
        self.headers = dict(headers or {})


def not_found(kind: str, name: str) -> ProblemError:
    """Return the problem of a thing that is not there."""
    return ProblemError(404, "not-found", "Not found", f"there is no {kind} `{name}`")


def _without_paths(message: str) -> str:
    """Core names the directory it looked in, which is no business of a client."""
    return message.replace(str(home_directory()), "$KTRDR_HOME")


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        problem.model_dump(exclude_none=True), problem.status, dict(headers or {}), media_type=_MEDIA_TYPE
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` as a problem."""

    @app.exception_handler(ProblemError)
    async def own(request: Request, error: ProblemError) -> JSONResponse:
        return _answer(error.problem, error.headers)

    @app.exception_handler(BadInputError)
    async def bad_input(request: Request, error: BadInputError) -> JSONResponse:
        status, kind, title = 422, "bad-input", "The request cannot be carried out"
        if isinstance(error, PluginError):
            kind, title = "plugin", "A plugin cannot be used"
        elif isinstance(error, NotFoundError):
            status, kind, title = 404, "not-found", "Not found"
        return _answer(Problem(type=_TYPES + kind, title=title, status=status, detail=_without_paths(str(error))))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _answer(
            Problem(
                type=_TYPES + "invalid-request",
                title="The request is not valid",
                status=422,
                detail=f"{place}: {first['msg']}",
                field=place,
            )
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        title = HTTPStatus(error.status_code).phrase
        kind = title.lower().replace(" ", "-")
        return _answer(
            Problem(type=_TYPES + kind, title=title, status=error.status_code, detail=str(error.detail)), error.headers
        )

"""The OpenAPI document of FastAPI, with problem details under their own media type."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from ktrdr.api.http.problems import MEDIA_TYPE, Problem

__all__ = ["install_openapi", "operation_id"]

_PROBLEM = "#/components/schemas/Problem"


def operation_id(route: APIRoute) -> str:
    """Return the name of the route's function: it is short and unique, and does not depend on the path."""
    return route.name


def install_openapi(app: FastAPI) -> None:
    """Make ``app.openapi()`` return the document, which is built once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            for path in document["paths"].values():
                for operation in path.values():
                    for response in operation["responses"].values():
                        _move_problem(response.get("content", {}))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _move_problem(content: dict[str, Any]) -> None:
    """Move a problem to its media type: FastAPI lists every model under the media type of the route."""
    for media_type, described in list(content.items()):
        if described.get("schema", {}).get("$ref") == _PROBLEM:
            del content[media_type]
            content[MEDIA_TYPE] = {**described, "example": Problem.model_config["json_schema_extra"]["examples"][0]}  # type: ignore[index]

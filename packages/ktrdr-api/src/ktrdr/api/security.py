"""Who may ask."""

from __future__ import annotations

import secrets

from fastapi import Request

from ktrdr.api.problems import ProblemError

__all__ = ["require_token"]


def require_token(request: Request) -> None:
    """Refuse the request unless it carries the token, where one is set."""
    expected: str | None = request.app.state.token
    if expected is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(given.encode(), expected.encode()):
        raise ProblemError(
            401,
            "unauthorized",
            "A token is needed",
            "send the API token in the header `Authorization: Bearer <token>`",
            headers={"WWW-Authenticate": "Bearer"},
        )

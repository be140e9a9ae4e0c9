"""Who may ask."""

from __future__ import annotations

import secrets

from fastapi import Request

from ktrdr.api.problems import ProblemError
from ktrdr.api.settings import ApiSettings

__all__ = ["require_token"]


def _token(request: Request) -> str | None:
    state = request.app.state
    if not hasattr(state, "token"):
        settings = state.settings if state.settings is not None else ApiSettings()
        state.token = settings.resolved_token()
    return state.token


def require_token(request: Request) -> None:
    """Refuse the request unless it carries the token, where one is set."""
    expected = _token(request)
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

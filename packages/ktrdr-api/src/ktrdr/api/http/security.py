"""Bearer tokens: which requests need one, and which token allows what."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ktrdr.api.http.problems import ProblemError
from ktrdr.api.settings import Tokens

__all__ = ["changes_nothing", "require_token"]

_F = TypeVar("_F", bound=Callable[..., Any])
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MARK = "__ktrdr_changes_nothing__"

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="KTRDR_API_TOKEN, or KTRDR_API_READ_TOKEN for requests that change nothing. Needed only if it is set.",
)


def changes_nothing(endpoint: _F) -> _F:
    """Mark a POST endpoint that a read-only token may use."""
    setattr(endpoint, _MARK, True)
    return endpoint


async def require_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Refuse a request without a sufficient token, if the server has a token."""
    tokens: Tokens = request.app.state.tokens
    if tokens.write is None:
        return
    given = "" if credentials is None else credentials.credentials
    # Both comparisons always run, so that the time they take reveals nothing about either token.
    may_write = _same(given, tokens.write)
    may_read = tokens.read is not None and _same(given, tokens.read)
    if may_write:
        return
    if not may_read:
        raise ProblemError(
            401,
            "unauthorized",
            "A token is needed",
            "send the API token in the header `Authorization: Bearer <token>`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if request.method not in _SAFE and not getattr(request.scope.get("endpoint"), _MARK, False):
        raise ProblemError(
            403, "read-only", "This token may only read", "use the token that may also change things (KTRDR_API_TOKEN)"
        )


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())

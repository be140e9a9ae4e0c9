"""The outermost middleware: host and origin checks, rate limit, body limit, and security headers on every response.

It reads the settings when a request arrives, not when the application is created: they are known only once the server
has started.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ktrdr.api.http.problems import problem_response
from ktrdr.api.settings import ApiSettings, is_loopback
from ktrdr.core.errors import KtrdrError

__all__ = ["Guard", "RateLimiter"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UPLOADS = frozenset({"/api/v1/data", "/api/v1/models"})
_UNLIMITED = frozenset({"/api/v1/health", "/api/v1/health/ready"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https:; frame-ancestors 'none'"
)


class RateLimiter:
    """A token bucket per client, refilled at ``rate`` tokens per second, with a capacity of two seconds.

    Keeps the buckets of the ``most`` clients seen last; a client that is dropped starts again with a full bucket.
    """

    def __init__(self, rate: float, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._size = max(2 * rate, 1.0)
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one token; return 0, or the seconds until one is available."""
        now = self._clock()
        level, then = self._buckets.pop(client, (self._size, now))
        level = min(self._size, level + (now - then) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._buckets[client] = (level if wait else level - 1, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def __len__(self) -> int:
        return len(self._buckets)


class Guard:
    """ASGI middleware; ``state`` is that of the application, with ``settings`` and ``tokens`` once it has started."""

    def __init__(self, app: ASGIApp, *, state: Any) -> None:
        self._app = app
        self._state = state
        self._settings: ApiSettings | None = None
        self._inner: ASGIApp = app
        self._limiter: RateLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        self._prepare(self._state.settings)
        headers = Headers(scope=scope)
        send = _with_headers(scope, send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await problem_response(*refusal[:4], headers=refusal[4])(scope, receive, send)
            return
        limit = self._state.settings.max_upload if _is_upload(scope) else self._state.settings.max_body
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared) > limit:
            await problem_response(413, "too-large", "The body is too large", _too_large(limit))(scope, receive, send)
            return
        await self._inner(scope, _counted(receive, limit), send)

    def _prepare(self, settings: ApiSettings) -> None:
        if settings is self._settings:
            return
        self._settings = settings
        self._limiter = RateLimiter(settings.rate_limit) if settings.rate_limit else None
        self._inner = self._app
        if settings.cors_origins:
            self._inner = CORSMiddleware(
                self._app,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST", "PUT", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"],
                expose_headers=["ETag", "Location", "Retry-After"],
            )

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str, str, dict[str, str]] | None:
        server, client = scope.get("server"), scope.get("client")
        if self._state.tokens.write is None:
            # Our settings do not know the address of `uvicorn ktrdr.api.main:app --host 0.0.0.0`.
            if server is not None and server[1] is not None and not is_loopback(server[0]):
                detail = "without KTRDR_API_TOKEN this server answers on loopback only"
                return 403, "exposed", "No token is set", detail, {}
            # DNS rebinding: a web page reaches this server by a foreign name that resolves to this machine.
            if not is_loopback(_host_name(headers.get("host", ""))):
                detail = "without KTRDR_API_TOKEN this server answers to localhost and loopback addresses only"
                return 403, "foreign-host", "The Host header names another machine", detail, {}
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in _SAFE and not self._is_own(origin, scope, headers):
            detail = f"pages of {origin[:200]} may not change anything on this server; see KTRDR_API_CORS_ORIGINS"
            return 403, "foreign-origin", "The request comes from another site", detail, {}
        if self._limiter is not None and scope["path"] not in _UNLIMITED:
            wait = self._limiter.take(client[0] if client else "")
            if wait:
                seconds = str(max(1, round(wait + 0.5)))
                detail = f"try again in {seconds} s; the limit is KTRDR_API_RATE_LIMIT requests per second"
                return 429, "too-many-requests", "Too many requests", detail, {"Retry-After": seconds}
        return None

    def _is_own(self, origin: str, scope: Scope, headers: Headers) -> bool:
        own = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
        return origin == own or origin in self._state.settings.cors_origins

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop; an error that the user can correct becomes one sentence, without a traceback."""

        async def tell(message: Message) -> None:
            refusal = getattr(self._state, "refusal", None)
            if message["type"] == "lifespan.startup.failed" and refusal is not None:
                message = {**message, "message": refusal}
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except KtrdrError:
            if getattr(self._state, "refusal", None) is None:
                raise


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    return re.sub(r":\d*$", "", host)


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in _UPLOADS


def _too_large(limit: int) -> str:
    return f"this server accepts at most {limit} bytes; see KTRDR_API_MAX_BODY and KTRDR_API_MAX_UPLOAD"


def _counted(receive: Receive, limit: int) -> Receive:
    """Limit the bytes that are received: a body sent in chunks does not declare its length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, _too_large(limit))
        return message

    return counted


def _with_headers(scope: Scope, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if scope["path"] == "/api/v1/docs":
                headers["Content-Security-Policy"] = _DOCS_POLICY
        await send(message)

    return sending

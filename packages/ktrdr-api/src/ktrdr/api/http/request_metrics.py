"""Metrics for Prometheus: requests are counted as they are answered, the rest is measured on each scrape."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PREFIX", "Measure", "Metrics"]

PREFIX = "/api/v1"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one running application."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ktrdr_api_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "ktrdr_api_request_seconds",
            "Time until the headers of the response.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._operations = Gauge("ktrdr_operations", "Operations in the ledger.", ("state",), registry=self._registry)
        self._workers = Gauge("ktrdr_workers", "Workers connected.", registry=self._registry)
        self._running = Gauge("ktrdr_workers_running", "Operations that workers run now.", registry=self._registry)
        self._listeners = Gauge("ktrdr_api_event_streams", "Event streams open.", registry=self._registry)
        self._free = Gauge("ktrdr_home_free_bytes", "Free disk below KTRDR_HOME.", registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the path template, which bounds the number of label values."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(
        self, *, operations: Mapping[str, int], workers: int, running: int, listeners: int, free_bytes: int
    ) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        from prometheus_client import generate_latest

        for state, count in operations.items():
            self._operations.labels(state).set(count)
        self._workers.set(workers)
        self._running.set(running)
        self._listeners.set(listeners)
        self._free.set(free_bytes)
        return generate_latest(self._registry)


class Measure:
    """ASGI middleware that counts requests and measures their time."""

    def __init__(self, app: ASGIApp, *, state: Any) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - start
                metrics: Metrics = self._state.metrics
                metrics.answered(scope["method"], _template(scope), message["status"], seconds)
            await send(message)

        await self._app(scope, receive, sending)


def _template(scope: Scope) -> str:
    # All unknown paths share one label: clients can invent any number of them.
    path: str = getattr(scope.get("route"), "path", "none")
    # The path of a route lacks the prefix that the router was included with.
    return path if path in ("none", "/") or path.startswith(PREFIX) else PREFIX + path

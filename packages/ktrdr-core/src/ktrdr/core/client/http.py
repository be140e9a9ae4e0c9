"""HTTP client of the API."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from ktrdr.core.errors import BadInputError, KtrdrError, NotFoundError, one_line

if TYPE_CHECKING:
    import httpx2

__all__ = ["Client", "ServerAwayError"]

_PREFIX = "/api/v1"
_SECONDS = 30.0
_TRIES = 4
_TRY_AGAIN = frozenset({429, 503})
_ABSENT = object()


class ServerAwayError(KtrdrError):
    """The server does not answer, or is busy; a later request may succeed."""


class Client:
    """Client of the server at ``url``, such as ``http://127.0.0.1:8000``.

    Requests that can be repeated safely are repeated when the server does not answer: reading, and starting with an
    idempotency key. The token is ``KTRDR_API_TOKEN`` if ``token`` is not given.

    Raises:
        BadInputError: ``url`` is not the address of a server.
    """

    def __init__(self, url: str, *, token: str | None = None, transport: httpx2.BaseTransport | None = None) -> None:
        import httpx2

        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInputError(f"`{url}` is not the address of a server; write for example http://127.0.0.1:8000")
        if parts.username or parts.password:
            raise BadInputError("the address of a server holds no password; set KTRDR_API_TOKEN instead")
        path = parts.path.rstrip("/")
        self.url = f"{parts.scheme}://{parts.netloc}{path.removesuffix(_PREFIX)}"
        token = token if token is not None else os.environ.get("KTRDR_API_TOKEN")
        self._http = httpx2.Client(
            base_url=self.url + _PREFIX,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def start(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start a ``training``, ``evaluation``, ``verdict``, ``backtest`` or ``sweep``; repeats start one operation."""
        key = str(uuid4())
        return self._ask("POST", f"/{kind}s", json=dict(request), headers={"Idempotency-Key": key})

    def operation(self, operation_id: str) -> dict[str, Any]:
        """Return an operation, with its job."""
        return self._ask("GET", f"/operations/{operation_id}")

    def cancel(self, operation_id: str) -> dict[str, Any]:
        """Cancel an operation and return it; one that has ended is returned unchanged."""
        try:
            return self._ask("POST", f"/operations/{operation_id}/cancel")
        except BadInputError:
            return self.operation(operation_id)

    def resume(self, operation_id: str) -> dict[str, Any]:
        """Queue a failed or cancelled operation again."""
        return self._ask("POST", f"/operations/{operation_id}/resume")

    def last_stopped(self, kind: str, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the newest of the last 100 cancelled or failed operations with a job, or ``None``.

        Args:
            kind: of the operation.
            job: what the job must have; other keys do not matter.
        """
        parameters = {"kind": kind, "state": ["cancelled", "failed"], "limit": 100}
        for found in self._ask("GET", "/operations", params=parameters)["items"]:
            operation = self.operation(found["id"])
            if all(operation["job"].get(key, _ABSENT) == value for key, value in job.items()):
                return operation
        return None

    def model(self, ref: str) -> dict[str, Any]:
        """Return a model: its ``manifest`` and ``history``."""
        return self._ask("GET", f"/models/{ref}")

    def fetch(self, path: str, file: Path) -> Path:
        """Download ``path`` to ``file``."""
        with self._answering(), self._http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
            self._check(answer)
            with file.open("wb") as target:
                for block in answer.iter_bytes():
                    target.write(block)
        return file

    @contextmanager
    def lines(self, path: str, *, last: str | None) -> Iterator[Iterator[str]]:
        """Yield the lines of a stream of events, starting after the event with the id ``last``."""
        headers = {} if last is None else {"Last-Event-ID": last}
        # The server sends at least a comment every fifteen seconds.
        with self._answering(), self._http.stream("GET", path, headers=headers, timeout=60.0) as answer:
            if answer.is_error:
                answer.read()
            self._check(answer)
            yield answer.iter_lines()

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        for delay in (*(0.5 * 2**number for number in range(_TRIES - 1)), None):
            try:
                with self._answering():
                    answer = self._http.request(method, path, **request)
                self._check(answer)
                return answer.json() if answer.content else None
            except ServerAwayError:
                if delay is None:
                    raise
                time.sleep(delay)
        raise AssertionError("unreachable")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except httpx2.TransportError as error:
            raise ServerAwayError(
                f"no KTRDR server answers at {self.url} ({one_line(error)}); start one with `ktrdr up` or `ktrdr"
                " serve`, or correct --server"
            ) from error

    def _check(self, answer: httpx2.Response) -> None:
        if not answer.is_error:
            return
        try:
            problem = answer.json()
            detail = str(problem["detail"])
        except (ValueError, KeyError, TypeError):
            raise KtrdrError(f"{self.url} is not a KTRDR server: it answered {answer.status_code}") from None
        if answer.status_code in _TRY_AGAIN:
            raise ServerAwayError(f"the server at {self.url} is busy: {detail}")
        if answer.status_code == 401:
            raise BadInputError(
                f"the server at {self.url} needs a token; set KTRDR_API_TOKEN to the token of the server"
            )
        if answer.status_code >= 500:
            raise KtrdrError(f"the server at {self.url} failed: {detail}")
        error: Callable[[str], KtrdrError] = NotFoundError if answer.status_code == 404 else BadInputError
        raise error(detail)

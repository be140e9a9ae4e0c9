"""Waiting for an operation on a server, with the progress, cancellation and errors of a local run."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.client.http import Client, ServerAwayError
from ktrdr.core.errors import CancelledError, ErrorRecord, KtrdrError, RemoteError
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["ServerEvent", "follow", "parse_events"]

_ENDS = frozenset({"completed", "failed", "cancelled"})
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_TRIES = 1.0
_LONGEST_SILENCE = 300.0


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One Server-Sent Event of an operation."""

    id: str
    kind: str
    data: Mapping[str, Any]


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Yield the Server-Sent Events in the lines of a stream; comments and events without data are left out.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, "Interpreting an event stream".
    """
    identifier, kind = "", "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(identifier, kind, json.loads("\n".join(data)))
            kind, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            identifier = value
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)


def _say_nothing(sentence: str) -> None:
    pass


def follow(
    client: Client,
    operation_id: str,
    *,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], object] = _say_nothing,
    cancellation: Cancellation | None = None,
) -> dict[str, Any]:
    """Wait for an operation to complete, and return its result.

    A server that does not answer is tried again for five minutes; the operation is not affected.

    Args:
        client: client of the server.
        operation_id: id of the operation.
        progress: called with every progress event.
        say: called with a sentence when the operation is queued.
        cancellation: to cancel the operation.

    Raises:
        CancelledError: the operation was cancelled, here or elsewhere.
        RemoteError: the operation failed; the message and exit status are those of a local run.
        KtrdrError: the server did not answer for five minutes.
    """
    reader = _Reader(client, operation_id)
    reader.start()
    asked = False
    while True:
        if cancellation is not None and cancellation.requested and not asked:
            asked = True
            client.cancel(operation_id)
        try:
            news = reader.news.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            continue
        if isinstance(news, KtrdrError):
            raise news
        if news is None:
            return _outcome(client.operation(operation_id))
        _report(news, progress, say)


def _report(event: ServerEvent, progress: Progress, say: Callable[[str], object]) -> None:
    data = event.data
    if event.kind == "progress":
        progress(ProgressEvent.from_json(data))
    elif event.kind == "waiting" and data.get("waiting_for"):
        say(f"Queued: {data['waiting_for']}.")
    elif event.kind == "queued" and data.get("reason"):
        say(f"Queued again: {data['reason']}.")


def _outcome(operation: Mapping[str, Any]) -> dict[str, Any]:
    if operation["state"] == "completed":
        return dict(operation["result"])
    if operation["state"] == "cancelled":
        raise CancelledError("the operation was cancelled")
    raise RemoteError(ErrorRecord.from_json(operation["error"]))


class _Reader(threading.Thread):
    """A thread that reads the stream of events and reconnects, so that the main thread can react to Ctrl+C.

    ``news`` receives the events, then ``None`` when the operation has ended, or the error that ends the wait.
    """

    def __init__(self, client: Client, operation_id: str) -> None:
        super().__init__(name=f"events of {operation_id}", daemon=True)
        self.news: queue.Queue[ServerEvent | KtrdrError | None] = queue.Queue()
        self._client = client
        self._operation_id = operation_id
        self._last: str | None = None

    def run(self) -> None:
        heard = time.monotonic()
        while True:
            try:
                for event in self._read():
                    heard = time.monotonic()
                    self.news.put(event)
                heard = time.monotonic()
                if self._client.operation(self._operation_id)["state"] in _ENDS:
                    self.news.put(None)
                    return
            except ServerAwayError as error:
                if time.monotonic() - heard > _LONGEST_SILENCE:
                    message = (
                        f"{error}; operation {self._operation_id} continues on the server, which will have its result"
                    )
                    self.news.put(KtrdrError(message))
                    return
            except KtrdrError as error:
                self.news.put(error)
                return
            time.sleep(_SECONDS_BETWEEN_TRIES)

    def _read(self) -> Iterator[ServerEvent]:
        with self._client.lines(f"/operations/{self._operation_id}/events", last=self._last) as lines:
            for event in parse_events(lines):
                self._last = event.id
                yield event

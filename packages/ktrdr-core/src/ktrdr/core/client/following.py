"""Follow an operation on a server as if it ran here: the same progress, the same cancellation, the same errors."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.client.http import Client, ServerAwayError
from ktrdr.core.errors import BadInputError, CancelledError, KtrdrError, PluginError
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["ServerEvent", "follow", "parse_events"]

_ENDS = frozenset({"completed", "failed", "cancelled"})
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_TRIES = 1.0
_LONGEST_SILENCE = 300.0
# What work raises because of its input is such an error here too.
_INPUT_ERRORS = frozenset(
    {"StrategyError", "NotFoundError", "FileError", "BundleError", "StoreError", "MissingPluginError"}
)


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One Server-Sent Event of an operation."""

    id: str
    kind: str
    data: Mapping[str, Any]


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Yield the events in the lines of a stream; comments and events without data are left out.

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
    """Return the result of an operation once it has completed. ``say`` is told why it waits, if it does.

    A server that goes away is waited for, five minutes at most; the operation does not mind.

    Raises:
        CancelledError: it was cancelled, here or elsewhere.
        BadInputError: it failed because of what it was given.
        KtrdrError: it failed otherwise, or the server stayed away.
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
        progress(
            ProgressEvent(
                step=str(data.get("step", "")),
                done=int(data.get("done", 0)),
                total=int(data.get("total", 0)),
                unit=str(data.get("unit", "")),
                fraction=float(data.get("fraction", 0.0)),
                message=str(data.get("message", "")),
                metrics=data.get("metrics", {}),
            )
        )
    elif event.kind == "waiting" and data.get("waiting_for"):
        say(f"Queued: {data['waiting_for']}.")
    elif event.kind == "queued" and data.get("reason"):
        say(f"Queued again: {data['reason']}.")


def _outcome(operation: Mapping[str, Any]) -> dict[str, Any]:
    if operation["state"] == "completed":
        return dict(operation["result"])
    if operation["state"] == "cancelled":
        raise CancelledError("the operation was cancelled")
    error = operation["error"] or {}
    message, kind = str(error.get("message", "no reason was given")), error.get("type")
    if kind == "PluginError":
        raise PluginError(message)
    raise (BadInputError if kind == "BadInputError" or kind in _INPUT_ERRORS else KtrdrError)(message)


class _Reader(threading.Thread):
    """Reads the stream, beside whoever must stay able to react to Ctrl+C, and comes back when it breaks.

    ``news`` gets the events, ``None`` once the operation has ended, or the error that ends the following.
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
                    message = f"{error}; operation {self._operation_id} goes on without us, its result will be there"
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

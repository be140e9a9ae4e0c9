"""Distribution of the ledger's events to event streams.

One task reads new events and gives them to all listeners in this process, so that a thousand idle listeners need no
thread and no query. All events are in the ledger: a listener that connects late, reconnects or falls behind reads them
there, so a restart loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ktrdr.api.engine.port import log_failure
from ktrdr.api.ledger.records import Event

if TYPE_CHECKING:
    from ktrdr.api.ledger.ledger import Ledger

__all__ = ["Broadcast"]

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0
_PAGE = 500
_MOST_WAITING = 1000
"""Events that are buffered for one listener; a slower listener reads the ledger again instead."""


class _Listener:
    """The buffered events of one stream. ``behind``: events were dropped, and must be read from the ledger."""

    def __init__(self, operation_id: str | None) -> None:
        self.operation_id = operation_id
        self.arrived: deque[Event] = deque()
        self.news = asyncio.Event()
        self.behind = True

    def give(self, event: Event) -> None:
        if self.operation_id not in (None, event.operation_id):
            return
        if len(self.arrived) >= _MOST_WAITING:
            self.arrived.clear()
            self.behind = True
        elif not self.behind:
            self.arrived.append(event)
        self.news.set()


class Broadcast:
    """Sends the events of all processes to the listeners in this process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listeners: set[_Listener] = set()
        self._written = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._seen = 0

    @property
    def listeners(self) -> int:
        """Number of open streams."""
        return len(self._listeners)

    async def start(self) -> None:
        """Begin to distribute the events that are written from now on."""
        self._seen = await self._ledger.last_event()
        self._task = asyncio.create_task(self._run(), name="event broadcast")
        self._task.add_done_callback(log_failure)

    def working(self) -> bool:
        """Return True while events are distributed."""
        return self._task is not None and not self._task.done()

    def end(self) -> None:
        """End every stream, also those that are opened later."""
        self._closed = True
        for listener in self._listeners:
            listener.news.set()

    async def close(self) -> None:
        """End every stream and stop the task."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Read the ledger now, because events were written."""
        self._written.set()

    async def stream(self, after: int, operation_id: str | None = None) -> AsyncIterator[Event | None]:
        """Yield the events after number ``after`` until closed, and ``None`` every few seconds without events."""
        listener = _Listener(operation_id)
        self._listeners.add(listener)
        try:
            while not self._closed:
                listener.news.clear()
                if listener.behind:
                    # New events are buffered from here on; earlier ones are read from the ledger.
                    listener.behind = False
                    async for event in self._read(after, operation_id):
                        after = event.seq
                        yield event
                while listener.arrived:
                    event = listener.arrived.popleft()
                    if event.seq > after:
                        after = event.seq
                        yield event
                if listener.behind:
                    continue
                try:
                    async with asyncio.timeout(_SECONDS_BETWEEN_SIGNS_OF_LIFE):
                        await listener.news.wait()
                except TimeoutError:
                    yield None
        finally:
            self._listeners.discard(listener)

    async def _read(self, after: int, operation_id: str | None) -> AsyncIterator[Event]:
        while True:
            events = await self._ledger.events_after(after, operation_id=operation_id, limit=_PAGE)
            for event in events:
                after = event.seq
                yield event
            if len(events) < _PAGE:
                return

    async def _run(self) -> None:
        while True:
            self._written.clear()
            try:
                await self._look()
            except OSError as error:
                _log.warning("events cannot be read just now: %s", error)
            # A cancellation during an error of the database may be raised as that error.
            if self._closed:
                return
            # Not `wait_for`: on Python 3.11 it loses a cancellation that coincides with the event, and the server would
            # never stop. The time limit is for events that another process writes to the same ledger.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    await self._written.wait()

    async def _look(self) -> None:
        async for event in self._read(self._seen, None):
            self._seen = event.seq
            for listener in self._listeners:
                listener.give(event)

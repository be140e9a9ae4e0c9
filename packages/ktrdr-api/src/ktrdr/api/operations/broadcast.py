"""Hand events of the ledger to everybody who listens.

One task reads what is new and gives it to all listeners in this process, so a thousand idle ones cost no thread and no
query. What happened stands in the ledger: a listener that comes late, comes back or falls behind reads it there, and
nothing is lost over a restart.
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
"""Events kept for one listener; a slower one reads the ledger again instead."""


class _Listener:
    """What has arrived for one stream. ``behind``: something was dropped, and is to be read from the ledger."""

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
    """Tells listeners in this process what happens, whichever process wrote it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listeners: set[_Listener] = set()
        self._written = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._seen = 0

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    async def start(self) -> None:
        """Begin to hand on what is written from now on."""
        self._seen = await self._ledger.last_event()
        self._task = asyncio.create_task(self._run(), name="event broadcast")
        self._task.add_done_callback(log_failure)

    def working(self) -> bool:
        """Return True while events are handed on."""
        return self._task is not None and not self._task.done()

    def end(self) -> None:
        """End every stream, now and from now on."""
        self._closed = True
        for listener in self._listeners:
            listener.news.set()

    async def close(self) -> None:
        """End every stream and stop."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Say that something was written."""
        self._written.set()

    async def stream(self, after: int, operation_id: str | None = None) -> AsyncIterator[Event | None]:
        """Yield events after ``after`` until closed, and ``None`` now and then while nothing happens."""
        listener = _Listener(operation_id)
        self._listeners.add(listener)
        try:
            while not self._closed:
                listener.news.clear()
                if listener.behind:
                    # From here on what is written arrives; what was written before is read.
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
            # A cancellation that comes while the database fails may be told as that failure.
            if self._closed:
                return
            # Not `wait_for`: on Python 3.11 it loses a cancellation that comes together with the event, and the server
            # would never stop. Another process may write to the same ledger without telling this one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    await self._written.wait()

    async def _look(self) -> None:
        async for event in self._read(self._seen, None):
            self._seen = event.seq
            for listener in self._listeners:
                listener.give(event)

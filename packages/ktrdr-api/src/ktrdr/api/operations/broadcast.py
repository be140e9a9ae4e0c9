"""Wake the listeners of the event stream.

A listener is an ``asyncio.Event`` and a position in the ledger's list of events: a thousand idle ones cost no thread.
What happened is read from the ledger, so nothing is lost between a wake-up and the next, or over a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ktrdr.api.ledger.ledger import Event, Ledger

__all__ = ["Broadcast"]

_SECONDS_BETWEEN_LOOKS = 5.0


class Broadcast:
    """Tell listeners in this process that the ledger has news."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: set[asyncio.Event] = set()

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._waiting)

    def wake(self) -> None:
        """Say that something was written."""
        for waiter in self._waiting:
            waiter.set()

    async def stream(self, after: int, operation_id: str | None = None) -> AsyncIterator[Event | None]:
        """Yield events after ``after`` for ever, and ``None`` now and then while nothing happens.

        Another process may write to the same ledger, so it is also looked at every few seconds.
        """
        waiter = asyncio.Event()
        self._waiting.add(waiter)
        try:
            while True:
                waiter.clear()
                events = await self._ledger.events_after(after, operation_id=operation_id)
                for event in events:
                    after = event.seq
                    yield event
                if events:
                    continue
                try:
                    await asyncio.wait_for(waiter.wait(), _SECONDS_BETWEEN_LOOKS)
                except TimeoutError:
                    yield None
        finally:
            self._waiting.discard(waiter)

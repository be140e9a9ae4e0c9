"""Writes progress to the ledger, a few times a second at most; the last report is always written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ktrdr.api.engine.port import Attempt
from ktrdr.api.operations.broadcast import Broadcast

if TYPE_CHECKING:
    from ktrdr.api.ledger.ledger import Ledger

__all__ = ["ProgressWriter"]

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_WRITES = 0.25


class ProgressWriter:
    """Keeps the newest progress of each attempt until it is written."""

    def __init__(self, ledger: Ledger, broadcast: Broadcast) -> None:
        self._ledger = ledger
        self._broadcast = broadcast
        self._newest: dict[Attempt, Mapping[str, Any]] = {}
        self._writers: dict[Attempt, asyncio.Task[None]] = {}

    def put(self, attempt: Attempt, progress: Mapping[str, Any]) -> None:
        """Accept a report; it replaces one that is not written yet."""
        self._newest[attempt] = progress
        if attempt not in self._writers:
            self._writers[attempt] = asyncio.create_task(self._write(attempt), name="progress")

    async def flush(self, attempt: Attempt) -> None:
        """Write the newest report of an attempt now, if it is not written yet."""
        progress = self._newest.pop(attempt, None)
        if progress is not None and await self._ledger.report(attempt.operation_id, attempt.number, progress):
            self._broadcast.wake()

    async def close(self) -> None:
        """Write all reports that are not written yet, and stop."""
        for attempt in list(self._newest):
            await self.flush(attempt)
        for task in self._writers.values():
            task.cancel()
        await asyncio.gather(*self._writers.values(), return_exceptions=True)

    async def _write(self, attempt: Attempt) -> None:
        try:
            while attempt in self._newest:
                try:
                    await self.flush(attempt)
                except OSError as error:
                    _log.warning("progress of %s could not be written: %s", attempt, error)
                await asyncio.sleep(_SECONDS_BETWEEN_WRITES)
        finally:
            self._writers.pop(attempt, None)

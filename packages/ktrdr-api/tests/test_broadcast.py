"""The broadcast of events stops when it is told to, whatever happens in the same moment."""

from __future__ import annotations

import asyncio

import pytest

from ktrdr.api.operations.broadcast import Broadcast


class QuietLedger:
    """A ledger in which nothing is written."""

    async def last_event(self):
        return 0

    async def events_after(self, after, *, operation_id, limit):
        return []


@pytest.mark.parametrize("steps", range(6))
def test_closing_is_not_lost_when_something_was_just_written(steps):
    """A server that had progress to write when it was stopped used to wait for ever."""

    async def write_and_close():
        broadcast = Broadcast(QuietLedger())
        await broadcast.start()
        for _ in range(10):
            await asyncio.sleep(0)
        broadcast.wake()
        for _ in range(steps):
            await asyncio.sleep(0)
        closing = asyncio.create_task(broadcast.close())
        done, _ = await asyncio.wait([closing], timeout=10)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return bool(done)

    assert asyncio.run(write_and_close())

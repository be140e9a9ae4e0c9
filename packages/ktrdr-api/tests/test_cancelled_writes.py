"""A write to a ledger on SQLite that is cancelled: its connection is closed before the event loop is."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import pytest

from ktrdr.api.ledger.database import open_database

SECONDS_TO_OPEN = 0.3


@pytest.fixture
def failed_threads(monkeypatch):
    """The exceptions that ended threads."""
    failed = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: failed.append(repr(failure.exc_value)))
    return failed


@pytest.fixture
def slow_to_open(monkeypatch):
    """Connections of aiosqlite take a while to open; the semaphore is released when the opening of one begins."""
    began, connect = threading.Semaphore(0), sqlite3.connect

    def slow(*arguments, **options):
        if "_connection_worker_thread" in threading.current_thread().name:
            began.release()
            time.sleep(SECONDS_TO_OPEN)
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", slow)
    return began


def ended(before):
    """Return True if every thread that was not there ``before`` ends within a second."""
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
    return set(threading.enumerate()) <= before


@pytest.mark.parametrize("times", [1, 2])
def test_a_write_that_is_cancelled_while_its_connection_opens_leaves_no_thread(
    tmp_path, slow_to_open, failed_threads, times
):
    async def write(database):
        async with database.writing():
            raise AssertionError("the write was to be cancelled first")

    async def go():
        database = open_database(f"sqlite:///{tmp_path}/ledger.sqlite")
        writing = asyncio.create_task(write(database))
        assert await asyncio.to_thread(slow_to_open.acquire, timeout=10)
        start = time.monotonic()
        for _ in range(times):
            writing.cancel()
            await asyncio.sleep(0)
        (outcome,) = await asyncio.gather(writing, return_exceptions=True)
        took = time.monotonic() - start
        await database.close()
        return outcome, took

    before = set(threading.enumerate())
    outcome, took = asyncio.run(go())
    assert isinstance(outcome, asyncio.CancelledError)
    assert took < SECONDS_TO_OPEN, "the cancellation waited for the opening"
    assert ended(before)
    assert failed_threads == []


def test_the_next_write_gets_a_connection_after_one_that_was_cancelled(tmp_path, slow_to_open):
    """The pool has one connection; the abandoned one must give its place back."""

    async def write(database):
        async with database.writing() as connection:
            return (await connection.exec_driver_sql("SELECT 7")).scalar_one()

    async def go():
        database = open_database(f"sqlite:///{tmp_path}/ledger.sqlite")
        try:
            cancelled = asyncio.create_task(write(database))
            assert await asyncio.to_thread(slow_to_open.acquire, timeout=10)
            cancelled.cancel()
            return await asyncio.wait_for(write(database), 10)
        finally:
            await database.close()

    assert asyncio.run(go()) == 7


def test_an_application_that_ends_in_its_first_round_leaves_no_thread(serving, slow_to_open, failed_threads):
    before = set(threading.enumerate())
    with serving() as client:
        assert client.get("/api/v1/health").status_code == 200
        # One connection made the tables, the second is that of the first round.
        assert all(slow_to_open.acquire(timeout=10) for _ in range(2))
    assert ended(before)
    assert failed_threads == []

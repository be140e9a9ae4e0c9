"""Server-Sent Events from a real server: in order, complete, resumed, and cheap while nothing happens."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import httpx2
import pytest

from ktrdr.api.ledger.database import open_database
from ktrdr.api.ledger.ledger import Ledger
from ktrdr.api.routes.strategies import EXAMPLE


@pytest.fixture
def engine(engine_double):
    return engine_double()


@pytest.fixture
def server(engine, Server):
    with Server(engine) as server:
        yield server


def start(server):
    answer = httpx2.post(f"{server.url}/trainings", json={"strategy_text": EXAMPLE})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def read(server, path, last=None, until=None, most=1000):
    """Return (id, event, data) until an event of kind ``until``, ``most`` of them, or the end of the stream."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    events, current = [], {}
    with httpx2.stream("GET", f"{server.url}{path}", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                field, _, value = line.partition(":")
                current[field] = value.strip()
            elif "event" in current:
                events.append((int(current["id"]), current["event"], json.loads(current["data"])))
                current = {}
                if events[-1][1] == until or len(events) == most:
                    break
    return events


def run_to_the_end(engine, attempt, steps=3):
    engine.tell("started", attempt, "tcp://w")
    for done in range(steps):
        engine.tell("progress", attempt, {"step": "training", "done": done})
        time.sleep(0.35)
    engine.tell("completed", attempt, {"model": "x/1"})


def test_the_stream_of_an_operation_tells_its_life_and_ends_with_it(server, engine, eventually):
    operation_id = start(server)
    (attempt,) = eventually(lambda: engine.submitted, len)
    worker = threading.Thread(target=run_to_the_end, args=(engine, attempt))
    worker.start()
    events = read(server, f"/operations/{operation_id}/events")
    worker.join()
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "queued"
    assert kinds[-1] == "completed"
    # Who comes late gets the newest progress; what follows is in order, and the last is always told.
    steps = [data["done"] for _, kind, data in events if kind == "progress"]
    assert steps == [0, 1, 2][-len(steps) :]
    assert {data["operation_id"] for _, _, data in events} == {operation_id}
    ids = [number for number, _, _ in events]
    assert ids == sorted(set(ids))

    # Afterwards: all that is kept, from the beginning or from where one was, and then the end at once.
    kept = read(server, f"/operations/{operation_id}/events")
    assert [kind for _, kind, _ in kept] == ["queued", "running", "progress", "completed"]
    assert read(server, f"/operations/{operation_id}/events", last=kept[1][0]) == kept[2:]
    assert read(server, f"/operations/{operation_id}/events", last=kept[-1][0]) == []


def test_who_was_away_misses_nothing_over_a_restart_of_the_server(engine_double, Server):
    first = engine_double(capabilities=None)
    with Server(first) as server:
        one = start(server)
        seen = read(server, "/events", last=0, most=2)
        assert [kind for _, kind, _ in seen] == ["queued", "waiting"]
        two = start(server)
        httpx2.post(f"{server.url}/operations/{one}/cancel")
    with Server(engine_double(capabilities=None)) as server:
        missed = read(server, "/events", last=seen[-1][0], until="cancelled")
        assert [(kind, data["operation_id"]) for _, kind, data in missed] == [
            ("queued", two),
            ("waiting", two),
            ("cancelled", one),
        ]


def test_without_a_position_the_stream_of_all_begins_now(server, engine, eventually):
    start(server)
    eventually(lambda: engine.submitted, len)
    heard = []
    listener = threading.Thread(target=lambda: heard.extend(read(server, "/events", until="queued")))
    listener.start()
    eventually(lambda: server.app.state.services.operations.broadcast.listeners, bool)
    second = start(server)
    listener.join(20)
    assert [(kind, data["operation_id"]) for _, kind, data in heard] == [("queued", second)]


@pytest.mark.parametrize("last", ["x", "-1", "1e3", "9" * 19])
def test_a_position_that_is_none_is_refused(server, last):
    answer = httpx2.get(f"{server.url}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 422
    assert answer.json()["field"] == "header.Last-Event-ID"


def test_the_stream_of_an_operation_that_is_not_there_is_not_there(server):
    assert httpx2.get(f"{server.url}/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B/events").status_code == 404


def test_a_thousand_idle_listeners_cost_no_thread_and_no_query(server, engine, eventually, monkeypatch):
    services = server.app.state.services
    read_ledger = services.ledger.events_after
    queries = []

    async def count(*args, **kwargs):
        queries.append(args)
        return await read_ledger(*args, **kwargs)

    monkeypatch.setattr(services.ledger, "events_after", count)
    threads = threading.active_count()

    async def listen():
        heard = []
        release = asyncio.Event()

        async def one():
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            while b"event: queued" not in (line := await reader.readline()):
                assert line or release.is_set()
            heard.append(1)
            writer.close()

        listeners = [asyncio.create_task(one()) for _ in range(1000)]
        broadcast = services.operations.broadcast
        deadline = time.monotonic() + 60
        while broadcast.listeners < 1000:
            assert time.monotonic() < deadline, broadcast.listeners
            await asyncio.sleep(0.05)
        before = -1  # until each has read what there was
        while before < len(queries):
            before = len(queries)
            await asyncio.sleep(0.5)
        assert threading.active_count() <= threads + 2
        before = len(queries)
        await asyncio.sleep(5)
        # One task looks for all of them, every two seconds.
        assert len(queries) - before <= 5
        await asyncio.to_thread(start, server)
        await asyncio.wait_for(asyncio.gather(*listeners), 60)
        return len(heard)

    assert asyncio.run(listen()) == 1000
    eventually(lambda: services.operations.broadcast.listeners, lambda count: count == 0)


def test_a_server_that_stops_ends_its_streams(engine, Server):
    with Server(engine) as server:
        heard = threading.Thread(target=read, args=(server, "/events"))
        heard.start()
        while not server.app.state.services.operations.broadcast.listeners:
            time.sleep(0.01)
        server.server.should_exit = True
        heard.join(20)
        assert not heard.is_alive()


def test_a_slow_listener_is_not_waited_for_and_loses_nothing(server, engine, monkeypatch, eventually):
    """It reads again from the ledger what was too much to keep for it."""
    from ktrdr.api.operations import broadcast as module

    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    services = server.app.state.services

    async def go():
        stream = services.operations.broadcast.stream(0)
        got = [(await anext(stream)).seq for _ in range(1)]
        for _ in range(60):
            await services.operations.create("training", {}, ["ml-nobody"])
        await asyncio.sleep(1)
        last = await services.ledger.last_event()
        while got[-1] < last:
            event = await anext(stream)
            got += [] if event is None else [event.seq]
        await stream.aclose()
        return got, [event.seq for event in await services.ledger.events_after(0, limit=1000)]

    start(server)
    eventually(lambda: engine.submitted, len)
    got, expected = asyncio.run_coroutine_threadsafe(go(), engine.loop).result(60)
    assert got == expected
    assert len(got) >= 120


def test_what_another_process_writes_to_the_ledger_is_told_too(engine_double, database_url, monkeypatch, Server):
    """No other server does, but who restores or prunes may."""
    monkeypatch.setenv("KTRDR_API_DATABASE", database_url)

    async def write():
        database = open_database(database_url)
        try:
            return (await Ledger(database).create("training", {}, ["ml-torch"]))[0].id
        finally:
            await database.close()

    with Server(engine_double(capabilities=None)) as server:
        first = asyncio.run(write())
        events = read(server, f"/operations/{first}/events", most=1)
        assert events[0][1] == "queued"
        second = asyncio.run(write())
        assert read(server, "/events", last=events[0][0], until="queued")[-1][2]["operation_id"] == second

"""A ledger whose file is overwritten while the server runs: routes say so, no loop ends, and what can recover does."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.api.app import create_app
from ktrdr.api.ledger.one_server import server_hold
from ktrdr.api.ledger.records import LedgerUnavailableError, UnknownOperationError
from ktrdr.api.operations import broadcast, service
from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.api.services import open_services
from ktrdr.api.settings import ApiSettings
from ktrdr.core.errors import BadInputError, record_of
from ktrdr.core.limits import LEAST_FREE_DISK

API = "/api/v1"
PAGE = 4096
WAYS = ("header", "zero", "page", "bytes", "text")


class Running:
    """A server with six operations: one completed, one failed, two running, two queued."""

    def __init__(self, client, engine, home, eventually) -> None:
        self.client, self.engine = client, engine
        self.services = client.app.state.services
        self.ids = [
            client.post(f"{API}/trainings", json={"strategy_text": EXAMPLE, "seed": seed}).json()["id"]
            for seed in range(6)
        ]
        eventually(lambda: engine.submitted, lambda found: len(found) == 6)
        self.completed, self.failed, self.running, self.late = engine.submitted[:4]
        for attempt in (self.completed, self.failed, self.running, self.late):
            engine.tell("started", attempt, "tcp://w")
        engine.tell("completed", self.completed, {"model": "x/1", "history": list(range(300))})
        engine.tell("failed", self.failed, record_of(BadInputError("no bars")))
        self.file = home / "ledger.sqlite"
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.whole = self.file.read_bytes()

    def call(self, work):
        """Have a coroutine run on the server's loop, and return its future."""
        return asyncio.run_coroutine_threadsafe(work, self.engine.loop)

    def forget(self):
        """Drop what connections have read before: a page that is remembered is not damaged."""
        self.services.database.reader.dispose()
        self.call(self.services.database.writer.dispose()).result(20)

    def damage(self, content: bytes):
        with self.file.open("r+b") as file:
            file.write(content)
        self.forget()

    def every_answer(self):
        """Ask every route that asks the ledger; yield what was asked and the answer."""
        for path in (
            *("/operations", "/operations?state=queued", "/metrics", "/health/ready"),
            *(f"/operations/{each}" for each in self.ids),
            *(f"/trainings/{each}/result" for each in self.ids[:2]),
        ):
            yield path, self.client.get(API + path)
        for each in self.ids:
            for what in ("cancel", "resume", "retry"):
                yield what, self.client.post(f"{API}/operations/{each}/{what}")
        yield "start", self.client.post(f"{API}/trainings", json={"strategy_text": EXAMPLE})
        key = {"Idempotency-Key": "mine"}
        yield "start", self.client.post(f"{API}/trainings", json={"strategy_text": EXAMPLE}, headers=key)


@pytest.fixture(scope="module")
def quick_rounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "_SECONDS_BETWEEN_ROUNDS", 0.1)
        patch.setattr(broadcast, "_SECONDS_BETWEEN_LOOKS", 0.1)
        yield


@pytest.fixture
def running(engine_double, home, eventually, quick_rounds):
    engine = engine_double()
    with TestClient(
        create_app(ApiSettings(rate_limit=0), engine), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        yield Running(client, engine, home, eventually)


def overwritten(whole: bytes, how: str, seed: int) -> bytes:
    """Return a file of the same length that was damaged in one of the ways files are."""
    dice, content = random.Random(seed), bytearray(whole)
    if how == "header":
        content[:100] = dice.randbytes(100)
    elif how == "zero":
        content[:] = bytes(len(content))
    elif how == "page":
        start = PAGE * dice.randrange(len(content) // PAGE)
        content[start : start + PAGE] = dice.randbytes(PAGE)
    elif how == "bytes":
        for _ in range(dice.choice([5, 50, 500])):
            content[dice.randrange(len(content))] = dice.randrange(256)
    else:
        for _ in range(200):
            found = whole.find(dice.choice([b'"', b"{", b"2026-", b"queued", b"running"]), dice.randrange(len(whole)))
            if found >= 0:
                content[found : found + 2] = dice.choice([b"\xff\xfe", b"xx", b"\x00\x00"])
    return bytes(content)


@pytest.mark.slow
@given(how=st.sampled_from(WAYS), seed=st.integers(0, 2**32))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_route_fails_and_no_loop_ends(engine_double, tmp_path_factory, eventually, quick_rounds, how, seed):
    try_all(engine_double, tmp_path_factory, eventually, how, seed)


@pytest.mark.parametrize("how", WAYS)
def test_no_route_fails_and_no_loop_ends_however_it_is_damaged(
    engine_double, tmp_path_factory, eventually, quick_rounds, how
):
    try_all(engine_double, tmp_path_factory, eventually, how, 10)


def try_all(engine_double, tmp_path_factory, eventually, how, seed):
    home = tmp_path_factory.mktemp("home")
    engine = engine_double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(home))
        app = create_app(ApiSettings(rate_limit=0), engine)
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            running = Running(client, engine, home, eventually)
            running.damage(overwritten(running.whole, how, seed))
            engine.tell("progress", running.running, {"step": "training", "done": 1})
            late = running.call(engine.listener.on_completed(running.late, {"model": "x/2"}))
            for asked, answer in running.every_answer():
                assert answer.status_code != 500, (asked, answer.text)
                if answer.status_code == 503 and asked != "/health/ready":
                    assert answer.json()["type"] == "urn:ktrdr:problem:ledger-unreachable"
                    assert answer.headers["retry-after"] == "1"
            assert running.services.operations.working()
            # Written, or still to be written.
            assert not late.done() or late.exception() is None
            late.cancel()


def test_a_ledger_that_is_no_database_any_more_is_not_ready_and_what_came_meanwhile_is_written_later(
    running, eventually
):
    assert running.client.get(f"{API}/health/ready").json()["status"] == "ready"
    listener = running.engine.listener
    running.damage(bytes(len(running.whole)))
    told = [
        running.call(listener.on_completed(running.late, {"model": "x/2"})),
        running.call(listener.on_lost(running.running, "its worker left", counts=False)),
    ]
    running.engine.tell("progress", running.running, {"step": "training", "done": 7})
    answer = running.client.get(f"{API}/health/ready")
    assert answer.status_code == 503
    assert answer.json()["database"] == "damaged"
    assert "put back a backup" in answer.json()["reason"]
    assert running.client.get(f"{API}/health").status_code == 200
    for asked, answer in running.every_answer():
        assert answer.status_code == 503, (asked, answer.text)
    running.damage(running.whole)
    for each in told:
        each.result(30)
    eventually(lambda: running.client.get(f"{API}/health/ready"), lambda answer: answer.status_code == 200)
    ended = running.client.get(f"{API}/operations/{running.late.operation_id}").json()
    assert (ended["state"], ended["result"]) == ("completed", {"model": "x/2"})
    # The lost one runs again: the rounds go on too.
    eventually(lambda: running.engine.submitted, lambda found: found[-1].number == 2)


def test_a_round_that_does_not_find_what_is_listed_is_put_off(running, eventually, monkeypatch):
    """As where an index of the database has lost a row; here the ledger is made to say so."""

    async def lost(operation_id):
        raise UnknownOperationError(operation_id)

    before = len(running.engine.submitted)
    with monkeypatch.context() as patch:
        patch.setattr(running.services.ledger, "get", lost)
        asked = running.client.post(f"{API}/trainings", json={"strategy_text": EXAMPLE, "seed": 77}).json()["id"]
        answer = eventually(lambda: running.client.get(f"{API}/health/ready"), lambda answer: answer.status_code == 503)
        assert answer.json()["database"] == "damaged"
        assert running.services.operations.working()
    submitted = eventually(lambda: running.engine.submitted, lambda found: len(found) > before)
    assert submitted[-1].operation_id == asked
    eventually(lambda: running.client.get(f"{API}/health/ready"), lambda answer: answer.status_code == 200)


def test_a_state_that_no_operation_has_is_damage(running, eventually):
    newest = running.ids[-1]
    with closing(sqlite3.connect(running.file)) as connection, connection:
        # The database would not write that; bytes that change ask no database.
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE operations SET state = 'asleep' WHERE id = ?", (newest,))
    answer = eventually(lambda: running.client.get(f"{API}/health/ready"), lambda answer: answer.status_code == 503)
    assert answer.json()["database"] == "damaged"
    assert running.services.operations.working()


def test_a_stream_of_events_goes_on_after_it(running, eventually):
    """One that was open breaks or waits; whoever comes back hears all that happened."""
    running.damage(bytes(len(running.whole)))
    with pytest.raises(LedgerUnavailableError):
        running.call(running.services.ledger.last_event()).result(20)
    running.damage(running.whole)
    before = running.call(running.services.ledger.last_event()).result(20)
    running.engine.tell("completed", running.late, {"model": "x/2"})
    path = f"{API}/operations/{running.late.operation_id}/events"
    text = running.client.get(path, headers={"Last-Event-ID": str(before)}).text
    assert text.startswith("event: completed")


def test_a_table_that_is_gone_is_a_damaged_ledger(running):
    with closing(sqlite3.connect(running.file)) as connection:
        connection.execute("DROP TABLE operation_attempts")
    answer = running.client.get(f"{API}/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert running.client.get(f"{API}/operations/{running.ids[0]}").status_code == 503


def test_a_round_that_fails_makes_a_server_unready_though_the_newest_rows_are_whole(running, eventually):
    """What readiness itself asks is the newest operation: the rounds read all that is unfinished."""
    with closing(sqlite3.connect(running.file)) as connection:
        connection.execute("UPDATE operations SET requires = '{' WHERE id = ?", (running.ids[4],))
        connection.commit()
    assert running.call(running.services.ledger.check()).result(20) is None
    ready = eventually(lambda: running.client.get(f"{API}/health/ready"), lambda answer: answer.status_code == 503)
    assert ready.json()["database"] == "damaged"
    with closing(sqlite3.connect(running.file)) as connection:
        connection.execute("UPDATE operations SET requires = '[]' WHERE id = ?", (running.ids[4],))
        connection.commit()
    eventually(lambda: running.client.get(f"{API}/health/ready"), lambda answer: answer.status_code == 200)


def test_a_loop_that_has_ended_is_said(running):
    task = running.services.operations._rounds
    running.engine.loop.call_soon_threadsafe(task.cancel)
    while not task.done():
        pass
    answer = running.client.get(f"{API}/health/ready")
    assert answer.status_code == 503
    assert "a task of the server has ended" in answer.json()["reason"]


@pytest.mark.parametrize("trouble", [LEAST_FREE_DISK - 1, OSError("statvfs")])
def test_without_free_disk_a_server_is_not_ready(running, monkeypatch, trouble):
    def free(place):
        if isinstance(trouble, OSError):
            raise trouble
        return trouble

    assert running.client.get(f"{API}/health/ready").json()["free_disk_bytes"] >= LEAST_FREE_DISK
    monkeypatch.setattr("ktrdr.api.routes.health.free_bytes", free)
    answer = running.client.get(f"{API}/health/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "ok")
    assert "bytes are free on the server's disk; make room" in answer.json()["reason"]


def test_the_disk_of_a_ledger_elsewhere_counts_too(engine_double, serving, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("ktrdr.api.routes.health.free_bytes", lambda place: 5 if place == elsewhere else 10**12)
    with serving(engine_double(), database=f"sqlite:///{elsewhere}/ledger.sqlite") as client:
        assert client.get(f"{API}/health/ready").json()["free_disk_bytes"] == 5


def test_a_database_that_does_not_answer_is_given_so_long(running, monkeypatch):
    async def never():
        await asyncio.sleep(3600)

    monkeypatch.setattr("ktrdr.api.routes.health._SECONDS_TO_ANSWER", 0.05)
    monkeypatch.setattr(running.services.ledger, "check", never)
    answer = running.client.get(f"{API}/health/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")


@pytest.mark.parametrize(("how", "seed"), [("zero", 0), ("header", 1), ("text", 2)])
def test_a_server_does_not_start_on_a_damaged_ledger(running, engine_double, tmp_path, monkeypatch, how, seed):
    """In one sentence: what is wrong, and what to do."""
    (tmp_path / "ledger.sqlite").write_bytes(overwritten(running.whole, how, seed))
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    hold = server_hold(ApiSettings(), tmp_path)
    with pytest.raises(BadInputError, match=r"the ledger at .*ledger\.sqlite cannot be used: .*KTRDR_API_DATABASE"):
        asyncio.run(open_services(ApiSettings(), engine_double(), hold, print))
    hold.release()

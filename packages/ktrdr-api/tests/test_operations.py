"""The life of operations between ledger and engine. A double of the engine stands in for Dask and its workers."""

from __future__ import annotations

import asyncio

import pytest

from ktrdr.api.engine.port import Attempt
from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.errors import BadInputError, record_of


def start(client):
    answer = client.post("/api/v1/trainings", json={"strategy_text": EXAMPLE})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    """Which backends are installed beside the API makes no difference here."""
    from ktrdr.core.plugins.manager import PluginManager

    monkeypatch.setattr("ktrdr.core.plugins.manager.default_manager", lambda: PluginManager(path=[]))


@pytest.fixture
def engine(engine_double):
    return engine_double()


@pytest.fixture
def client(serving, engine):
    with serving(engine) as client:
        yield client


@pytest.fixture
def look(client):
    return lambda operation_id: client.get(f"/api/v1/operations/{operation_id}").json()


@pytest.fixture
def submitted(engine, eventually):
    """Return a function: the newest attempt, once there are ``count``."""
    return lambda count=1: eventually(lambda: engine.submitted, lambda found: len(found) >= count)[-1]


def test_a_queued_operation_is_cancelled_at_once_and_resumed(serving, engine_double):
    with serving(engine_double(capabilities=None)) as client:
        operation_id = start(client)
        path = f"/api/v1/operations/{operation_id}"
        cancelled = client.post(f"{path}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
        again = client.post(f"{path}/cancel")
        assert again.status_code == 409
        assert again.json()["type"] == "urn:ktrdr:problem:wrong-state"
        resumed = client.post(f"{path}/resume").json()
        assert (resumed["state"], resumed["attempt"]) == ("queued", 2)
        assert client.post(f"{path}/resume").status_code == 409
        assert client.post("/api/v1/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B/cancel").status_code == 404
        assert client.get("/api/v1/operations/x").status_code == 422


def test_a_running_operation_is_asked_to_stop(client, engine, submitted, look):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    asked = client.post(f"/api/v1/operations/{operation_id}/cancel").json()
    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    assert engine.stopped == [attempt]
    engine.tell("cancelled", attempt)
    assert look(operation_id)["state"] == "cancelled"


def test_what_was_handed_over_but_had_not_begun_is_stopped_when_it_begins(client, engine, submitted, look):
    operation_id = start(client)
    attempt = submitted()
    assert client.post(f"/api/v1/operations/{operation_id}/cancel").json()["state"] == "cancelled"
    assert engine.stopped == [attempt]
    engine.tell("started", attempt, "tcp://w")
    assert engine.stopped == [attempt, attempt]
    engine.tell("completed", attempt, {"model": "x/1"})
    assert look(operation_id)["state"] == "cancelled"
    assert look(operation_id)["result"] is None


def test_an_engine_that_is_away_is_told_later(client, engine, submitted, look, eventually):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    engine.deaf = True
    assert client.post(f"/api/v1/operations/{operation_id}/cancel").status_code == 202
    other = start(client)
    assert look(other)["state"] == "queued"
    engine.deaf = False
    engine.tell("workers_changed")
    eventually(lambda: engine.stopped, lambda stopped: stopped == [attempt])
    assert submitted(2).operation_id == other


def test_a_lost_worker_costs_an_attempt_and_not_the_operation(client, engine, submitted, look):
    operation_id = start(client)
    for number in (1, 2):
        attempt = submitted(number)
        assert attempt == Attempt(operation_id, number)
        engine.tell("started", attempt, "tcp://w")
        engine.tell("lost", attempt, "its process was killed by SIGKILL", counts=True)
    attempt = submitted(3)
    engine.tell("started", attempt, "tcp://w")
    engine.tell("lost", attempt, "its process was killed by SIGKILL", counts=True)
    ended = look(operation_id)
    assert ended["state"] == "failed"
    assert (ended["error"]["type"], ended["error"]["exit_status"]) == ("WorkerLostError", 1)
    assert ended["error"]["message"].count("SIGKILL") == 3
    assert [(past["attempt"], past["counts"]) for past in ended["attempts"]] == [(1, True), (2, True), (3, False)]


def test_what_is_not_the_works_fault_is_not_counted(client, engine, submitted, look):
    operation_id = start(client)
    for number in range(1, 7):
        attempt = submitted(number)
        engine.tell("started", attempt, "tcp://w")
        engine.tell("lost", attempt, "its worker left", counts=False)
    assert look(operation_id)["state"] == "queued"
    assert look(operation_id)["attempt"] == 7
    attempt = submitted(7)
    engine.tell("started", attempt, "tcp://w")
    engine.tell("completed", attempt, {"model": "x/1"})
    assert look(operation_id)["state"] == "completed"


def test_a_worker_lost_while_cancelling_ends_it(client, engine, submitted, look):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    client.post(f"/api/v1/operations/{operation_id}/cancel")
    engine.tell("lost", attempt, "its worker left", counts=True)
    assert look(operation_id)["state"] == "cancelled"


def test_late_news_of_an_earlier_attempt_changes_nothing(client, engine, submitted, look):
    operation_id = start(client)
    first = submitted()
    engine.tell("started", first, "tcp://a")
    engine.tell("lost", first, "gone", counts=False)
    second = submitted(2)
    engine.tell("started", second, "tcp://b")
    engine.tell("progress", first, {"fraction": 0.9})
    engine.tell("completed", first, {"model": "old/1"})
    engine.tell("failed", first, record_of(BadInputError("old")))
    engine.tell("lost", first, "old", counts=True)
    now = look(operation_id)
    assert (now["state"], now["worker"], now["progress"]) == ("running", "tcp://b", None)
    engine.tell("completed", second, {"model": "new/1"})
    assert look(operation_id)["result"] == {"model": "new/1"}


def test_a_result_that_comes_before_the_news_of_its_beginning_counts(client, engine, submitted, look):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("completed", attempt, {"model": "x/1"})
    engine.tell("started", attempt, "tcp://w")
    assert (look(operation_id)["state"], look(operation_id)["result"]) == ("completed", {"model": "x/1"})


def test_a_failure_tells_why(client, engine, submitted, look):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    engine.tell("failed", attempt, record_of(BadInputError("no bars of EURUSD")))
    told = {"type": "BadInputError", "message": "no bars of EURUSD", "exit_status": 2}
    assert look(operation_id)["error"] == told
    answer = client.get(f"/api/v1/trainings/{operation_id}/result")
    assert answer.status_code == 409
    assert "no bars of EURUSD" in answer.json()["detail"]


def test_after_a_restart_what_the_engine_still_has_goes_on_and_the_rest_runs_again(serving, engine_double, eventually):
    engine = engine_double()
    with serving(engine) as client:
        ids = [start(client) for _ in range(3)]
        attempts = eventually(lambda: engine.submitted, lambda found: len(found) == 3)
        for attempt in attempts[:2]:
            engine.tell("started", attempt, "tcp://w")
    back = engine_double()
    back.known = {Attempt(ids[0], 1)}
    with serving(back) as client:
        resubmitted = eventually(lambda: back.submitted, lambda found: len(found) == 2)
        assert set(resubmitted) == {Attempt(ids[1], 2), Attempt(ids[2], 1)}
        back.tell("completed", Attempt(ids[0], 1), {"model": "x/1"})
        states = {
            item["id"]: (item["state"], item["attempt"]) for item in client.get("/api/v1/operations").json()["items"]
        }
        assert states == {ids[0]: ("completed", 1), ids[1]: ("queued", 2), ids[2]: ("queued", 1)}


def test_progress_is_written_now_and_then_and_the_last_always(client, engine, submitted, look, monkeypatch):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    ledger = client.app.state.services.ledger
    written = []
    report = ledger.report

    async def count(*args):
        written.append(args[2]["done"])
        return await report(*args)

    monkeypatch.setattr(ledger, "report", count)

    async def flood():
        for done in range(2000):
            await client.app.state.services.operations.on_progress(attempt, {"step": "training", "done": done})
            if done % 50 == 0:
                await asyncio.sleep(0.01)

    asyncio.run_coroutine_threadsafe(flood(), engine.loop).result(30)
    engine.tell("completed", attempt, {"model": "x/1"})
    assert look(operation_id)["progress"]["done"] == 1999
    assert len(written) < 100
    assert written == sorted(written)


def test_news_waits_for_a_ledger_that_is_away(client, engine, submitted, look, monkeypatch):
    """The engine tells it once."""
    from ktrdr.api.ledger.records import LedgerUnavailableError

    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    ledger = client.app.state.services.ledger
    finish, away = ledger.finish, [True, True]

    async def fail_twice(*args, **kwargs):
        if away:
            away.pop()
            raise LedgerUnavailableError("database is locked")
        return await finish(*args, **kwargs)

    monkeypatch.setattr(ledger, "finish", fail_twice)
    engine.tell("completed", attempt, {"model": "x/1"})
    assert look(operation_id)["state"] == "completed"


def test_a_ledger_that_is_away_is_said_to_be(client, monkeypatch):
    from ktrdr.api.ledger.records import LedgerUnavailableError

    async def fail(*args, **kwargs):
        raise LedgerUnavailableError("connection refused at /srv/secret")

    for name in ("page_texts", "last_event"):
        monkeypatch.setattr(client.app.state.services.ledger, name, fail)
    answer = client.get("/api/v1/operations")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "secret" not in answer.text
    ready = client.get("/api/v1/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (503, "unreachable")
    assert client.get("/api/v1/health").status_code == 200


def test_operations_are_listed_by_state_kind_and_page(client, submitted):
    ids = [start(client) for _ in range(5)]
    submitted(5)
    client.post(f"/api/v1/operations/{ids[2]}/cancel")
    page = client.get("/api/v1/operations?limit=2").json()
    assert [item["id"] for item in page["items"]] == ids[:-3:-1]
    assert "job" not in page["items"][0]
    rest = client.get("/api/v1/operations", params={"before": page["next"]}).json()
    assert [item["id"] for item in rest["items"]] == ids[2::-1]
    assert rest["next"] is None
    by_state = client.get("/api/v1/operations?state=cancelled&state=failed").json()["items"]
    assert [item["id"] for item in by_state] == [ids[2]]
    assert client.get("/api/v1/operations?kind=backtest").json()["items"] == []
    assert client.get("/api/v1/operations?state=lost").status_code == 422


def test_where_workers_join_is_told(client, engine):
    seen = {"connected": True, "address": "tcp://127.0.0.1:8786", "http": "http://127.0.0.1:8787"}
    assert client.get("/api/v1/scheduler").json() == seen
    engine.deaf = True
    assert client.get("/api/v1/scheduler").json() == {"connected": False, "address": None, "http": None}


def test_workers_and_what_they_run_are_told(client, engine, submitted, look, eventually):
    operation_id = start(client)
    attempt = submitted()
    engine.tell("started", attempt, "tcp://w")
    engine.running.append(attempt)
    (worker,) = client.get("/api/v1/workers").json()
    assert worker["running"] == [operation_id]
    assert worker["capabilities"] == ["backtest", "ml-torch", "ml-sklearn"]
    # Whoever is at work without a word is known to be at work from its worker.
    before = look(operation_id)["heartbeat_at"]
    client.app.state.services.operations._last_beat = float("-inf")
    engine.tell("workers_changed")
    eventually(lambda: look(operation_id)["heartbeat_at"], lambda beat: beat > before)


def test_metrics_count_requests_by_route_and_operations_by_state(client, engine, submitted):
    start(client)
    submitted()
    client.get("/api/v1/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B")
    for path in ("/none", "/none/2", "/api/v1/%2e%2e"):
        client.get(path)
    text = client.get("/api/v1/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    route = 'route="/api/v1/operations/{operation_id}"'
    assert lines[f'ktrdr_api_requests_total{{method="GET",{route},status="404"}}'] == "1.0"
    assert lines[f'ktrdr_api_request_seconds_count{{method="GET",{route}}}'] == "1.0"
    assert lines['ktrdr_api_requests_total{method="GET",route="none",status="404"}'] == "3.0"
    assert lines['ktrdr_operations{state="queued"}'] == "1.0"
    assert lines['ktrdr_operations{state="failed"}'] == "0.0"
    assert lines["ktrdr_workers"] == "1.0"
    assert float(lines["ktrdr_home_free_bytes"]) > 0

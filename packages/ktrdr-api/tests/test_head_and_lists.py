"""Lists are summaries, one operation is what its schema says though nobody has decoded it, and HEAD is GET's head."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.api.app import create_app
from ktrdr.api.engine.port import Attempt
from ktrdr.api.ledger.database import open_database, prepare_database
from ktrdr.api.ledger.ledger import Ledger
from ktrdr.api.routes.operations import AttemptView, OperationDetail, OperationPage, OperationSummaryView, view
from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.errors import BadInputError, record_of

API = "/api/v1"
# What Python's JSON can be, with what only some encoders take.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)


def as_the_schema_has_it(operation, attempts):
    """Return what a decoded row would be answered with: decoded, checked, encoded."""
    seen = view(operation).model_dump()
    seen["attempts"] = [AttemptView.model_validate(attempt, from_attributes=True) for attempt in attempts]
    return json.loads(OperationDetail(**seen, job=dict(operation.job)).model_dump_json())


@given(
    job=OBJECTS, result=OBJECTS, progress=OBJECTS, message=st.text(), ending=st.sampled_from(["completed", "failed"])
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_passes_through_as_text_is_what_its_schema_says(
    database_url_of_all, job, result, progress, message, ending
):
    if "\0" in json.dumps([job, result, progress], ensure_ascii=False) + message:
        return  # PostgreSQL takes no such text

    async def work():
        database = open_database(database_url_of_all)
        ledger = Ledger(database)
        try:
            operation = (await ledger.create("training", job, ["ml-x"]))[0]
            await ledger.start(operation.id, 1, "tcp://w")
            await ledger.report(operation.id, 1, progress)
            if ending == "completed":
                await ledger.finish(operation.id, 1, "completed", result=result)
            else:
                await ledger.finish(operation.id, 1, "failed", error=record_of(BadInputError(message)))
            whole = as_the_schema_has_it(await ledger.get(operation.id), await ledger.attempts(operation.id))
            assert json.loads(await ledger.get_text(operation.id)) == whole
            ((identifier, text),) = await ledger.page_texts(limit=1)
            assert identifier == operation.id
            summary = OperationSummaryView.model_validate_json(text)
            assert json.loads(summary.model_dump_json()) == {
                name: value for name, value in whole.items() if name not in ("result", "job", "attempts")
            }
        finally:
            await database.close()

    asyncio.run(work())


@pytest.fixture(scope="module")
def database_url_of_all(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.sqlite"
    asyncio.run(prepare_database(url))
    return url


def test_the_same_on_both_databases(database_url):
    async def work():
        await prepare_database(database_url)
        database = open_database(database_url)
        ledger = Ledger(database)
        try:
            operation = (await ledger.create("training", {"a": "é\u2028\U0001f600"}, ["ml-x"]))[0]
            await ledger.start(operation.id, 1, 'tcp://"w"')
            whole = as_the_schema_has_it(await ledger.get(operation.id), await ledger.attempts(operation.id))
            assert json.loads(await ledger.get_text(operation.id)) == whole
        finally:
            await database.close()

    asyncio.run(work())


@pytest.fixture
def engine(engine_double):
    return engine_double()


@pytest.fixture
def client(serving, engine):
    with serving(engine) as client:
        yield client


def done(client, engine, eventually, result):
    operation = client.post(f"{API}/trainings", json={"strategy_text": EXAMPLE}).json()["id"]
    eventually(lambda: engine.submitted, lambda found: found and found[-1].operation_id == operation)
    engine.tell("started", Attempt(operation, 1), "tcp://w")
    engine.tell("completed", Attempt(operation, 1), result)
    return operation


def test_a_list_has_no_results_and_no_jobs(client, engine, eventually):
    operation = done(client, engine, eventually, {"model": "x/1", "history": ["epoch"] * 2_000})
    answer = client.get(f"{API}/operations")
    page = OperationPage.model_validate_json(answer.text)
    assert [item.id for item in page.items] == [operation]
    assert set(answer.json()["items"][0]) == set(OperationSummaryView.model_fields)
    assert len(answer.content) < 1_000
    assert len(client.get(f"{API}/operations/{operation}").json()["result"]["history"]) == 2_000


def test_paths_and_numbers_that_json_has_not_are_not_shown_wherever_they_were_stored(client, engine, eventually, home):
    operation = done(client, engine, eventually, {"model": "x/1", "directory": "/srv/secret"})
    assert "secret" not in client.get(f"{API}/operations/{operation}").text

    with sqlite3.connect(home / "ledger.sqlite") as ledger:
        (stored,) = ledger.execute("SELECT result FROM operations").fetchone()
        assert "secret" not in stored
        old = '{"model": "x/1", "directory": "/srv/secret", "sharpe": NaN, "note": "NaN"}'
        ledger.execute("UPDATE operations SET result = ?", (old,))
    shown = client.get(f"{API}/operations/{operation}").json()["result"]
    assert shown == {"model": "x/1", "sharpe": None, "note": "NaN"}


# HEAD


@pytest.fixture
def filled(Server, engine, home, made_home, judged, eventually):
    for name in ("models", "data", "runs", "evaluations", "verdicts"):
        shutil.copytree(made_home.path / name, home / name)
    engine.capabilities = ("backtest", "ml-example")
    with Server(engine) as server, httpx2.Client(base_url=server.url, timeout=30) as http:
        http.put("/strategies/rsi_reversion", content=EXAMPLE)
        started = http.post("/backtests", json={"model": "waves/1"}).json()["id"]
        eventually(lambda: engine.submitted, len)
        engine.tell("started", Attempt(started, 1), "tcp://w")
        engine.tell("completed", Attempt(started, 1), made_home.result)
        yield server, http, started


def filled_in(template, **places):
    known = {"symbol": "EURUSD", "timeframe": "1h", "version": "1", "number": "1", **places}
    return re.sub(r"{(\w+)}", lambda match: known.get(match[1], "x"), template)


def test_every_route_that_is_asked_by_get_answers_head(filled):
    server, http, operation = filled
    document = server.app.openapi()
    asked = 0
    for template, methods in document["paths"].items():
        if "get" not in methods:
            assert http.head(template.removeprefix(API)).status_code in (404, 405, 422), template
            continue
        stored = tuple(f"{API}/{kind}/" for kind in ("models", "evaluations", "verdicts"))
        name = "waves" if template.startswith(stored) else "rsi_reversion"
        path = filled_in(template.removeprefix(API), operation_id=operation, name=name)
        head = http.head(path)
        if template == f"{API}/events":  # which never ends
            assert (head.status_code, head.content) == (200, b"")
        else:
            answer = http.get(path)
            assert (head.status_code, head.content) == (answer.status_code, b""), path
            assert head.headers["content-type"] == answer.headers["content-type"], path
            different = {"date", "etag", "last-modified", "content-length", "transfer-encoding"}
            assert set(head.headers) - different == set(answer.headers) - different, path
            if answer.headers.get("content-length") and "metrics" not in path and "archive" not in path:
                assert head.headers["content-length"] == answer.headers["content-length"], path
        asked += 1
    assert asked > 25
    # The stream was given up, and nobody listens any more.
    assert server.app.state.services.operations.broadcast.listeners == 0


def test_head_passes_the_same_guards(serving, engine):
    with serving(engine, token="secret") as client:
        assert client.head(f"{API}/operations").status_code == 401
        assert client.head(f"{API}/operations", headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.head(f"{API}/health").status_code == 200
        wrong = client.request("HEAD", f"{API}/trainings", headers={"Authorization": "Bearer secret"})
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        wrong = client.put(f"{API}/operations", headers={"Authorization": "Bearer secret"})
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")


def test_head_is_no_operation_of_the_document():
    document = create_app().openapi()
    assert not [path for path, methods in document["paths"].items() if "head" in methods]

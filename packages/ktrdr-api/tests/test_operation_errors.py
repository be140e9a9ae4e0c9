"""Why an operation failed: the same in the ledger, in the operation, in its events and where a client follows it."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import text

from ktrdr.api.engine.dask import _told
from ktrdr.api.engine.port import WorkerLostError
from ktrdr.api.ledger.database import open_database, prepare_database
from ktrdr.api.ledger.ledger import Ledger
from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.backtesting.prediction import PredictionError
from ktrdr.core.client import Client, follow
from ktrdr.core.data.bar_store import StoreError
from ktrdr.core.errors import ErrorRecord, NotFoundError, RemoteError, record_of
from ktrdr.core.training.run_checkpoint import NothingToResumeError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreError("cannot write: the disk is full"), 1),
        (PredictionError("the model failed"), 2),
        (NothingToResumeError("there is nothing to resume"), 2),
        (NotFoundError("no bars"), 2),
        (WorkerLostError("3 attempts were lost: its process was killed by SIGKILL"), 1),
        (ZeroDivisionError("by zero"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_a_failure_is_told_whole(Server, engine_double, eventually, error, status):
    engine, record = engine_double(), record_of(error)
    with Server(engine) as server:
        client = Client(server.url)
        operation = client.start("training", {"strategy_text": EXAMPLE})
        (attempt,) = eventually(lambda: engine.submitted, len)
        engine.tell("started", attempt, "tcp://w")
        engine.tell("failed", attempt, record)
        told = {"type": record.kind, "message": record.message, "exit_status": status}
        seen = client.operation(operation["id"])
        assert seen["error"] == told
        assert seen["attempts"][0]["outcome"] == record.message
        with client.lines(f"/operations/{operation['id']}/events", last=None) as lines:
            data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        assert {key: data[-1][key] for key in told} == told
        with pytest.raises(RemoteError) as caught:
            follow(client, operation["id"])
        assert (caught.value.record, caught.value.exit_status) == (record, status)
        assert str(caught.value) == record.message


@pytest.mark.parametrize(
    ("stored", "status"),
    [
        ({"type": "BadInputError", "message": "there are no bars"}, 2),
        ({"type": "worker-lost", "message": "3 attempts were lost"}, 1),
        ({"type": "ValueError", "message": "a fault on its worker: no"}, 1),
    ],
)
def test_what_an_earlier_version_stored_is_read(serving, home, stored, status):
    async def store():
        url = await prepare()
        database = open_database(url)
        ledger = Ledger(database)
        operation, _ = await ledger.create("training", {}, [])
        await ledger.start(operation.id, 1, "w")
        await ledger.finish(operation.id, 1, "failed", error=ErrorRecord("fault", "x", 1))
        async with database.writing() as connection:
            await connection.execute(text("update operations set error = :error"), {"error": json.dumps(stored)})
        await database.close()
        return operation.id

    async def prepare():
        home.mkdir(parents=True, exist_ok=True)
        url = f"sqlite+aiosqlite:///{home / 'ledger.sqlite'}"
        await prepare_database(url)
        return url

    identifier = asyncio.run(store())
    with serving(database=f"sqlite+aiosqlite:///{home / 'ledger.sqlite'}") as client:
        told = {**stored, "exit_status": status}
        assert client.get(f"/api/v1/operations/{identifier}").json()["error"] == told
        assert client.get("/api/v1/operations").json()["items"][0]["error"] == told


def test_a_worker_of_another_version_is_understood():
    assert _told({"type": "BadInputError", "message": "m"}) == ("BadInputError", "m", 2)
    assert _told({"type": "NewError", "message": "m", "exit_status": 9, "more": 1}) == ("NewError", "m", 9)
    misunderstood = _told({"type": "NewError", "message": {"text": "m"}})
    assert (misunderstood.kind, misunderstood.exit_status) == ("KtrdrError", 1)
    assert "an error has an unknown format" in misunderstood.message


def test_the_document_says_what_an_error_is(client):
    schemas = client.get("/api/v1/openapi.json").json()["components"]["schemas"]
    assert schemas["OperationView"]["properties"]["error"]["anyOf"][0] == {"$ref": "#/components/schemas/ErrorView"}
    assert schemas["ErrorView"]["required"] == ["type", "message", "exit_status"]
    assert all(part["description"] for part in schemas["ErrorView"]["properties"].values())

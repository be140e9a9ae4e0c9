"""Start trainings and backtests. Nothing is trained here: where work must run, a double of the engine stands in for
Dask and its workers."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ktrdr.api.routes.strategies import EXAMPLE

TRAINING = {"strategy_text": EXAMPLE, "epochs": 3}


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    """As where no backend is installed beside the API."""
    from ktrdr.core.plugins.manager import PluginManager

    monkeypatch.setattr("ktrdr.core.plugins.manager.default_manager", lambda: PluginManager(path=[]))


def start(client, body=TRAINING, path="/api/v1/trainings", key=None):
    return client.post(path, json=body, headers={} if key is None else {"Idempotency-Key": key})


def test_a_training_nobody_can_run_waits_and_says_for_what(client):
    answer = start(client)
    assert answer.status_code == 202, answer.text
    operation = answer.json()
    assert operation["state"] == "queued"
    assert "plugin `torch`" in operation["waiting_for"]
    assert "no worker is connected" in operation["waiting_for"]
    assert "ktrdr worker" in operation["waiting_for"]
    assert answer.headers["location"] == f"/api/v1/operations/{operation['id']}"
    assert client.get(answer.headers["location"]).json()["waiting_for"] == operation["waiting_for"]
    no_result = client.get(f"/api/v1/trainings/{operation['id']}/result")
    assert no_result.status_code == 409
    assert "waits for a worker" in no_result.json()["detail"]
    assert client.get(f"/api/v1/backtests/{operation['id']}/result").status_code == 404


def test_what_workers_lack_is_said(serving, engine_double):
    with serving(engine_double(capabilities=("backtest", "ml-sklearn"))) as client:
        assert "none of the 1 connected offers all of it" in start(client).json()["waiting_for"]


@pytest.mark.parametrize(
    ("model", "needs"),
    [
        ("{type: mlp}", ["ml-torch"]),
        ("{type: gradient_boosting}", ["ml-sklearn"]),
        ("{type: ensemble, of: {type: gradient_boosting}, members: {seeds: 3}}", ["ml-sklearn"]),
        ("{type: ensemble, of: {type: mlp, backend: torch}, members: {seeds: 3}}", ["ml-torch"]),
    ],
)
def test_a_training_needs_the_plugin_of_its_model(client, model, needs):
    assert start(client, {"strategy_text": EXAMPLE.replace("{type: mlp}", model)}).json()["requires"] == needs


def test_a_plugin_that_only_workers_have_is_known_from_them(serving, engine_double):
    text = EXAMPLE.replace("{type: mlp}", "{type: forest_of_mine, backend: mine}")
    with serving(engine_double(capabilities=None)) as client:
        assert "no plugin `mine`" in start(client, {"strategy_text": text}).json()["detail"]
    with serving(engine_double(capabilities=["ml-mine"])) as client:
        assert start(client, {"strategy_text": text}).json()["requires"] == ["ml-mine"]
        ensemble = text.replace("{type: forest", "{type: ensemble, members: {seeds: 2}, of: {type: forest").replace(
            "backend: mine}", "backend: mine}}"
        )
        assert start(client, {"strategy_text": ensemble}).json()["requires"] == ["ml-mine"]
        assert client.put("/api/v1/strategies/rsi_reversion", content=text).status_code == 201
        assert len(client.get("/api/v1/strategies/rsi_reversion/features").json()["features"]) == 3
        broken = text.replace("[0, 0, 35]", "[3, 2, 1]")
        assert start(client, {"strategy_text": broken}).status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "give exactly one of `strategy`, `strategy_text` and `evaluation`"),
        ({"strategy": "x", "strategy_text": EXAMPLE}, 422, "exactly one"),
        ({"strategy": "absent"}, 404, "no strategy `absent`"),
        ({"strategy": "../x"}, 422, "strategy"),
        ({"strategy_text": "name: x"}, 422, "errors"),
        ({**TRAINING, "epochs": 0}, 422, "epochs"),
        ({**TRAINING, "epoks": 1}, 422, "epoks"),
        ({**TRAINING, "seeds": 1}, 422, "seeds"),
        ({**TRAINING, "ensemble": True}, 422, "`ensemble` needs the number of its members; add `seeds`, such as 5"),
        ({**TRAINING, "ensemble": True, "seeds": 65}, 422, "an ensemble has at most 64 members, not 65; lower `seeds`"),
        ({**TRAINING, "start": "2020-02-02", "end": "2020-02-01"}, 422, "before"),
        ({"strategy_text": EXAMPLE.replace("mlp", "perceptron_of_doom")}, 422, "perceptron_of_doom"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(client, body, status, said):
    answer = start(client, body, key="k")
    assert answer.status_code == status
    assert said in answer.text
    assert client.get("/api/v1/operations").json()["items"] == []
    assert start(client, key="k").status_code == 202


def test_the_same_key_gives_the_same_operation(client):
    first = start(client, key="key-1")
    again = start(client, key="key-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    other = start(client, {**TRAINING, "epochs": 4}, key="key-1")
    assert other.status_code == 409
    assert other.json()["type"] == "urn:ktrdr:problem:idempotency-conflict"
    assert start(client, key="key-2").json()["id"] != first.json()["id"]
    assert start(client).json()["id"] != start(client).json()["id"]
    assert len(client.get("/api/v1/operations").json()["items"]) == 4
    for key in (b"", b"two words", b"\xe4", b"x" * 256):
        assert client.post("/api/v1/trainings", json=TRAINING, headers=[(b"idempotency-key", key)]).status_code == 422


def test_of_many_at_once_with_one_key_one_is_started(client):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: start(client, key="once"), range(24)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_key_means_what_was_started_then(client):
    """Whatever has become of the strategy since: changed, broken or deleted."""
    path = "/api/v1/strategies/rsi_reversion"
    etag = client.put(path, content=EXAMPLE).headers["etag"]
    first = start(client, {"strategy": "rsi_reversion"}, key="k").json()
    assert client.delete(path, headers={"If-Match": etag}).status_code == 204
    assert start(client, {"strategy": "rsi_reversion"}, key="k").json()["id"] == first["id"]
    assert start(client, {"strategy": "rsi_reversion"}, key="other").status_code == 404
    assert client.get(f"/api/v1/operations/{first['id']}").json()["job"]["strategy"] == EXAMPLE


def test_a_training_runs_and_gives_its_result(serving, engine_double, eventually, model):
    engine = engine_double()
    with serving(engine) as client:
        operation = start(client, {**TRAINING, "seed": 5, "start": "2017-01-01", "symbols": ["EURUSD"]}).json()
        assert operation["waiting_for"] is None
        (attempt,) = eventually(lambda: engine.submitted, len)
        assert engine.jobs[attempt] == {
            "strategy": EXAMPLE,
            "symbols": ["EURUSD"],
            "start": "2017-01-01",
            "end": None,
            "seed": 5,
            "epochs": 3,
            "seeds": None,
            "ensemble": False,
            "evaluation": None,
            "device": "auto",
        }
        engine.tell("started", attempt, "tcp://127.0.0.1:1")
        engine.tell("progress", attempt, {"step": "training", "done": 1, "total": 3, "fraction": 0.33})
        path = f"/api/v1/operations/{operation['id']}"
        eventually(lambda: client.get(path).json()["progress"], bool)
        engine.tell("completed", attempt, {"model": "rsi_reversion/1", "epochs": 3, "directory": "/srv/secret"})
        ended = client.get(path).json()
        assert (ended["state"], ended["progress"]["fraction"]) == ("completed", 0.33)
        assert ended["attempts"][0]["outcome"] == "completed"
        result = client.get(f"/api/v1/trainings/{operation['id']}/result").json()
        assert result == {"model": "rsi_reversion/1", "epochs": 3}
        assert "/srv/secret" not in client.get(path).text
        retried = client.post(f"{path}/retry", headers={"Idempotency-Key": "again"})
        assert retried.status_code == 202
        assert retried.json()["id"] != operation["id"]
        assert retried.json()["retry_of"] == operation["id"]
        same = client.post(f"{path}/retry", headers={"Idempotency-Key": "again"})
        assert same.json()["id"] == retried.json()["id"]
        new = eventually(lambda: engine.submitted[1:], len)[0]
        assert engine.jobs[new] == engine.jobs[attempt]
        assert new.number == 1


def test_a_backtest_of_a_model_that_is_not_there_is_refused(client):
    answer = start(client, {"model": "none"}, "/api/v1/backtests")
    assert answer.status_code == 404
    assert start(client, {"model": "a/b/c"}, "/api/v1/backtests").status_code == 422
    assert start(client, {"model": "none", "capital": -1}, "/api/v1/backtests").status_code == 422


@pytest.fixture
def model(home, made_home):
    """A real model, and a real backtest of it, of a plugin that is not installed beside the API."""
    for name in ("models", "runs", "data"):
        shutil.copytree(made_home.path / name, home / name)
    return made_home


def test_a_backtest_names_the_version_that_was_the_latest(client, model):
    started = start(client, {"model": "waves"}, "/api/v1/backtests", key="k").json()
    assert started["requires"] == ["backtest"]
    assert started["waiting_for"].startswith("waits for a worker (backtest);")
    job = client.get(f"/api/v1/operations/{started['id']}").json()["job"]
    assert job["model"] == "waves/1"
    assert job["capital"] == 10_000.0
    assert client.delete("/api/v1/models/waves/1").status_code == 204
    assert start(client, {"model": "waves"}, "/api/v1/backtests", key="k").json()["id"] == started["id"]


def test_a_backtest_by_the_framework_waits_for_the_plugin(client, model):
    started = start(client, {"model": "waves", "inference": "native"}, "/api/v1/backtests").json()
    assert started["requires"] == ["backtest", "ml-example"]
    assert "plugin `example`" in started["waiting_for"]


def test_a_backtest_by_a_twin_that_cannot_predict_is_refused(client, model):
    answer = start(client, {"model": "waves", "inference": "portable", "device": "cuda"}, "/api/v1/backtests")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:ktrdr:problem:bad-input")
    assert "a portable twin predicts on the CPU, not on `cuda`" in answer.json()["detail"]
    assert client.get("/api/v1/operations").json()["items"] == []


def finished(serving_client, engine, eventually, result):
    operation = start(serving_client, {"model": "waves/1"}, "/api/v1/backtests").json()
    (attempt,) = eventually(lambda: engine.submitted, len)
    assert serving_client.get(f"/api/v1/backtests/{operation['id']}/metrics").status_code == 409
    engine.tell("started", attempt, "tcp://127.0.0.1:1")
    engine.tell("completed", attempt, result)
    return f"/api/v1/backtests/{operation['id']}"


def test_all_of_a_backtest_can_be_had(serving, engine_double, eventually, model, tmp_path):
    from ktrdr.core.backtesting.results import read_result
    from ktrdr.core.backtesting.tables import read_table

    engine = engine_double(capabilities=("backtest", "ml-example"))
    expected = read_result(model.run)
    with serving(engine) as client:
        path = finished(client, engine, eventually, model.result)
        result = client.get(f"{path}/result").json()
        assert result["metrics"] == json.loads(json.dumps(expected.to_json()["metrics"]))
        assert "directory" not in result
        metrics = client.get(f"{path}/metrics").json()
        assert metrics["metrics"] == result["metrics"]
        assert {baseline["name"] for baseline in metrics["baselines"]}
        trades = client.get(f"{path}/trades").json()
        assert trades["total"] == len(expected.trades["number"]) > 3
        assert trades["items"] == json.loads(json.dumps(expected.trade_rows()))
        assert trades["items"][0]["entry_because"]["outputs"]
        part = client.get(f"{path}/trades?offset=1&limit=2").json()
        assert part["items"] == trades["items"][1:3]

        equity = client.get(f"{path}/equity?limit=50000").json()
        assert equity["total"] == len(equity["time"]) == len(expected.equity["time"])
        np.testing.assert_array_equal(equity["equity"], expected.equity["equity"])
        page = client.get(f"{path}/equity?offset=10&limit=5").json()
        assert page["time"] == equity["time"][10:15]
        assert client.get(f"{path}/equity?offset=1000000").json()["time"] == []

        for name in ("trades", "equity"):
            file = tmp_path / f"{name}.parquet"
            file.write_bytes(client.get(f"{path}/{name}/parquet").content)
            assert list(read_table(file)) == list(getattr(expected, name))

        report = client.get(f"{path}/report")
        assert report.headers["content-type"].startswith("text/html")
        assert "connect-src" not in report.headers["content-security-policy"]
        assert "default-src 'none'" in report.headers["content-security-policy"]
        assert report.text.lstrip().lower().startswith("<!doctype html>")
        assert "waves" in report.text
        assert "There is no verdict on waves yet" in report.text


@pytest.mark.parametrize("run", [None, "waves/1-9", "../../etc", "/etc", "waves/../../x-1"])
def test_files_that_are_elsewhere_are_said_to_be(serving, engine_double, eventually, model, run):
    engine = engine_double(capabilities=("backtest", "ml-example"))
    with serving(engine) as client:
        path = finished(client, engine, eventually, {**model.result, "run": run})
        assert client.get(f"{path}/metrics").status_code == 200
        for what in ("trades", "equity", "trades/parquet", "equity/parquet", "report"):
            answer = client.get(f"{path}/{what}")
            assert answer.status_code == 404
            assert answer.json()["type"] == "urn:ktrdr:problem:files-elsewhere"


def test_models_are_kept_without_their_plugin(client, model):
    """List, look at, verify, download, delete, upload again: the bundle is the same, byte by byte."""
    (listed,) = client.get("/api/v1/models").json()
    assert (listed["model"], listed["plugin"], listed["problem"]) == ("waves/1", "example", "")
    detail = client.get("/api/v1/models/waves/1").json()
    assert detail["manifest"]["input_size"] == 4
    assert detail["weights_hash"] == listed["weights_hash"]
    assert len(detail["history"]) == 3
    assert client.post("/api/v1/models/waves/1/verify").json()["files"] == len(detail["manifest"]["files"])
    archive = client.get("/api/v1/models/waves/1/archive")
    assert archive.content == client.get("/api/v1/models/waves/1/archive").content
    assert client.delete("/api/v1/models/waves/1").status_code == 204
    uploaded = client.post("/api/v1/models", content=archive.content)
    assert uploaded.status_code == 201, uploaded.text
    assert uploaded.json()["weights_hash"] == listed["weights_hash"]
    assert (uploaded.json()["model"], uploaded.json()["origin"]) == ("waves/2", "waves/1")
    again = client.post("/api/v1/models", content=archive.content)
    assert (again.status_code, again.json()) == (200, uploaded.json())
    broken = bytearray(archive.content)
    broken[len(broken) // 2] ^= 1
    assert client.post("/api/v1/models", content=bytes(broken)).status_code == 422
    assert len(client.get("/api/v1/models").json()) == 1

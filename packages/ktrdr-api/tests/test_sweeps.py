"""Start sweeps. No backtest is run here: a double of the engine stands in for Dask and its workers."""

from __future__ import annotations

import shutil

import pytest

SETTINGS = {"decisions.confidence_threshold": [0.4, 0.5], "risk.max_holding_period": [5, None]}


@pytest.fixture
def model(home, made_home):
    """A real model, of a plugin that is not installed beside the API."""
    shutil.copytree(made_home.path / "models", home / "models")
    return made_home


def start(client, key=None, **more):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/api/v1/sweeps", json={"model": "waves", "settings": SETTINGS, **more}, headers=headers)


def test_it_names_the_version_and_waits_for_a_worker(client, model):
    answer = start(client, key="k")
    assert answer.status_code == 202, answer.text
    operation = answer.json()
    assert (operation["kind"], operation["requires"]) == ("sweep", ["backtest"])
    assert operation["waiting_for"].startswith("waits for a worker (backtest);")
    job = client.get(answer.headers["location"]).json()["job"]
    assert (job["model"], job["settings"], job["metric"]) == ("waves/1", SETTINGS, "sharpe")
    assert start(client, key="k").json()["id"] == operation["id"]
    assert start(client, key="k", metric="calmar").status_code == 409
    assert client.get(f"/api/v1/sweeps/{operation['id']}/result").status_code == 409
    assert client.get(f"/api/v1/backtests/{operation['id']}/result").status_code == 404


def test_by_the_framework_it_waits_for_the_plugin(client, model):
    operation = start(client, inference="native").json()
    assert operation["requires"] == ["backtest", "ml-example"]
    assert "plugin `example`" in operation["waiting_for"]


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"settings": {"training.epochs": [1]}}, 422, "cannot be swept on a trained model"),
        ({"settings": {"risk.max_holding_period": [5, 0]}}, 422, "max_holding_period=0"),
        ({"settings": {"risk.max_holding_period": [5, 5]}}, 422, "the same value twice"),
        ({"settings": {"risk.lot_size": list(range(200)), "risk.stop_loss": list(range(200))}}, 422, "combinations"),
        ({"settings": {}}, 422, "settings"),
        ({"metric": "sharp"}, 422, "did you mean `sharpe`"),
        ({"start": "2020-02-01", "end": "2020-01-01"}, 422, "before"),
        ({"surprise": 1}, 422, "surprise"),
        ({"inference": "portable", "device": "cuda"}, 422, "a portable twin predicts on the CPU, not on `cuda`"),
        ({"model": "nobody"}, 404, "nobody"),
    ],
)
def test_what_cannot_be_swept_is_refused_and_leaves_nothing(client, model, more, status, said):
    answer = start(client, **more)
    assert answer.status_code == status
    assert said in answer.text
    assert client.get("/api/v1/operations").json()["items"] == []


def test_the_table_is_the_result(serving, engine_double, eventually, model):
    engine = engine_double(capabilities=("backtest", "ml-example"))
    with serving(engine) as client:
        operation = start(client).json()
        (attempt,) = eventually(lambda: engine.submitted, len)
        assert engine.jobs[attempt]["settings"] == SETTINGS
        engine.tell("started", attempt, "tcp://127.0.0.1:1")
        row = {"trial": 3, "settings": {"risk.max_holding_period": None}, "metrics": {"sharpe": None, "trades": 0}}
        count = {"number": 3, "known": 3, "ledger": "0123456789ab"}
        result = {
            "model": "waves/1", "metric": "sharpe", "resampled": 1, "trials": 1, "trial_count": count, "rows": [row],
            "bars": 10,
        }  # fmt: skip
        engine.tell("completed", attempt, result)
        assert client.get(f"/api/v1/sweeps/{operation['id']}/result").json() == result

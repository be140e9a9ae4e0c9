"""The functional test: what a user does, through the public API only, while the backend restarts and workers roll.

The services are those of `deploy/environments/canary`, with their certificates, passwords and tokens; only what an
operator does (stop, start, kill) is done to processes.
"""

from __future__ import annotations

import signal
from importlib.metadata import version
from importlib.resources import files

import pytest

pytestmark = pytest.mark.slow


def next_version(container):
    """Make a container's copy of core the next patch release: another number on the same code."""
    (package,) = container.root.glob("opt/ktrdr/lib/python3.*/site-packages/ktrdr/core")
    module = package / "__init__.py"
    major, minor, patch = version("ktrdr-core").split(".")
    new = f"{major}.{minor}.{int(patch) + 1}"
    text = module.read_text(encoding="utf-8")
    assert version("ktrdr-core") in text
    module.write_text(text.replace(version("ktrdr-core"), new), encoding="utf-8")
    # Bytecode is never looked at again, see deploy/docker/slim.py.
    for compiled in (package / "__pycache__").glob("__init__.*.pyc"):
        compiled.unlink()
    return new


@pytest.fixture(scope="module")
def strategy_text():
    """The sample's strategy, made to train long enough to be disturbed."""
    text = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    start = text.index("  early_stopping:")
    text = text[:start] + text[text.index("\n", start) + 1 :]
    return text.replace("epochs: 60", "epochs: 150").replace("batch_size: 64", "batch_size: 16")


def test_the_api_is_ready_on_postgresql_and_asks_for_a_token(canary, wait):
    ready = wait(lambda: canary.request("GET", "/health/ready")[1], "the API is ready")
    assert ready["status"] == "ready"
    assert ready["database"] == "ok"
    assert canary.postgres.query("select count(*) from alembic_version") == "1"
    assert canary.request("GET", "/operations", token="wrong")[0] == 401
    read = canary.token("read-token")
    assert canary.request("GET", "/operations", token=read)[0] == 200
    status, text = canary.request("GET", "/metrics", token=read)
    assert status == 200
    assert "ktrdr_workers 0.0" in text
    assert canary.request("PUT", "/strategies/neuro", "name: neuro", token=read)[0] == 403
    wait(lambda: canary.get("/health/ready")["engine"] == "connected", "the scheduler is connected")
    assert canary.containers["scheduler"].log.read_text().count("Traceback") == 0


def test_data_is_uploaded_and_a_strategy_is_validated_and_stored(canary, strategy_text):
    sample = files("ktrdr.core.data").joinpath("../samples/EURUSD_1h_2017.csv.gz").read_bytes()
    status, answer = canary.request("POST", "/data?filename=EURUSD_1h_2017.csv.gz", sample)
    assert status == 201, answer
    assert answer["datasets"][0]["rows"] > 6000
    status, answer = canary.request("POST", "/validate-strategy", strategy_text)
    assert status == 200, answer
    assert answer["valid"], answer
    status, answer = canary.request("PUT", "/strategies/neuro_mean_reversion", strategy_text)
    assert status == 201, answer


def test_a_training_outlives_backend_and_worker(canary, wait):
    status, queued = canary.request(
        "POST", "/trainings", {"strategy": "neuro_mean_reversion"}, **{"Idempotency-Key": "the-one-training"}
    )
    assert status == 202, queued
    identifier = queued["id"]
    waiting = canary.get(f"/operations/{identifier}")
    assert waiting["state"] == "queued"

    old = canary.start("worker", "worker-1")
    canary.wait_for(identifier, "running")

    def epochs(least):
        operation = canary.get(f"/operations/{identifier}")
        assert operation["state"] == "running", operation
        progress = operation["progress"] or {}
        return progress.get("step") == "training" and progress["done"] >= least

    wait(lambda: epochs(2), "two epochs are done")

    # The backend is replaced; what runs runs on, and is found again.
    assert canary.containers["backend"].stop() == 128 + signal.SIGTERM
    canary.start("backend")
    wait(lambda: epochs(4), "the training is heard of again")
    assert canary.get(f"/operations/{identifier}")["attempt"] == 1

    # Asked for again, with the same key: the same operation.
    status, again = canary.request(
        "POST", "/trainings", {"strategy": "neuro_mean_reversion"}, **{"Idempotency-Key": "the-one-training"}
    )
    assert again["id"] == identifier, again

    # A worker of the next version joins; the old one is asked to leave and hands back what it runs.
    newer = canary.container("worker", "worker-2")
    new = next_version(newer)
    canary.start("worker", "worker-2")
    wait(lambda: len(canary.get("/workers")) == 2, "both workers have joined")
    assert {worker["facts"]["core"] for worker in canary.get("/workers")} == {version("ktrdr-core"), new}
    assert old.stop() == 0
    done = canary.wait_for(identifier, "completed")
    assert done["attempt"] == 2
    assert done["result"]["resumed"]
    assert [worker["facts"]["core"] for worker in canary.get("/workers")] == [new]
    assert len(canary.get("/models")) == 1
    assert canary.postgres.query("select count(*) from operations where state = 'completed'") == "1"


def test_the_model_is_backtested_without_a_framework_and_its_report_is_fetched(canary, wait):
    """The worker that trained it has left; the one that is there has neither torch nor a backend."""
    (model,) = canary.get("/models")
    assert model["problem"] == ""
    assert canary.containers["worker-2"].stop() == 0
    canary.start("worker-backtest")
    wait(lambda: [each["capabilities"] for each in canary.get("/workers")] == [["backtest"]], "the worker has joined")
    status, queued = canary.request("POST", "/backtests", {"model": model["model"], "commission": 0.00002})
    assert status == 202, queued
    canary.wait_for(queued["id"], "completed")
    trades = canary.get(f"/backtests/{queued['id']}/trades")
    assert trades["total"] > 0
    status, page = canary.request("GET", f"/backtests/{queued['id']}/report")
    assert status == 200
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "neuro_mean_reversion" in page


def test_health_checks_of_the_images_hold_and_everything_leaves_when_asked(canary, wait):
    for name in ("backend", "worker-backtest"):
        wait(canary.containers[name].healthy, f"{name} is healthy")
    assert canary.containers["worker-backtest"].stop() == 0
    wait(lambda: canary.get("/workers") == [], "the worker is gone")
    assert canary.containers["backend"].stop() == 128 + signal.SIGTERM
    assert canary.containers["scheduler"].stop() == 0

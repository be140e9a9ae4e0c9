"""A sweep on a cluster: every worker takes its share, and the table is the one the command line makes."""

from __future__ import annotations

import json

import pytest

SETTINGS = {
    "decisions.confidence_threshold": [round(0.34 + 0.005 * step, 3) for step in range(10)],
    "risk.stop_loss.atr": [2, 3, 4, 5],
}


@pytest.fixture
def trained(cluster, sklearn_text):
    """A cluster with two workers and a model."""
    cluster.start_scheduler()
    cluster.start_api()
    cluster.start_worker("first")
    cluster.wait_for(cluster.start_training(sklearn_text), "completed")
    cluster.start_worker("second")
    return cluster


def start_sweep(cluster, **more):
    return cluster.request("POST", "/sweeps", {"model": "plain", "settings": SETTINGS, **more})


def test_the_table_is_that_of_the_command_line(trained, ktrdr, tally):
    status, operation = start_sweep(trained, commission=0.0001)
    assert status == 202, operation
    tally.operations += 1
    trained.wait_for(operation["id"], "completed")
    result = trained.get(f"/sweeps/{operation['id']}/result")
    assert result["trials"] == 40
    options = [part for name, values in SETTINGS.items() for part in ("--set", f"{name}={','.join(map(str, values))}")]
    answer = ktrdr("sweep", "plain", *options, "--commission", "0.0001", "--json", home=trained.home)
    assert json.loads(answer.stdout) == result
    # Single backtests leave nothing behind, and the operation shows how far it came.
    assert trained.operation(operation["id"])["progress"]["done"] == 40


def test_a_mistake_is_refused_before_it_is_queued(trained):
    status, problem = start_sweep(trained, settings={"training.epochs": [1, 2]})
    assert status == 422
    assert "cannot be swept on a trained model" in problem["detail"]
    assert [item["kind"] for item in trained.get("/operations")["items"]] == ["training"]


def test_a_killed_worker_and_a_killed_api_cost_no_row(trained, kill_process, tally, moments):
    _, api, first, second = trained.processes
    many = {**SETTINGS, "risk.take_profit.atr": [round(2 + 0.1 * step, 1) for step in range(25)]}
    _, operation = start_sweep(trained, settings=many)
    tally.operations += 1
    wanted = moments.randint(5, 300)
    started = trained.wait_for(operation["id"], "running")
    while (started["progress"] or {"done": 0})["done"] < wanted:
        started = trained.wait_for(operation["id"], "running")
    kill_process(moments.choice([first, second]))
    kill_process(api)
    trained.start_api()
    found = trained.wait_for(operation["id"], "completed", timeout=300)
    assert found["attempt"] == 2
    assert sorted(row["trial"] for row in found["result"]["rows"]) == list(range(1, 1001))


def test_it_can_be_cancelled(trained):
    many = {**SETTINGS, "risk.take_profit.atr": [round(2 + 0.1 * step, 1) for step in range(200)]}
    _, operation = start_sweep(trained, settings=many)
    trained.wait_for(operation["id"], "running")
    status, _ = trained.request("POST", f"/operations/{operation['id']}/cancel")
    assert status == 202
    trained.wait_for(operation["id"], "cancelled", timeout=20)

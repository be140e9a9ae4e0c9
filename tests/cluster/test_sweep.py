"""A sweep on a cluster: every worker takes its share, and the table is the one the command line makes."""

from __future__ import annotations

import json

import pytest
import yaml

SETTINGS = {
    "decisions.confidence_threshold": [round(0.5 + 0.005 * step, 3) for step in range(10)],
    "risk.stop_loss.atr": [2, 3, 4, 5],
}


@pytest.fixture
def trained(standing, sklearn_text):
    """A cluster with two workers and a model."""
    if not standing.models("plain"):
        standing.wait_for(standing.start_training(sklearn_text), "completed")
    return standing


def test_the_table_is_that_of_the_command_line(trained, ktrdr):
    identifier = trained.start_sweep("plain", SETTINGS, commission=0.0001)
    trained.wait_for(identifier, "completed")
    result = trained.get(f"/sweeps/{identifier}/result")
    assert result["trials"] == 40
    options = [part for name, values in SETTINGS.items() for part in ("--set", f"{name}={','.join(map(str, values))}")]
    answer = ktrdr("sweep", "plain", *options, "--commission", "0.0001", "--json", home=trained.home)
    assert json.loads(answer.stdout) == result
    # Single backtests leave nothing behind, and the operation shows how far it came.
    assert trained.operation(identifier)["progress"]["done"] == 40


def test_its_best_row_under_another_name_counts_among_all_of_it(trained, sklearn_text, ktrdr):
    identifier = trained.start_sweep("plain", SETTINGS)
    swept = trained.wait_for(identifier, "completed")["result"]
    best, known = swept["rows"][0], swept["trial_count"]["known"]
    assert known >= 40
    document = yaml.safe_load(sklearn_text)
    document |= {"name": "found_at_once"}
    document["decisions"] |= {"confidence_threshold": best["settings"]["decisions.confidence_threshold"]}
    document["risk"] = {**document.get("risk", {}), "stop_loss": {"atr": best["settings"]["risk.stop_loss.atr"]}}
    trained.wait_for(trained.start_training(yaml.safe_dump(document)), "completed")
    for _ in range(2):
        found = trained.wait_for(trained.start_backtest("found_at_once"), "completed")["result"]
        assert found["trial_count"]["known"] == found["metrics"]["trials"] == known
        assert found["trial_count"]["chosen_among"] >= 40
        assert {name: found["metrics"][name] for name in best["metrics"]} == best["metrics"]
    # On the command line of the same home, too; and the chain that all of these have written is whole.
    shown = json.loads(ktrdr("compare", found["run"], "--json", home=trained.home).stdout)[found["run"]]
    assert shown["metrics"] == found["metrics"]
    assert trained.get("/trials?limit=1")["ledger"] == found["trial_count"]["ledger"]
    (chain,) = json.loads(ktrdr("trials", "verify", "--json", home=trained.home).stdout)
    assert chain["problem"] == ""


def test_a_mistake_is_refused_before_it_is_queued(trained):
    before = trained.get("/operations")["items"]
    status, problem = trained.request("POST", "/sweeps", {"model": "plain", "settings": {"training.epochs": [1, 2]}})
    assert status == 422
    assert "cannot be swept on a trained model" in problem["detail"]
    assert trained.get("/operations")["items"] == before


def test_a_killed_worker_and_a_killed_api_cost_no_row(trained, kill_process, moments):
    many = {**SETTINGS, "risk.take_profit.atr": [round(2 + 0.1 * step, 1) for step in range(25)]}
    identifier = trained.start_sweep("plain", many)
    trained.wait_until_done(identifier, moments.randint(5, 300), step="backtests")
    kill_process(trained.running[moments.choice(["first", "second"])])
    kill_process(trained.running["api"])
    trained.start_api()
    found = trained.wait_for(identifier, "completed", timeout=300)
    assert found["attempt"] == 2
    assert sorted(row["trial"] for row in found["result"]["rows"]) == list(range(1, 1001))


def test_it_can_be_cancelled(trained):
    many = {**SETTINGS, "risk.take_profit.atr": [round(2 + 0.1 * step, 1) for step in range(200)]}
    identifier = trained.start_sweep("plain", many)
    trained.wait_for(identifier, "running")
    status, _ = trained.request("POST", f"/operations/{identifier}/cancel")
    assert status == 202
    trained.wait_for(identifier, "cancelled", timeout=20)

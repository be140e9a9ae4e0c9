"""Nothing is lost, nothing is doubled: kill what can be killed, at random moments, and ask for what was started."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

# How often each fault is tried again, at other moments.
REPEATS = int(os.environ.get("KTRDR_FAULT_REPEATS", "1"))


@pytest.fixture
def children_of(family):
    """Return a function that returns the ids of a process's descendants that run operations."""
    return lambda process: [pid for pid, command in family(process.pid).items() if "ktrdr.worker.child" in command]


def worker_of(cluster, operation):
    """Return the process of the worker that runs ``operation``."""
    names = {worker["address"]: worker["name"] for worker in cluster.get("/workers")}
    return cluster.running[names[operation["worker"]]]


@pytest.fixture
def finished(tally, undisturbed_hash, strategy_name):
    """Return a check that an operation came to one whole result: the one an undisturbed run comes to."""

    def check(cluster, identifier):
        tally.lost += 1
        operation = cluster.wait_for(identifier, "completed", timeout=240)
        assert operation["result"]["weights_hash"] == undisturbed_hash
        assert cluster.models(strategy_name) == [operation["result"]["model"]]
        tally.lost -= 1
        return operation

    return check


@pytest.mark.parametrize("number", range(3 * REPEATS))
def test_a_killed_worker_costs_what_was_done_since_the_last_checkpoint(
    standing, strategy_text, moments, kill_process, children_of, finished, number
):
    identifier = standing.start_training(strategy_text)
    operation = standing.wait_until_done(identifier, moments.randint(1, 30))
    process = worker_of(standing, operation)
    # The whole machine goes: nanny, worker, and the child with them.
    (child,) = children_of(process)
    kill_process(process)
    operation = finished(standing, identifier)
    assert operation["attempt"] == 2
    assert operation["attempts"][0]["outcome"]
    assert operation["result"]["resumed"]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_killed_worker_costs_several_seeds_the_one_at_work(
    standing, strategy_text, strategy_name, kill_process, ktrdr, tmp_path, wait
):
    settings = {"seeds": 6, "epochs": 30}
    identifier = standing.start_training(strategy_text, **settings)
    left = (standing.home / "checkpoints").glob
    wait(
        lambda: [*left(f"{strategy_name}-*/members/[0-9]*"), *left(f"{strategy_name}-*/checkpoint-*")],
        "a seed is finished, or has a checkpoint",
    )
    kill_process(worker_of(standing, standing.operation(identifier)))
    operation = standing.wait_for(identifier, "completed", timeout=240)
    assert (operation["attempt"], operation["result"]["resumed"]) == (2, True)
    (tmp_path / "strategy.yaml").write_text(strategy_text)
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    local = json.loads(ktrdr("train", str(tmp_path / "strategy.yaml"), *options, "--json", home=standing.home).stdout)
    for key in ("weights_hash", "seed", "members", "metrics", "importance"):
        assert operation["result"][key] == local[key], key


@pytest.mark.parametrize("number", range(REPEATS))
def test_a_killed_child_costs_its_operation_alone(
    standing, strategy_text, moments, kill_process, children_of, finished, undisturbed_hash, number
):
    # Beside it runs another one, that is to notice nothing.
    bystander = standing.start_training(strategy_text.replace("disturbed", "beside"))
    identifier = standing.start_training(strategy_text)
    operation = standing.wait_until_done(identifier, moments.randint(1, 30))
    (child,) = children_of(worker_of(standing, operation))
    kill_process(child)
    assert finished(standing, identifier)["attempt"] == 2
    untouched = standing.wait_for(bystander, "completed")
    assert (untouched["attempt"], untouched["result"]["weights_hash"]) == (1, undisturbed_hash)
    assert sorted(standing.worker_names()) == ["first", "second"]


def test_three_losses_under_one_operation_fail_it_with_the_history(standing, strategy_text, kill_process, children_of):
    identifier = standing.start_training(strategy_text.replace("epochs: 60", "epochs: 6000"))
    for attempt in (1, 2, 3):
        operation = standing.wait_until_done(identifier, 1, attempt=attempt)
        (child,) = children_of(worker_of(standing, operation))
        kill_process(child)
    operation = standing.wait_for(identifier, "failed")
    assert operation["error"]["message"].count("SIGKILL") == 3
    assert [row["attempt"] for row in operation["attempts"]] == [1, 2, 3]


@pytest.mark.parametrize("number", range(2 * REPEATS))
def test_a_killed_api_finds_again_what_runs(standing, strategy_text, moments, kill_process, finished, number):
    identifier = standing.start_training(strategy_text)
    standing.wait_until_done(identifier, moments.randint(1, 20))
    kill_process(standing.running["api"])
    time.sleep(moments.uniform(0, 3))
    standing.start_api()
    assert finished(standing, identifier)["attempt"] == 1


def test_an_operation_that_ends_while_the_api_is_down_is_not_run_again(
    standing, strategy_text, strategy_name, kill_process, children_of, wait
):
    identifier = standing.start_training(strategy_text, epochs=12)
    process = worker_of(standing, standing.wait_until_done(identifier, 1))
    kill_process(standing.running["api"])
    wait(lambda: (standing.home / "models" / strategy_name / "1" / "manifest.json").exists(), "the model is stored")
    wait(lambda: not children_of(process), "its process has ended")
    standing.start_api()
    operation = standing.wait_for(identifier, "completed")
    assert operation["attempt"] == 1
    assert standing.models(strategy_name) == [operation["result"]["model"]]


@pytest.mark.parametrize("number", range(REPEATS))
def test_a_killed_scheduler_is_replaced_and_the_work_runs_again(
    standing, strategy_text, moments, kill_process, finished, number
):
    identifier = standing.start_training(strategy_text)
    standing.wait_until_done(identifier, moments.randint(1, 20))
    kill_process(standing.running["scheduler"])
    time.sleep(1)
    standing.start_scheduler()
    assert finished(standing, identifier)["attempt"] == 2
    for name in ("first", "second"):
        standing.wait_for_worker(name)


@pytest.mark.parametrize("number", range(REPEATS))
def test_a_worker_that_is_asked_to_leave_hands_its_work_back(standing, strategy_text, moments, finished, tally, number):
    identifier = standing.start_training(strategy_text)
    operation = standing.wait_until_done(identifier, moments.randint(1, 20))
    process = worker_of(standing, operation)
    tally.faults += 1
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(40) == 0
    assert time.monotonic() - began < 35
    operation = finished(standing, identifier)
    assert operation["attempt"] == 2
    assert operation["result"]["resumed"]
    # Leaving is nobody's fault: it does not count towards the three.
    assert not operation["attempts"][0]["counts"]


def test_cancel_reaches_the_running_batch_and_what_it_left_can_be_resumed(
    standing, strategy_text, strategy_name, finished
):
    identifier = standing.start_training(strategy_text)
    standing.wait_until_done(identifier, 3)
    status, _ = standing.request("POST", f"/operations/{identifier}/cancel")
    assert status == 202
    standing.wait_for(identifier, "cancelled", timeout=20)
    assert standing.models(strategy_name) == []
    status, _ = standing.request("POST", f"/operations/{identifier}/resume")
    assert status == 202
    assert finished(standing, identifier)["result"]["resumed"]

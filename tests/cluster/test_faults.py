"""Nothing is lost, nothing is doubled: kill what can be killed, at random moments, and ask for what was started."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

# How often each fault is tried again, at other moments.
REPEATS = int(os.environ.get("KTRDR_FAULT_REPEATS", "1"))


def children_of(pid):
    """Return the ids of a process's descendants that run operations."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows}

    def descends(child):
        while child in parents:
            child = parents[child]
            if child == pid:
                return True
        return False

    return [int(row[0]) for row in rows if "ktrdr.worker.child" in row[2] and descends(int(row[0]))]


def worker_of(cluster, operation, workers):
    """Return the process of the worker that runs ``operation``."""
    names = {worker["address"]: worker["name"] for worker in cluster.get("/workers")}
    return workers[names[operation["worker"]]]


@pytest.fixture
def finished(tally, undisturbed_hash):
    """Return a check that an operation came to one whole result: the one an undisturbed run comes to."""

    def check(cluster, identifier):
        tally.lost += 1
        operation = cluster.wait_for(identifier, "completed", timeout=240)
        assert operation["result"]["weights_hash"] == undisturbed_hash
        assert len(cluster.get("/models")) == 1
        tally.lost -= 1
        return operation

    return check


@pytest.fixture
def workers(cluster):
    cluster.start_scheduler()
    cluster.start_api()
    started = {name: cluster.spawn_worker(name) for name in ("first", "second")}
    for name in started:
        cluster.wait_for_worker(name)
    return started


@pytest.mark.parametrize("number", range(3 * REPEATS))
def test_a_killed_worker_costs_what_was_done_since_the_last_checkpoint(
    cluster, workers, strategy_text, moments, kill_process, finished, number
):
    identifier = cluster.start_training(strategy_text)
    operation = cluster.wait_until_training(identifier, epochs=moments.randint(1, 30))
    process = worker_of(cluster, operation, workers)
    # The whole machine goes: nanny, worker, and the child with them.
    (child,) = children_of(process.pid)
    kill_process(process)
    operation = finished(cluster, identifier)
    assert operation["attempt"] == 2
    assert operation["attempts"][0]["outcome"]
    assert operation["result"]["resumed"]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("number", range(REPEATS))
def test_a_killed_child_costs_its_operation_alone(
    cluster, workers, strategy_text, moments, kill_process, finished, number
):
    identifier = cluster.start_training(strategy_text)
    operation = cluster.wait_until_training(identifier, epochs=moments.randint(1, 30))
    (child,) = children_of(worker_of(cluster, operation, workers).pid)
    kill_process(child)
    assert finished(cluster, identifier)["attempt"] == 2
    assert {worker["name"] for worker in cluster.get("/workers")} == {"first", "second"}


def test_three_losses_under_one_operation_fail_it_with_the_history(cluster, workers, strategy_text, kill_process, wait):
    identifier = cluster.start_training(strategy_text.replace("epochs: 50", "epochs: 5000"))
    for attempt in (1, 2, 3):
        cluster.wait_until_training(identifier, epochs=1, attempt=attempt)
        (child,) = [pid for process in workers.values() for pid in children_of(process.pid)]
        kill_process(child)
    operation = cluster.wait_for(identifier, "failed")
    assert operation["error"]["message"].count("SIGKILL") == 3
    assert [row["attempt"] for row in operation["attempts"]] == [1, 2, 3]


@pytest.mark.parametrize("number", range(2 * REPEATS))
def test_a_killed_api_finds_again_what_runs(cluster, strategy_text, moments, kill_process, finished, number):
    cluster.start_scheduler()
    api = cluster.start_api()
    cluster.start_worker("first")
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_training(identifier, epochs=moments.randint(1, 20))
    kill_process(api)
    time.sleep(moments.uniform(0, 3))
    cluster.start_api()
    assert finished(cluster, identifier)["attempt"] == 1


def test_an_operation_that_ends_while_the_api_is_down_is_not_run_again(cluster, strategy_text, kill_process, finished):
    cluster.start_scheduler()
    api = cluster.start_api()
    cluster.start_worker("first")
    identifier = cluster.start_training(strategy_text, epochs=12)
    cluster.wait_until_training(identifier, epochs=1)
    kill_process(api)
    deadline = time.monotonic() + 120
    while not list((cluster.home / "models").glob("*/1/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    cluster.start_api()
    operation = cluster.wait_for(identifier, "completed")
    assert operation["attempt"] == 1
    assert len(cluster.get("/models")) == 1


@pytest.mark.parametrize("number", range(REPEATS))
def test_a_killed_scheduler_is_replaced_and_the_work_runs_again(
    cluster, strategy_text, moments, kill_process, finished, number
):
    scheduler = cluster.start_scheduler()
    cluster.start_api()
    cluster.start_worker("first")
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_training(identifier, epochs=moments.randint(1, 20))
    kill_process(scheduler)
    time.sleep(1)
    cluster.start_scheduler()
    assert finished(cluster, identifier)["attempt"] == 2


@pytest.mark.parametrize("number", range(REPEATS))
def test_a_worker_that_is_asked_to_leave_hands_its_work_back(
    cluster, workers, strategy_text, moments, finished, tally, number
):
    identifier = cluster.start_training(strategy_text)
    operation = cluster.wait_until_training(identifier, epochs=moments.randint(1, 20))
    process = worker_of(cluster, operation, workers)
    tally.faults += 1
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(40) == 0
    assert time.monotonic() - began < 35
    operation = finished(cluster, identifier)
    assert operation["attempt"] == 2
    assert operation["result"]["resumed"]
    # Leaving is nobody's fault: it does not count towards the three.
    assert not operation["attempts"][0]["counts"]


def test_cancel_reaches_the_running_batch_and_what_it_left_can_be_resumed(
    cluster, workers, strategy_text, finished, undisturbed_hash
):
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_training(identifier, epochs=3)
    status, _ = cluster.request("POST", f"/operations/{identifier}/cancel")
    assert status == 202
    cluster.wait_for(identifier, "cancelled", timeout=20)
    assert cluster.get("/models") == []
    status, _ = cluster.request("POST", f"/operations/{identifier}/resume")
    assert status == 202
    assert finished(cluster, identifier)["result"]["resumed"]

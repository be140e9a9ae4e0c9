"""`ktrdr up`: everything on one machine, by one command."""

from __future__ import annotations

import signal

import psutil


def alive(pids):
    """Return those of some processes that still run."""
    there = psutil.process_iter(["status"])
    return [process.pid for process in there if process.pid in pids and process.info["status"] != psutil.STATUS_ZOMBIE]


def test_ctrl_c_hands_back_what_runs_and_the_next_one_goes_on(cluster, strategy_text, undisturbed_hash, tally, family):
    process = cluster.start_up("--workers", "1", "--require", "torch")
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_done(identifier, 5)
    members = family(process.pid)
    assert len(members) >= 3  # a worker, its nanny's child, the child that trains
    tally.faults += 1
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)
    assert alive(members) == []

    cluster.start_up("--workers", "1")
    operation = cluster.wait_for(identifier, "completed")
    assert operation["attempt"] == 2
    assert operation["result"]["resumed"]
    assert operation["result"]["weights_hash"] == undisturbed_hash
    assert len(cluster.get("/models")) == 1
    assert not operation["attempts"][0]["counts"]


def test_killed_it_takes_its_workers_with_it(cluster, kill_process, wait, family):
    process = cluster.start_up("--workers", "2", KTRDR_BLOCK_PLUGINS="torch")
    said = cluster.wait_for_log("up", "workers to join")
    assert "Waiting for 2 workers to join tcp://127.0.0.1:" in said
    wait(lambda: len(cluster.get("/workers")) == 2, "both workers have joined")
    assert "2 workers joined; start another one with `ktrdr worker tcp://" in cluster.wait_for_log("up", "joined;")
    members = family(process.pid)
    kill_process(process)
    wait(lambda: not alive(members), "nothing of it is left")


def test_a_cancelled_training_frees_its_worker_soon_however_soon_it_is_cancelled(cluster, strategy_text, wait):
    """A grace of ten minutes, which no operation needs: a request to stop is heard while its process starts, too."""
    cluster.start_up("--workers", "1", "--require", "torch", KTRDR_API_GRACE="600")
    identifier = cluster.start_training(strategy_text, epochs=100_000)
    cluster.wait_until_done(identifier, 2)
    for attempt in (2, 3, 4):
        assert cluster.request("POST", f"/operations/{identifier}/cancel")[0] == 202
        cluster.wait_for(identifier, "cancelled", timeout=120)
        assert cluster.request("POST", f"/operations/{identifier}/resume")[0] == 202
        cluster.wait_for(identifier, "running")
        assert cluster.operation(identifier)["attempt"] == attempt
    assert cluster.request("POST", f"/operations/{identifier}/cancel")[0] == 202
    cluster.wait_for(identifier, "cancelled", timeout=120)
    wait(lambda: cluster.get("/workers")[0]["running"] == [], "the worker is free")

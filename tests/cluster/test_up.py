"""`ktrdr up`: everything on one machine, by one command."""

from __future__ import annotations

import signal
import subprocess


def descendants(pid):
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listing.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids):
    listing = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    running = {int(pid) for pid, state in (line.split() for line in listing.splitlines()) if not state.startswith("Z")}
    return running & set(pids)


def test_ctrl_c_hands_back_what_runs_and_the_next_one_goes_on(cluster, strategy_text, undisturbed_hash, tally):
    process = cluster.start_up("--workers", "1", "--require", "torch")
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_training(identifier, epochs=5)
    family = descendants(process.pid)
    assert len(family) >= 3  # a worker, its nanny's child, the child that trains
    tally.faults += 1
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)
    assert alive(family) == set()

    cluster.start_up("--workers", "1")
    operation = cluster.wait_for(identifier, "completed")
    assert operation["attempt"] == 2
    assert operation["result"]["resumed"]
    assert operation["result"]["weights_hash"] == undisturbed_hash
    assert len(cluster.get("/models")) == 1
    assert not operation["attempts"][0]["counts"]


def test_killed_it_takes_its_workers_with_it(cluster, kill_process, wait):
    process = cluster.start_up("--workers", "2")
    wait(lambda: len(cluster.get("/workers")) == 2, "both workers have joined")
    family = descendants(process.pid)
    kill_process(process)
    wait(lambda: not alive(family), "nothing of it is left")

"""Workers on machines of their own, as far as the network goes: a network namespace each, and a cable to cut."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from dataclasses import dataclass

import pytest

NETWORKS = [f"10.{number}" for number in range(200, 250)]
WHY_NOT = "NOT TESTED: cutting the network needs root and network namespaces"


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)


@dataclass
class Machine:
    """A network namespace with one cable to this one."""

    name: str
    cable: str
    address: str

    @property
    def inside(self):
        """The words that run a command in it."""
        return ["ip", "netns", "exec", self.name]

    def cut(self):
        ip("link", "set", self.cable, "down")

    def mend(self):
        ip("link", "set", self.cable, "up")


@pytest.fixture
def network():
    """A function that makes a machine, and the address at which machines reach this one; all are gone with the test."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip(WHY_NOT)
    machines, numbers = [], itertools.count(1)
    probe = ip("netns", "add", f"ktrdr-{os.getpid()}", check=False)
    if probe.returncode:
        pytest.skip(f"{WHY_NOT}: {probe.stderr.strip()}")
    ip("netns", "del", f"ktrdr-{os.getpid()}")
    # The scheduler's address, which all of them reach whichever cable is cut. Giving it to this machine takes the
    # network: it fails where another process has done so.
    network = next(
        each for each in NETWORKS if not ip("address", "add", f"{each}.0.1/32", "dev", "lo", check=False).returncode
    )

    def make():
        number = next(numbers)
        machine = Machine(f"ktrdr-{os.getpid()}-{number}", f"kt{os.getpid()}-{number}", f"{network}.{number}.2")
        machines.append(machine)
        ip("netns", "add", machine.name)
        ip("link", "add", machine.cable, "type", "veth", "peer", "name", "cable", "netns", machine.name)
        ip("address", "add", f"{network}.{number}.1/24", "dev", machine.cable)
        ip("link", "set", machine.cable, "up")
        for command in (
            ("address", "add", f"{machine.address}/24", "dev", "cable"),
            ("link", "set", "cable", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", f"{network}.{number}.1"),
        ):
            ip("-n", machine.name, *command)
        return machine

    yield make, f"{network}.0.1"
    for machine in machines:
        ip("netns", "del", machine.name, check=False)
        ip("link", "del", machine.cable, check=False)
    ip("address", "del", f"{network}.0.1/32", "dev", "lo", check=False)


@pytest.fixture
def make_machine(network):
    make, _ = network
    return make


@pytest.fixture
def spread_cluster(network, cluster):
    """A cluster whose scheduler can be reached from other machines. Nothing is started yet."""
    _, cluster.host = network
    # On a network that is the test's own: nobody else reaches it.
    return cluster


def join(cluster, name, machine, **environ):
    """Start a worker on ``machine``; whichever address it is given, the API learns it."""
    return cluster.start_worker(name, "--host", machine.address, inside=machine.inside, **environ)


def test_a_short_cut_costs_nothing(spread_cluster, make_machine, strategy_text, moments, tally, undisturbed_hash):
    cluster, machine = spread_cluster, make_machine()
    cluster.start_scheduler()
    cluster.start_api()
    join(cluster, "far", machine)
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_done(identifier, moments.randint(1, 20))
    tally.faults += 1
    machine.cut()
    time.sleep(moments.uniform(2, 6))
    before = cluster.operation(identifier)
    assert before["state"] == "running"
    machine.mend()
    operation = cluster.wait_for(identifier, "completed", timeout=240)
    # The very attempt that was running went on meanwhile, and nobody noticed.
    assert operation["attempt"] == 1
    assert operation["result"]["weights_hash"] == undisturbed_hash
    assert len(cluster.get("/models")) == 1


def test_a_cut_that_outlasts_all_patience_doubles_nothing(
    spread_cluster, make_machine, strategy_text, moments, tally, undisturbed_hash, wait
):
    cluster, machines = spread_cluster, {"near": make_machine(), "far": make_machine()}
    patience = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
    cluster.environ |= patience
    cluster.start_scheduler()
    cluster.start_api()
    for name, machine in machines.items():
        join(cluster, name, machine)
    identifier = cluster.start_training(strategy_text)
    operation = cluster.wait_until_done(identifier, moments.randint(1, 10))
    names = {worker["address"]: worker["name"] for worker in cluster.get("/workers")}
    lost = names[operation["worker"]]
    tally.faults += 1
    machines[lost].cut()
    # The one behind the cut trains on, and stores its model where all can see it. The other one is given the work.
    wait(lambda: cluster.operation(identifier)["attempt"] == 2, "the work is given to another worker", timeout=240)
    operation = cluster.wait_for(identifier, "completed", timeout=240)
    assert names[operation["worker"]] != lost
    assert operation["result"]["weights_hash"] == undisturbed_hash
    machines[lost].mend()
    cluster.wait_for_worker(lost)
    again = cluster.operation(identifier)
    assert (again["state"], again["attempt"]) == ("completed", 2)
    assert again["finished_at"] == operation["finished_at"]
    (model,) = cluster.get("/models")
    assert model["model"] == operation["result"]["model"]

"""A worker joins with what it has, or does not join at all."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from ktrdr.core.cluster.dask_settings import PROTOCOL_RESOURCE, VERSIONS_KEY, versions


def wait_for_workers(scheduler, count, timeout=60):
    deadline = time.monotonic() + timeout
    while len(scheduler.scheduler.workers) != count:
        assert time.monotonic() < deadline, f"{len(scheduler.scheduler.workers)} workers, not {count}"
        time.sleep(0.05)
    return list(scheduler.scheduler.workers.values())


@pytest.mark.parametrize("require", ["torch", "nonsense", "torch:tpu"])
def test_without_what_is_required_it_refuses_before_it_joins(ktrdr, scheduler, require):
    answer = ktrdr("worker", scheduler.address, "--require", require)
    assert answer.returncode == 78
    assert len(answer.stderr.strip().splitlines()) == 1
    assert require.partition(":")[0] in answer.stderr
    assert scheduler.scheduler.workers == {}


@pytest.mark.parametrize("variable", ["KTRDR_CACHE_LIMIT", "KTRDR_POPULATION_MEMORY"])
def test_a_wrong_size_in_the_environment_is_refused_before_it_joins(ktrdr, scheduler, variable):
    answer = ktrdr("worker", scheduler.address, **{variable: "2G"})
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"Error: {variable} is not a size: '2G'; set it to")
    assert answer.stderr.count("\n") == 1
    assert scheduler.scheduler.workers == {}


def test_a_stock_dask_worker_with_the_preload_refuses_too(scheduler, tmp_path):
    import os
    import subprocess
    import sys

    command = ["-m", "dask", "worker", scheduler.address, "--preload", "ktrdr.worker.preload", "--no-nanny"]
    answer = subprocess.run(
        [sys.executable, *command, "--no-dashboard", "--death-timeout", "30"],
        env={
            **os.environ,
            "KTRDR_BLOCK_PLUGINS": "torch,sklearn",
            "KTRDR_HOME": str(tmp_path),
            "KTRDR_WORKER_REQUIRE": "torch",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 78
    assert "this worker must have `torch`" in answer.stderr
    assert scheduler.scheduler.workers == {}


def test_it_announces_what_it_can_do_and_what_it_is(scheduler, start_worker):
    start_worker(scheduler.address, "--name", "one", "--slots", "2")
    (state,) = wait_for_workers(scheduler, 1)
    assert state.name == "one"
    assert state.resources == {PROTOCOL_RESOURCE: 2.0, "backtest": 2.0}
    facts = scheduler.scheduler.identity()["workers"][state.address]
    assert {key: facts["ktrdr"][key] for key in versions()} == versions()


def test_a_worker_of_another_protocol_leaves_with_a_table(ktrdr, scheduler):
    newer = {**versions(), "protocol": "999"}
    scheduler.scheduler.task_metadata[VERSIONS_KEY] = newer
    answer = ktrdr("worker", scheduler.address)
    assert answer.returncode == 78
    first, *table = answer.stderr.strip().splitlines()
    assert "use different protocols" in first
    assert any("protocol" in line and "999" in line and "must be the same" in line for line in table)
    assert "Traceback" not in answer.stderr
    assert scheduler.scheduler.workers == {}


def test_it_comes_back_when_the_scheduler_does_and_leaves_when_told(scheduler, start_worker):
    process = start_worker(scheduler.address)
    (first,) = wait_for_workers(scheduler, 1)
    scheduler.call(scheduler.scheduler.remove_worker(first.address, stimulus_id="test", close=True))
    wait_for_workers(scheduler, 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    wait_for_workers(scheduler, 0)


def test_it_leaves_with_the_process_that_started_it(scheduler, start_worker):
    process = start_worker(scheduler.address, "--with-parent")
    wait_for_workers(scheduler, 1)
    process.stdin.close()
    process.stdin = None
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["localhost:8786"], "is not the address of a scheduler"),
        (["tls://127.0.0.1:8786"], "needs certificates"),
        (["tls://127.0.0.1:8786", "--certificates", "nowhere"], "lacks ca.pem"),
    ],
)
def test_bad_addresses_are_one_sentence(ktrdr, arguments, message):
    answer = ktrdr("worker", *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_it_leaves_with_its_parent_though_its_scheduler_went_while_it_started(scheduler, start_worker):
    process = start_worker(scheduler.address, "--with-parent")
    worker = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    # The process that is to join; the other one only tracks resources.
    while not (joining := [child for child in worker.children() if "spawn_main" in " ".join(child.cmdline())]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert scheduler.scheduler.workers == {}
    scheduler.close()
    process.stdin.close()
    process.stdin = None
    process.wait(120)
    assert [child for child in joining if child.is_running()] == []

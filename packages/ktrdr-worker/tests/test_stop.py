"""A stop is heard whenever it comes: before the child of an operation is up, while it starts, and while it works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from ktrdr.worker import children
from ktrdr.worker.children import RUNNING, run_operation, stop_operation

# Grace that no test waits for: an operation that did not hear is killed after the test has failed.
GRACE = 600.0

WORKING = """
import sys, time
from ktrdr.core.workflows import run_job as workflow
from ktrdr.worker import child
def run_job(kind, job, *, cancellation, **options):
    while True:
        time.sleep(0.01)
        cancellation.raise_if_requested()
workflow.run_job = run_job
child.main()
"""


@pytest.fixture
def operation(monkeypatch):
    """Return a function that runs an operation in a thread, in a worker that ignores SIGTERM as real ones do."""
    told = []
    worker = SimpleNamespace(address="tcp://w", log_event=lambda topic, message: told.append(message))
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    real = subprocess.Popen

    def popen(command, **options):
        return real([sys.executable, "-c", WORKING], **options)

    monkeypatch.setattr(children.subprocess, "Popen", popen)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threads = []

    def run(key="A", attempt=2):
        endings = []
        work = lambda: endings.append(run_operation(key, attempt, "training", {"strategy": "x" * 100_000}))  # noqa: E731
        thread = threading.Thread(target=work)
        threads.append(thread)
        thread.start()
        return thread, endings, told

    yield run
    for running in list(RUNNING.values()):
        running.process.kill()
    for thread in threads:
        thread.join(30)
    signal.signal(signal.SIGTERM, before)


def has_ended(thread, endings):
    thread.join(60)
    assert not thread.is_alive(), "it did not hear that it is to stop"
    assert RUNNING == {}
    return endings[0]["event"]


def test_a_stop_that_comes_before_the_operation_is_heard(operation):
    assert not stop_operation("A:2", GRACE)
    thread, endings, _ = operation()
    assert has_ended(thread, endings) == "cancelled"
    assert children._STOP_REQUESTS == {}


def test_a_stop_that_comes_while_its_process_starts_is_heard(operation):
    """Python takes a moment until it has signals: one that comes before is ignored by whoever inherits that."""
    thread, endings, _ = operation()
    while "A:2" not in RUNNING:
        assert thread.is_alive()
    assert stop_operation("A:2", GRACE)
    assert has_ended(thread, endings) == "cancelled"


@pytest.mark.parametrize(("reason", "event"), [("cancel", "cancelled"), ("drain", "drained")])
def test_a_stop_that_comes_while_it_works_is_heard(operation, reason, event):
    thread, endings, _ = operation()
    while "A:2" not in RUNNING or not taken_over(RUNNING["A:2"].process.pid):
        assert thread.is_alive()
    assert stop_operation("A:2", GRACE, reason)
    assert has_ended(thread, endings) == event


def taken_over(pid):
    """Return True once a process catches SIGTERM itself."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        caught = next(line for line in file if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_one_that_does_not_listen_is_killed_after_its_grace(operation, monkeypatch):
    monkeypatch.setattr(children, "_ask_to_stop", lambda running: None)
    thread, endings, _ = operation()
    while "A:2" not in RUNNING:
        assert thread.is_alive()
    assert stop_operation("A:2", 0.1)
    assert has_ended(thread, endings) == "cancelled"
    assert endings[0]["message"] == "stopped by force after the grace period"


def test_a_signal_is_heard_as_well(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WORKING],
        env={**os.environ, "KTRDR_HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write('{"kind": "training", "job": {}}\n')
    process.stdin.flush()
    try:
        while not taken_over(process.pid):
            assert process.poll() is None
        process.terminate()
        assert '"cancelled"' in process.stdout.readline()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()

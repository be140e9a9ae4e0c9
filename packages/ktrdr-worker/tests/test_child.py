"""The process an operation runs in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.operations import NO_PROGRESS, Cancellation
from ktrdr.worker import child


@pytest.fixture
def start_child(tmp_path):
    processes = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-m", "ktrdr.worker.child"],
            env={**os.environ, "KTRDR_HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_what_a_person_can_mend_comes_back_as_a_failure_and_not_as_a_traceback(start_child):
    process = start_child()
    request = {"kind": "backtest", "job": {"model": "nobody_trained_this"}, "resume": False}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    message = json.loads(process.stdout.readline())
    assert message["event"] == "failed"
    assert "nobody_trained_this" in message["error"]["message"]
    assert process.wait(30) == 0
    assert "Traceback" not in process.stderr.read()


def test_a_kind_nobody_knows_is_refused(start_child):
    process = start_child()
    process.stdin.write(json.dumps({"kind": "sorcery", "job": {}}) + "\n")
    process.stdin.flush()
    message = json.loads(process.stdout.readline())
    assert message["event"] == "failed"
    assert "no job of kind `sorcery`" in message["error"]["message"]


def test_it_ends_with_the_process_that_started_it(start_child):
    process = start_child()
    process.stdin.write(json.dumps({"kind": "backtest", "job": {"model": "x"}}) + "\n")
    process.stdin.close()
    process.stdin = None
    assert process.wait(30) in (0, 1)


@pytest.mark.parametrize(
    ("raised", "event"),
    [(CancelledError("asked to stop"), "cancelled"), (BadInputError("no such thing"), "failed")],
)
def test_how_work_ends_is_said(monkeypatch, raised, event):
    def run_job(*arguments, **options):
        raise raised

    monkeypatch.setattr("ktrdr.core.operations.jobs.run_job", run_job)
    ending = child.run({"kind": "training", "job": {}}, NO_PROGRESS, Cancellation())
    assert ending["event"] == event
    assert str(raised) in json.dumps(ending)


def test_a_fault_of_ours_is_not_passed_off_as_the_users(monkeypatch):
    def run_job(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("ktrdr.core.operations.jobs.run_job", run_job)
    with pytest.raises(ZeroDivisionError):
        child.run({"kind": "training", "job": {}}, NO_PROGRESS, Cancellation())

"""The process an operation runs in."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys

import pytest

from ktrdr.core.errors import BadInputError, CancelledError, ErrorRecord, StoreError
from ktrdr.core.home import home_directory
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.worker import child


@pytest.fixture
def start_child(tmp_path):
    processes = []

    def start(*command, **options):
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "ktrdr.worker.child"))],
            # No bytecode: Python would keep what a limit on the size of files cuts off.
            env={**os.environ, "KTRDR_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
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
    [
        (CancelledError("asked to stop"), "cancelled"),
        (BadInputError("no such thing"), "failed"),
        # Trouble of the machine: the attempt is lost, and another worker may have the room.
        (StoreError("cannot write x: the disk is full"), "crashed"),
    ],
)
def test_how_work_ends_is_said(monkeypatch, raised, event):
    def run_job(*arguments, **options):
        raise raised

    monkeypatch.setattr("ktrdr.core.workflows.run_job.run_job", run_job)
    ending = child.run({"kind": "training", "job": {}}, NO_PROGRESS, Cancellation())
    assert ending["event"] == event
    assert str(raised) in json.dumps(ending)


def test_a_fault_of_ours_is_not_passed_off_as_the_users(monkeypatch):
    def run_job(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("ktrdr.core.workflows.run_job.run_job", run_job)
    with pytest.raises(ZeroDivisionError):
        child.run({"kind": "training", "job": {}}, NO_PROGRESS, Cancellation())


# What jobs of today do not do while somebody watches: bars that do not fit on the disk, a model that fails.
_FAILING = """
import sys
from pathlib import Path
from ktrdr.core.backtesting.prediction import PredictionError
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.workflows import run_job as workflow
from ktrdr.worker import child
def run_job(kind, job, **options):
    if kind == "backtest":
        raise PredictionError("model waves/1 failed to predict EURUSD")
    return BarStore(Path(sys.argv[1])).write(sample_bars())
workflow.run_job = run_job
child.main()
"""


@pytest.fixture
def ending_of(start_child, tmp_path):
    """Return ``ending_of(kind)``: how a child ends that fails, on a disk where no file is larger than 30 kB."""

    def ending_of(kind):
        process = start_child(
            *("-c", _FAILING, str(tmp_path)),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
        )
        process.stdin.write(json.dumps({"kind": kind, "job": {}}) + "\n")
        process.stdin.flush()
        ending = json.loads(process.stdout.readline())
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
        return ending

    return ending_of


def test_a_failure_keeps_kind_message_and_exit_status_on_its_way(ending_of):
    ending = ending_of("backtest")
    assert ending["event"] == "failed"
    message = "model waves/1 failed to predict EURUSD"
    assert ErrorRecord.from_json(ending["error"]) == ErrorRecord("PredictionError", message, 2)


def test_a_full_disk_loses_the_attempt_and_says_so(ending_of):
    ending = ending_of("training")
    assert ending["event"] == "crashed"
    assert re.match("cannot write to .*: a file would be larger than is allowed here", ending["message"])


class Store:
    """An object store in a map, with what :class:`~ktrdr.core.cluster.object_store.ObjectStore` does."""

    def __init__(self):
        self.objects = {}

    def put(self, name, content):
        self.objects[name] = content

    def put_file(self, name, path):
        self.objects[name] = path.read_bytes()

    def get(self, name):
        return self.objects.get(name)

    def get_file(self, name, path):
        path.write_bytes(self.objects[name])

    def has(self, name):
        return name in self.objects

    def names(self, prefix):
        return sorted(name for name in self.objects if name.startswith(f"{prefix}/"))

    def delete(self, name):
        self.objects.pop(name, None)


def test_a_stopped_training_leaves_its_last_checkpoint_in_the_object_store(monkeypatch, tmp_path):
    from pathlib import Path

    from ktrdr.core.cluster.exchange import Exchange
    from ktrdr.core.work.progress import ProgressEvent

    store = Store()
    store.put("operations/A/inputs.json", b'{"data": [], "model": null}')
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    monkeypatch.setattr(Exchange, "from_environment", lambda: Exchange(store))
    seen = []

    def run_job(kind, job, *, resume, operation, cache, progress, cancellation):
        place = Path(os.environ["KTRDR_HOME"]) / "checkpoints" / "name-key"
        found = sorted(path.name for path in place.glob("*")) if place.exists() else []
        seen.append((resume, found))
        number = int(found[-1][-8:]) if found else 0
        for step in range(number + 1, number + 4):
            directory = place / f"checkpoint-{step:08d}"
            directory.mkdir(parents=True)
            (directory / "state").write_text(str(step))
            if step < number + 3:
                progress(ProgressEvent("training", step, 10))
        raise CancelledError("asked to stop")

    monkeypatch.setattr("ktrdr.core.workflows.run_job.run_job", run_job)
    for attempt in (1, 2):
        request = {"kind": "training", "job": {}, "operation": "A", "attempt": attempt}
        monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
        assert child.run(request, NO_PROGRESS, Cancellation())["event"] == "cancelled"
    assert seen == [(False, []), (True, ["checkpoint-00000003"])]
    # Of each attempt the newest, the one made after the last progress too; nothing is left on this machine.
    assert store.names("operations/A/checkpoints") == [
        "operations/A/checkpoints/00000003-0001.zip",
        "operations/A/checkpoints/00000006-0002.zip",
    ]
    assert list((tmp_path / "work").iterdir()) == []


def test_with_an_object_store_the_cache_is_that_of_the_machine(monkeypatch, tmp_path):
    """The home of the operation is removed at its end; what is computed there serves the next operation."""
    seen = {}

    class InOneDirectory:
        @contextlib.contextmanager
        def home(self, operation):
            yield tmp_path / operation

        def restore_checkpoint(self, operation, home):
            pass

        def deliver(self, operation, kind, home, result):
            return result

    def run_job(kind, job, *, cache, **options):
        seen.update(cache=cache.root, home=home_directory())
        return {}

    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "machine"))
    monkeypatch.setattr("ktrdr.core.workflows.run_job.run_job", run_job)
    monkeypatch.setattr("ktrdr.core.cluster.exchange.Exchange.from_environment", InOneDirectory)
    request = {"kind": "training", "job": {}, "operation": "ab12"}
    assert child.run(request, NO_PROGRESS, Cancellation()) == {"event": "completed", "result": {}}
    assert seen == {"cache": tmp_path / "machine" / "cache", "home": tmp_path / "ab12"}

"""Every error of every distribution of ours reaches a person the same, whether it is raised here or on a worker."""

from __future__ import annotations

import importlib
import json
import pkgutil

import pytest

import ktrdr
import ktrdr.ml
from ktrdr.api.engine.port import WorkerLostError
from ktrdr.core.cli import main as command_line
from ktrdr.core.client.following import _outcome
from ktrdr.core.errors import KtrdrError, RemoteError, StoreError, record_of
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.worker import child

DISTRIBUTIONS = {"ktrdr.core", "ktrdr.api", "ktrdr.worker", "ktrdr.ml.torch", "ktrdr.ml.sklearn"}
MESSAGE = "no 1h bars of EURUSD;\n`ktrdr data import FILE` adds some"


def subclasses(parent):
    for found in parent.__subclasses__():
        yield found
        yield from subclasses(found)


def all_errors():
    seen = set()
    # `ktrdr.ml` has no file of its own, and what has none is not walked into.
    for path, prefix in ((ktrdr.__path__, "ktrdr."), (ktrdr.ml.__path__, "ktrdr.ml.")):
        for module in pkgutil.walk_packages(path, prefix):
            seen.add(module.name)
            # What Alembic runs is no module to import.
            if ".migrations." not in module.name:
                importlib.import_module(module.name)
    assert seen >= DISTRIBUTIONS
    found = {kind for kind in subclasses(KtrdrError) if kind.__module__.startswith("ktrdr.")} - {RemoteError}
    assert {"ktrdr.core", "ktrdr.api", "ktrdr.worker"} <= {".".join(kind.__module__.split(".")[:2]) for kind in found}
    return [KtrdrError, *sorted(found, key=lambda kind: kind.__name__)]


def test_every_error_ends_a_command_the_same_here_and_through_a_worker(monkeypatch, capsys):
    def ended_with(error):
        def fail(**options):
            raise error

        monkeypatch.setattr(command_line.cli, "main", fail)
        with pytest.raises(SystemExit) as end:
            command_line.main([])
        return end.value.code, capsys.readouterr().err

    names = []
    for kind in all_errors():
        # Without its constructor, which takes what a test cannot guess.
        error = kind.__new__(kind, MESSAGE)

        def run_job(*arguments, raised=error, **options):
            raise raised

        monkeypatch.setattr("ktrdr.core.workflows.run_job.run_job", run_job)
        ending = json.loads(json.dumps(child.run({"kind": "training", "job": {}}, NO_PROGRESS, Cancellation())))
        names.append(kind.__name__)
        if ending["event"] == "cancelled":
            told = {"state": "cancelled", "error": None}
        elif issubclass(kind, StoreError):
            # The attempt is lost. When the last one is, the API says so in the words of each.
            assert ending == {"event": "crashed", "message": str(error)}
            told = {"state": "failed", "error": record_of(WorkerLostError(f"3 attempts were lost: {error}")).to_json()}
        else:
            assert ending == {"event": "failed", "error": record_of(error).to_json()}
            told = {"state": "failed", "error": ending["error"]}
        with pytest.raises(KtrdrError) as caught:
            _outcome(told)
        here, there = ended_with(error), ended_with(caught.value)
        assert there[0] == here[0] == kind.exit_status, kind
        if ending["event"] == "failed":
            assert there == here, kind
        elif ending["event"] == "crashed":
            assert there[1].endswith(here[1].removeprefix("Error: ")), kind
    # A record tells a class by its name.
    assert len(set(names)) == len(names)

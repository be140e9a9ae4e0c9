"""A training job, as a worker runs it: default stores, the default manager, text instead of a file."""

from __future__ import annotations

import json

import pytest

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.work import Cancellation
from ktrdr.core.workflows import run_training as module
from ktrdr.core.workflows.run_job import run_job


@pytest.fixture(autouse=True)
def installed(home, example_plugins, monkeypatch):
    monkeypatch.setattr(module, "default_manager", lambda: example_plugins)
    install_sample(default_store())


@pytest.fixture
def job(load):
    return {"strategy": load().text, "epochs": 3, "seed": 5}


def test_it_trains_on_the_stores_below_home(job, make_executor, load):
    events = []
    result = run_job("training", job, progress=events.append)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["model"] == "waves/1"
    assert default_model_store().verify("waves/1").manifest.weights_hash == result["weights_hash"]
    assert events[-1].step == "saving"
    # The same bytes as by the executor directly.
    direct = make_executor(load(), epochs=3, seed=5).execute()
    assert direct.bundle.manifest.weights_hash == result["weights_hash"]


def test_another_attempt_goes_on_from_the_checkpoint(job, monkeypatch):
    whole = run_job("training", job)["weights_hash"]
    cancellation = Cancellation()
    with pytest.raises(CancelledError):
        run_job("training", job, progress=_cancel_in_training(cancellation), cancellation=cancellation)
    result = run_job("training", job, resume=True)
    assert result["resumed"]
    assert result["weights_hash"] == whole


def _cancel_in_training(cancellation):
    # The first report of the step comes before the first batch: the backend then leaves its initial state.
    return lambda event: cancellation.cancel("drained") if event.step == "training" else None


def test_another_attempt_without_a_checkpoint_starts_over(job):
    result = run_job("training", job, resume=True)
    assert not result["resumed"]
    assert result["model"] == "waves/1"


def test_a_broken_strategy_is_bad_input():
    with pytest.raises(BadInputError, match="has 5 errors|errors"):
        run_job("training", {"strategy": "name: x\n"})

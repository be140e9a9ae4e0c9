"""An evaluation as a job: in any process, once per operation, from where an earlier attempt stopped."""

from __future__ import annotations

import json

import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.trials.look import LOOKS, Look
from ktrdr.core.validation.stored_evaluation import list_evaluations, load_evaluation
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.workflows.run_job import run_job


@pytest.fixture
def job(home, write_strategy):
    return {"strategy": write_strategy("waves").read_text(encoding="utf-8"), "seeds": 2, "commission": 0.0001}


def test_its_result_is_json_and_is_what_is_stored(job, home):
    events = []
    result = run_job("evaluation", job, progress=events.append)
    stored = load_evaluation("waves/1").facts.model_dump(mode="json")
    assert {key: result[key] for key in stored} == stored
    assert set(result) - set(stored) == {"directory", LOOKS}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["directory"] == str(home / "evaluations" / "waves" / "1")
    (look,) = (Look.from_json(look) for look in result[LOOKS])
    assert (look.kind, look.seed) == ("evaluation", None)
    assert {"data", "folds", "training", "prediction", "accounts"} <= {event.step for event in events}


def test_all_attempts_of_an_operation_store_one_evaluation(job):
    first = run_job("evaluation", job, operation="A")
    # An attempt that was given up as lost may still finish.
    again = run_job("evaluation", job, operation="A", resume=True)
    other = run_job("evaluation", job, operation="B")
    assert [each["evaluation"] for each in (first, again, other)] == ["waves/1", "waves/1", "waves/2"]
    assert [entry.name for entry in list_evaluations()] == ["waves/1", "waves/2"]
    assert other["trial_count"]["number"] == 1


def test_the_next_attempt_goes_on_from_what_is_trained(job, home):
    whole = run_job("evaluation", job)
    cancellation = Cancellation()
    trained = []

    def stop(event):
        if event.step == "training":
            trained.append(event.done)
            if event.done >= 7:
                cancellation.cancel("asked to stop")

    with pytest.raises(CancelledError):
        run_job("evaluation", job, progress=stop, cancellation=cancellation)
    kept = list((home / "checkpoints").glob("*/members/*/member.json"))
    assert kept
    begun = []
    result = run_job(
        "evaluation", job, resume=True, progress=lambda e: begun.append(e.done) if e.step == "training" else None
    )
    of_the_run = {"evaluation", "directory", "seconds", LOOKS}
    assert {key: value for key, value in result.items() if key not in of_the_run} == {
        key: value for key, value in whole.items() if key not in of_the_run
    }
    assert begun[0] >= len(kept)
    assert not list((home / "checkpoints").glob("*/members"))


def test_an_attempt_that_finds_nothing_begins_anew(job):
    assert run_job("evaluation", job, resume=True)["evaluation"] == "waves/1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategy": "name: x\n"}, "error"),
        ({"seeds": 0}, "evaluation job: seeds must be at least 1, not 0"),
        ({"model": "waves/1"}, "evaluation job: model is not known"),
        ({"symbols": ["GBPUSD"]}, "GBPUSD"),
        ({"reserve": True}, "strategy `waves` has no reserve that could be opened; write one, such as"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_nothing_is_stored(job, home, changes, said):
    with pytest.raises(BadInputError, match=said):
        run_job("evaluation", {**job, **changes})
    assert not (home / "evaluations").exists()

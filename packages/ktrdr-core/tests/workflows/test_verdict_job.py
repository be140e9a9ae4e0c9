"""A verdict as a job: its result is JSON with the word and the exit status, once per operation."""

from __future__ import annotations

import json

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.trials.look import LOOKS
from ktrdr.core.validation.stored_evaluation import list_evaluations
from ktrdr.core.verdicts.stored_verdict import list_verdicts, load_verdict_facts
from ktrdr.core.workflows import run_verdict
from ktrdr.core.workflows.run_job import run_job


@pytest.fixture
def asked(monkeypatch, made_verdict):
    """What the workflow was asked; it makes up a verdict."""
    found = []

    def judge(strategy, settings, **more):
        found.append((strategy.strategy.name, settings, more["operation"], more["resume"]))
        return made_verdict("NOT PROVEN")

    monkeypatch.setattr(run_verdict, "judge", judge)
    return found


@pytest.fixture
def job(home, write_strategy):
    return {"strategy": write_strategy("waves").read_text(encoding="utf-8"), "commission": 0.0001}


def test_its_result_is_json_and_is_what_is_stored(job, home, asked):
    result = run_job("verdict", job)
    stored = load_verdict_facts("made_up/1").model_dump(mode="json")
    assert {key: result[key] for key in stored} == stored
    assert set(result) - set(stored) == {"directory", "exit_status", LOOKS}
    assert (result["word"], result["exit_status"]) == ("NOT PROVEN", 3)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["directory"] == str(home / "verdicts" / "made_up" / "1")
    assert asked == [("waves", VerdictSettings(commission=0.0001), None, False)]


def test_all_attempts_of_an_operation_store_one_verdict_and_one_evaluation(job, asked):
    first = run_job("verdict", job, operation="A")
    again = run_job("verdict", job, operation="A", resume=True)
    other = run_job("verdict", job, operation="B")
    assert [each["verdict"] for each in (first, again, other)] == ["made_up/1", "made_up/1", "made_up/2"]
    assert [each["operation"] for each in (first, again, other)] == ["A", "A", "B"]
    assert [entry.name for entry in list_verdicts()] == ["made_up/1", "made_up/2"]
    assert [entry.name for entry in list_evaluations()] == ["made_up/1", "made_up/2"]
    assert [resume for *_, resume in asked] == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 4}, "verdict job: seeds must be at least 5, not 4"),
        ({"quick": True, "seeds": 6}, "verdict job: the quick form has one seed"),
        ({"model": "waves/1"}, "verdict job: model is not known"),
        ({"strategy": ""}, "verdict job: strategy"),
    ],
)
def test_a_job_that_is_not_valid_leaves_nothing(job, home, asked, changes, message):
    with pytest.raises(BadInputError, match=message):
        run_job("verdict", {**job, **changes})
    assert (asked, (home / "verdicts").exists()) == ([], False)

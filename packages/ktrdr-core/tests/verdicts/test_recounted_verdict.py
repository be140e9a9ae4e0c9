"""A verdict with the count of another ledger: the rule decides anew, and the files follow."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.look import digest
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.verdicts.recounted_verdict import recounted_verdict
from ktrdr.core.verdicts.stored_verdict import load_verdict_facts, recount_verdict, store_verdict
from ktrdr.core.verdicts.verdict_result import VerdictFacts


def told(verdict):
    """The verdict as a worker sends it."""
    return {**verdict.facts.model_dump(mode="json"), "exit_status": 0, "directory": "/somewhere"}


def facts_of(result):
    return VerdictFacts.model_validate({name: result[name] for name in VerdictFacts.model_fields})


def test_more_trials_take_an_edge_away_and_the_reason_says_why(made_verdict):
    sent = told(made_verdict("EDGE"))
    result = recounted_verdict(sent, TrialCount(known=200, ledger="0123456789ab", spread=1.5))
    facts = facts_of(result)
    assert (facts.word, result["exit_status"], result["directory"]) == ("NOT PROVEN", 3, "/somewhere")
    assert [reason.name for reason in facts.reasons] == ["deflated_sharpe", "track_record"]
    assert (facts.deflation.trials, facts.deflation.other_trials) == (200, 199)
    assert facts.deflation.probability < 0.95
    assert facts.evaluation.trial_count["known"] == 200
    assert sent["hash"] != facts.hash
    assert sent["evidence_hash"] != facts.evidence_hash


def test_trials_made_elsewhere_still_count(made_verdict):
    verdict = made_verdict("EDGE")
    count = {**verdict.facts.evaluation.trial_count, "elsewhere": 7}
    sent = told(verdict)
    sent["evaluation"]["trial_count"] = count
    facts = facts_of(recounted_verdict(sent, TrialCount(known=3, ledger="0123456789ab")))
    assert facts.deflation.trials == 10


def test_the_same_count_changes_no_figure(made_verdict):
    verdict = made_verdict("EDGE")
    count = TrialCount.from_json(dict(verdict.facts.evaluation.trial_count))
    once = recounted_verdict(told(verdict), count)
    own = facts_of(once)
    assert own.deflation.model_dump() == pytest.approx(verdict.facts.deflation.model_dump(), rel=1e-3)
    assert (own.word, own.sentence, own.conditions) == (
        verdict.facts.word,
        verdict.facts.sentence,
        verdict.facts.conditions,
    )
    assert recounted_verdict(once, count) == once


def test_it_is_the_verdict_that_is_made_where_the_ledger_has_these_trials(load, run, ledger):
    loaded = load()
    alone = run(loaded)
    (look,) = alone.looks
    ledger.record(
        [dataclasses.replace(look, strategy=digest(each), metrics={"sharpe": each / 9}) for each in range(30)]
    )
    here = run(loaded).facts
    count = TrialCount.from_json(dict(here.evaluation.trial_count))
    assert count.known == 31
    sent = told(alone)
    same = TrialCount.from_json(dict(alone.facts.evaluation.trial_count))
    assert facts_of(recounted_verdict(sent, same)) == alone.facts
    own = facts_of(recounted_verdict(sent, count))
    for name in ("hash", "word", "sentence", "conditions", "reasons"):
        assert getattr(own, name) == getattr(here, name), name
    assert own.deflation.model_dump() == pytest.approx(here.deflation.model_dump(), rel=1e-12)
    assert own.hash != alone.facts.hash


def test_an_answer_that_is_no_verdict_is_refused_in_one_sentence(made_verdict):
    sent = told(made_verdict("EDGE"))
    with pytest.raises(BadInputError, match="a worker reports a verdict in an unknown format"):
        recounted_verdict({**sent, "word": "SURE"}, TrialCount(known=1, ledger="0123456789ab"))
    with pytest.raises(BadInputError, match="INVALID, and a look at results"):
        recounted_verdict({**sent, "evaluation": None}, TrialCount(known=1, ledger="0123456789ab"))


def test_the_files_follow_the_count(made_verdict, tmp_path):
    stored = store_verdict(made_verdict("EDGE"), root=tmp_path, evaluations=tmp_path / "evaluations")
    result = recounted_verdict(told(stored), TrialCount(known=200, ledger="0123456789ab", spread=1.5))
    directory = tmp_path / stored.facts.verdict
    recount_verdict(directory, result)
    assert load_verdict_facts(stored.facts.verdict, tmp_path) == facts_of(result)
    before = (directory / "verdict.json").stat().st_mtime_ns
    recount_verdict(directory, result)
    assert (directory / "verdict.json").stat().st_mtime_ns == before
    recount_verdict(tmp_path / "nothing", result)
    assert not (tmp_path / "nothing").exists()


def test_the_files_of_another_verdict_are_left_alone(made_verdict, tmp_path):
    stored = store_verdict(made_verdict("EDGE"), root=tmp_path, evaluations=tmp_path / "evaluations")
    directory = tmp_path / stored.facts.verdict
    before = (directory / "verdict.json").read_bytes()
    other = json.loads(json.dumps(told(stored))) | {"choice": "f" * 64}
    with pytest.raises(BadInputError, match="are not those of the result"):
        recount_verdict(directory, other)
    assert (directory / "verdict.json").read_bytes() == before

"""``kt.verdict`` and ``kt.verdicts`` give what the files of a verdict say, as frames, a line and HTML."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ktrdr.core as kt
from ktrdr.core.errors import CancelledError
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.verdicts.stored_verdict import load_verdict, store_verdict
from ktrdr.core.workflows import run_verdict

FRAMES = ("conditions", "reasons", "validity", "nulls", "worlds", "paths", "equity")


@pytest.fixture
def verdict(home, made_verdict):
    """Return ``verdict(word)``: a stored verdict as a user has it."""

    def make(word="NOT PROVEN", **more):
        return kt.verdicts.load(store_verdict(made_verdict(word, **more)).facts.verdict)

    return make


def test_a_verdict_is_what_its_files_say(verdict, home):
    own = verdict()
    stored = load_verdict("made_up/1")
    facts = stored.facts
    assert (own.verdict, own.evaluation, own.word, own.server) == ("made_up/1", "made_up/1", "NOT PROVEN", None)
    assert (own.facts, own.sentence, own.questions) == (facts, facts.sentence, facts.questions)
    assert own.warnings == facts.warnings
    assert own.to_dict() == json.loads((home / "verdicts" / "made_up" / "1" / "verdict.json").read_text())
    assert kt.evaluations.load(own.evaluation).facts == facts.evaluation

    conditions = own.conditions
    assert conditions.index.tolist() == [each.name for each in facts.conditions]
    assert conditions["met"].dtype == "boolean"
    assert conditions["met"].tolist() == [each.met for each in facts.conditions]
    assert own.reasons["change"].tolist() == [each.change for each in facts.reasons]
    assert own.validity["clean"].tolist() == [True] * len(facts.validity)

    worlds = own.worlds
    assert worlds.columns.tolist() == ["sign_flips", "garch", "random_phases", "block_bootstrap"]
    assert worlds["garch"].tolist() == list(facts.nulls[1].values)
    nulls = own.nulls
    assert nulls.loc["garch"].tolist() == pytest.approx(
        [facts.nulls[1].observed, np.mean(facts.nulls[1].values), max(facts.nulls[1].values), 100, facts.nulls[1].p]
    )
    assert nulls["worlds"].dtype == "int64"

    assert own.paths.index.names == ["path", "seed"]
    assert own.paths["sharpe"].tolist() == [each.metrics["sharpe"] for each in facts.evaluation.paths]
    equity = own.equity
    assert equity.index.dtype == "datetime64[ns, UTC]"
    assert equity.columns.tolist() == own.paths.index.tolist()
    np.testing.assert_array_equal(equity.to_numpy().T, stored.curves.accounts)
    assert repr(own) == "<Verdict made_up/1: EURUSD 1h, NOT PROVEN>"


def test_a_condition_that_cannot_be_told_is_missing_and_a_world_that_failed_is_not_a_number(home, made_verdict):
    made = made_verdict()
    null = made.facts.nulls[0].model_copy(update={"values": (None, *made.facts.nulls[0].values[1:])})
    condition = made.facts.conditions[0].model_copy(update={"met": None})
    own = kt.verdicts.load(
        store_verdict(made_verdict(nulls=(null, made.facts.nulls[1]), conditions=(condition,))).facts.verdict
    )
    assert own.conditions["met"].isna().tolist() == [True]
    assert np.isnan(own.worlds.loc[0, "sign_flips"])
    assert own.nulls.loc["sign_flips", "worlds"] == 100
    assert own.nulls.loc["sign_flips", "mean"] == pytest.approx(np.mean(null.values[1:]))


def test_an_invalid_verdict_has_the_same_frames_without_rows(verdict):
    own = verdict("INVALID")
    assert own.evaluation == ""
    for name in FRAMES:
        frame = getattr(own, name)
        assert frame.empty is (name not in ("validity", "reasons")), name
    whole = verdict("EDGE")
    for name in ("conditions", "reasons", "validity", "nulls"):
        assert getattr(own, name).dtypes.tolist() == getattr(whole, name).dtypes.tolist()
    assert "INVALID" in own._repr_html_()
    with pytest.raises(kt.BadInputError):
        own.plot()


@pytest.mark.parametrize("word", ["EDGE", "NOT PROVEN", "NONE", "INVALID"])
def test_html_says_the_verdict_first_and_needs_no_script(verdict, word):
    own = verdict(word)
    html = own._repr_html_()
    assert html.index(word) < html.index(own.sentence.split(".")[0])
    assert "<script" not in html
    assert ("<svg" in html) is (word != "INVALID")
    for reason in own.reasons["change"]:
        assert reason.split("`")[0] in html


def test_report_and_plot(verdict, tmp_path):
    own = verdict()
    report = own.report()
    assert report == tmp_path / "home" / "verdicts" / "made_up" / "1" / "report.html"
    assert report.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert own.report(tmp_path / "own.html") == tmp_path / "own.html"
    with pytest.raises(kt.BadInputError):
        own.report(tmp_path)
    assert len(own.plot().data) >= 2


def test_what_is_stored_is_listed_and_loaded(verdict):
    first, second = verdict("EDGE"), verdict("INVALID")
    listed = kt.verdicts.list()
    assert listed.index.tolist() == ["made_up/1", "made_up/2"]
    assert listed["word"].tolist() == ["EDGE", "INVALID"]
    found = first.facts.deflation
    assert listed.loc["made_up/1", ["sharpe", "low", "high"]].tolist() == [found.sharpe, found.low, found.high]
    assert listed.loc["made_up/1", "trials"] == found.trials
    assert listed[["sharpe", "trials"]].isna().all(axis=1).tolist() == [False, True]
    assert listed["made"].dtype == "datetime64[ns, UTC]"
    assert kt.verdicts.load("made_up").verdict == second.verdict == "made_up/2"
    with pytest.raises(kt.BadInputError, match="give the name of a verdict, such as `name/3`, not a int$"):
        kt.verdicts.load(5)
    with pytest.raises(kt.NotFoundError, match="`made_up` has no verdict 3 in .*; it has 1, 2"):
        kt.verdicts.load("made_up/3")


def test_without_any_the_list_has_the_same_columns(home, verdict):
    empty = kt.verdicts.list()
    assert empty.empty
    verdict()
    assert empty.dtypes.tolist() == kt.verdicts.list().dtypes.tolist()


def test_what_is_damaged_is_left_out_with_a_warning(verdict, home):
    verdict()
    (home / "verdicts" / "made_up" / "1" / "verdict.json").write_text("{}")
    with pytest.warns(UserWarning, match="made_up/1"):
        assert kt.verdicts.list().empty


@pytest.fixture
def asked(monkeypatch, made_verdict):
    """What the workflow was asked; it makes up a verdict."""
    found = {}

    def judge(strategy, settings, **more):
        found.update(more, text=strategy.text, settings=settings)
        return made_verdict("NONE")

    monkeypatch.setattr(run_verdict, "judge", judge)
    return found


def test_what_the_function_is_asked_reaches_the_workflow_and_is_stored(home, write_strategy, asked):
    own = kt.verdict(write_strategy("waves"), seeds=6, commission=0.0001, trials=9, resume=True, progress=False)
    assert asked["settings"] == VerdictSettings(seeds=6, commission=0.0001, trials=9)
    assert asked["resume"] is True
    assert own.verdict == "made_up/1"
    assert kt.verdicts.load("made_up/1").facts == own.facts


def test_the_defaults_are_those_of_the_command(home, write_strategy, asked):
    kt.verdict(write_strategy("waves"), progress=False)
    assert asked["settings"] == VerdictSettings()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"seeds": 4}, "seeds must be at least 5, not 4"),
        ({"quick": True, "seeds": 6}, "the quick form has one seed"),
        ({"symbols": []}, "symbols"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(home, write_strategy, asked, given, told):
    with pytest.raises(kt.BadInputError, match=told) as error:
        kt.verdict(write_strategy("waves"), progress=False, **given)
    assert "\n" not in str(error.value)
    assert not (home / "verdicts").exists()


def test_an_interrupt_says_how_to_go_on(home, write_strategy, monkeypatch, tmp_path):
    def stop(*given, **more):
        error = CancelledError("cancelled")
        error.checkpoint = tmp_path
        raise error

    monkeypatch.setattr(run_verdict, "judge", stop)
    with pytest.raises(kt.CancelledError, match="call verdict with the same arguments and resume=True") as error:
        kt.verdict(write_strategy("waves"), progress=False)
    assert error.value.checkpoint == tmp_path

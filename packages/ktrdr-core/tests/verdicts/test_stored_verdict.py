"""Stored verdicts: complete or not there, read back to the last bit, and refused when damaged or hostile."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, NotFoundError, StoreError
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.validation.stored_evaluation import list_evaluations, load_evaluation
from ktrdr.core.verdicts import stored_verdict
from ktrdr.core.verdicts.stored_verdict import (
    latest_verdict,
    list_verdicts,
    load_verdict,
    load_verdict_facts,
    read_verdict,
    store_verdict,
    verdict_directory,
)


@pytest.fixture
def store(tmp_path):
    """Return ``store(verdict, operation=None)``: stores it in a temporary folder."""

    def put(verdict, operation=None):
        places = {"root": tmp_path / "verdicts", "evaluations": tmp_path / "evaluations"}
        return store_verdict(verdict, **places, operation=operation)

    return put


@pytest.fixture
def stored(made_verdict, store, tmp_path):
    """Directory of a stored verdict."""
    name = store(made_verdict()).facts.verdict
    return tmp_path / "verdicts" / name


def test_what_is_stored_is_read_back_to_the_last_bit(made_verdict, store, tmp_path):
    verdict = made_verdict()
    named = store(verdict)
    name = f"{verdict.facts.strategy}/1"
    assert named.facts.verdict == name
    assert named.facts.evaluation.evaluation == name
    assert verdict.facts.verdict == verdict.facts.evaluation.evaluation == ""
    root = tmp_path / "verdicts"
    for found in (load_verdict(name, root), load_verdict(verdict.facts.strategy, root)):
        assert found.facts == named.facts
        assert (found.text, found.strategy, found.evaluation, found.looks) == (verdict.text, None, None, ())
        for field in ("time", "accounts", "buy_and_hold", "observed"):
            np.testing.assert_array_equal(getattr(found.curves, field), getattr(verdict.curves, field))
        assert [*found.curves.worlds] == [*verdict.curves.worlds]
        for kind, own in verdict.curves.worlds.items():
            np.testing.assert_array_equal(found.curves.worlds[kind], own)
    assert load_verdict_facts(name, root) == named.facts


def test_its_evaluation_is_stored_and_is_the_one_it_names(made_verdict, store, tmp_path):
    named = store(made_verdict())
    found = load_evaluation(named.facts.evaluation.evaluation, tmp_path / "evaluations")
    assert found.facts == named.facts.evaluation == named.evaluation.facts


def test_an_invalid_verdict_has_neither_evaluation_nor_curves(made_verdict, store, tmp_path):
    named = store(made_verdict("INVALID"))
    found = load_verdict(named.facts.verdict, tmp_path / "verdicts")
    assert (found.facts, found.curves, found.evaluation) == (named.facts, None, None)
    assert list_evaluations(tmp_path / "evaluations") == ()


def test_a_read_verdict_can_be_stored_elsewhere_and_still_names_its_evaluation(stored, tmp_path):
    elsewhere = store_verdict(read_verdict(stored), root=tmp_path / "other", evaluations=tmp_path / "none")
    assert elsewhere.facts.evaluation.evaluation == elsewhere.facts.verdict
    assert not (tmp_path / "none").exists()


def test_each_is_the_next_of_its_strategy_and_an_operation_stores_one(made_verdict, store, tmp_path):
    verdict = made_verdict()
    strategy = verdict.facts.strategy
    assert [store(verdict).facts.verdict for _ in range(2)] == [f"{strategy}/1", f"{strategy}/2"]
    first, again = (store(verdict, operation="abc") for _ in range(2))
    assert first.facts.verdict == f"{strategy}/3"
    assert first.facts == again.facts
    assert again.evaluation.facts == first.evaluation.facts
    assert store(verdict, operation="abd").facts.verdict == f"{strategy}/4"
    names = [f"{strategy}/{number}" for number in range(1, 5)]
    assert [entry.name for entry in list_verdicts(tmp_path / "verdicts")] == names
    assert [entry.name for entry in list_evaluations(tmp_path / "evaluations")] == names


def test_an_attempt_that_died_between_the_two_leaves_no_second_evaluation(made_verdict, store, tmp_path, monkeypatch):
    verdict = made_verdict()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stored_verdict, "write_safetensors", fail)
        with pytest.raises(StoreError, match="disk is full; nothing was written"):
            store(verdict, operation="abc")
    assert list_verdicts(tmp_path / "verdicts") == ()
    named = store(verdict, operation="abc")
    assert named.facts.evaluation.evaluation.endswith("/1")
    assert len(list_evaluations(tmp_path / "evaluations")) == 1


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("zzz/1", "there is no verdict of `zzz` in .*; there are those of "),
        ("../x", "'../x' does not name a verdict; write `name` for the latest one, or `name/3`"),
        ("x/0", "does not name a verdict"),
        ("", "does not name a verdict"),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(stored, ref, told):
    with pytest.raises(BadInputError, match=told) as error:
        load_verdict(ref, stored.parents[1])
    assert "\n" not in str(error.value)


def test_an_empty_store_says_what_fills_it(tmp_path):
    assert list_verdicts(tmp_path / "nothing") == ()
    with pytest.raises(NotFoundError, match="`ktrdr verdict` makes one"):
        verdict_directory("waves", tmp_path / "nothing")


# --- the latest verdict of a strategy ---------------------------------------------------------------------------------


def test_without_a_verdict_the_latest_is_none(tmp_path):
    for name in ("waves", "../waves", ""):
        found = latest_verdict(name, "0" * 64, tmp_path)
        assert (found.name, found.facts, found.same_choice) == ("", None, False)


def test_the_latest_on_the_same_choice_goes_before_later_ones_on_others(made_verdict, store, tmp_path):
    verdict = made_verdict()
    strategy, choice = verdict.facts.strategy, verdict.facts.choice
    other = dataclasses.replace(verdict, facts=verdict.facts.model_copy(update={"choice": "f" * 64}))
    for each in (verdict, verdict, other):
        store(each)
    root = tmp_path / "verdicts"
    assert (found := latest_verdict(strategy, choice, root)).name == f"{strategy}/2"
    assert found.same_choice
    assert found.facts == load_verdict_facts(f"{strategy}/2", root)
    assert (found := latest_verdict(strategy, "e" * 64, root)).name == f"{strategy}/3"
    assert not found.same_choice
    assert found.facts.choice == "f" * 64


def test_verdicts_on_the_symbols_that_are_asked_about_go_first(made_verdict, store, tmp_path):
    strategy, root = made_verdict().facts.strategy, tmp_path / "verdicts"
    own, third, choice, others = ("USDJPY",), ("GBPUSD",), "c" * 64, "d" * 64
    # An INVALID on other symbols comes last, even on the choice; one on the same symbols counts like any other.
    for number, (word, facts, best) in enumerate(
        [
            ("INVALID", {"choice": others, "symbols": third}, 1),
            ("NONE", {"choice": others}, 2),
            ("INVALID", {"choice": others, "symbols": third}, 2),
            ("INVALID", {"choice": others, "symbols": own}, 4),
            ("NONE", {"choice": others}, 4),
            ("INVALID", {"choice": choice, "symbols": third}, 4),
            ("NONE", {"choice": choice}, 7),
        ],
        start=1,
    ):
        store(made_verdict(word, **facts))
        found = latest_verdict(strategy, choice, root, symbols=own)
        assert (number, found.name) == (number, f"{strategy}/{best}")
        assert found.same_choice == (found.facts.choice == choice)
    assert latest_verdict(strategy, "e" * 64, root).name == f"{strategy}/7"


def test_a_damaged_verdict_is_the_latest_only_if_there_is_no_other(made_verdict, store, tmp_path):
    verdict = made_verdict("NONE")
    strategy, root = verdict.facts.strategy, tmp_path / "verdicts"
    for _ in range(2):
        store(verdict)
    (root / strategy / "2" / "verdict.json").write_text("{")
    assert latest_verdict(strategy, verdict.facts.choice, root).name == f"{strategy}/1"
    (root / strategy / "1" / "verdict.json").write_text("{")
    found = latest_verdict(strategy, verdict.facts.choice, root)
    assert (found.name, found.facts, found.same_choice) == (f"{strategy}/2", None, False)
    assert f"verdict {strategy}/2 is damaged" in found.problem


# --- damaged and hostile files ----------------------------------------------------------------------------------------


def changed(stored, change):
    """Change the JSON of the facts."""
    path = stored / "verdict.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def arrays_changed(stored, change):
    path = stored / "curves.safetensors"
    arrays = {name: array.copy() for name, array in read_safetensors(path, 2**30).items()}
    change(arrays)
    write_safetensors(path, arrays)


def piped(stored):
    (stored / "strategy.yaml").unlink()
    os.mkfifo(stored / "strategy.yaml")


def linked(stored):
    (stored / "verdict.json").rename(stored / "elsewhere.json")
    (stored / "verdict.json").symlink_to(stored / "elsewhere.json")


DAMAGES = {
    "no text": lambda own: (own / "strategy.yaml").unlink(),
    "text of no characters": lambda own: (own / "strategy.yaml").write_bytes(b"\xff\xfe"),
    "half a file": lambda own: (own / "verdict.json").write_bytes((own / "verdict.json").read_bytes()[:900]),
    "no JSON": lambda own: (own / "verdict.json").write_bytes(b"\x80\x02cposix\nsystem\n"),
    "a list": lambda own: (own / "verdict.json").write_text("[]"),
    "deep JSON": lambda own: (own / "verdict.json").write_text("[" * 100_000 + "]" * 100_000),
    "a pipe": piped,
    "a link": linked,
    "unknown key": lambda own: changed(own, lambda facts: facts.update(more=1)),
    "other version": lambda own: changed(own, lambda facts: facts.update(schema_version=2)),
    "unknown word": lambda own: changed(own, lambda facts: facts.update(word="SURE")),
    "control character": lambda own: changed(own, lambda facts: facts.update(sentence="\x1b[2J")),
    "invalid with an evaluation": lambda own: changed(own, lambda facts: facts.update(word="INVALID")),
    "no evaluation": lambda own: changed(own, lambda facts: facts.update(evaluation=None)),
    "evaluation of another strategy": lambda own: changed(own, lambda f: f["evaluation"].update(strategy="other")),
    "evaluation without folds": lambda own: changed(own, lambda facts: facts["evaluation"].update(folds=[])),
    "name that leads elsewhere": lambda own: changed(own, lambda f: f["evaluation"].update(evaluation="../x/1")),
    "other symbols": lambda own: changed(own, lambda facts: facts.update(symbols=["AAPL"])),
    "no symbols": lambda own: changed(own, lambda facts: facts.update(symbols=[])),
    "no seeds": lambda own: changed(own, lambda facts: facts.update(seeds=[])),
    "no account": lambda own: changed(own, lambda facts: facts.update(account={})),
    "other strategy": lambda own: changed(own, lambda facts: facts.update(strategy="other")),
    "other name": lambda own: changed(own, lambda facts: facts.update(verdict="waves/9")),
    "family twice": lambda own: changed(own, lambda facts: facts["nulls"].append(facts["nulls"][0])),
    "worlds missing": lambda own: changed(own, lambda facts: facts["nulls"][0]["values"].pop()),
    "kind without worlds": lambda own: changed(own, lambda facts: facts["linear"][0].update(values=[])),
    "world beyond drawing": lambda own: changed(own, lambda facts: facts["nulls"][0]["values"].__setitem__(0, 1e300)),
    "probability above one": lambda own: changed(own, lambda facts: facts["nulls"][0].update(p=1.2)),
    "few quantiles": lambda own: changed(own, lambda facts: facts["permuted_entries"]["quantiles"].pop()),
    "quantiles backwards": lambda own: changed(own, lambda facts: facts["permuted_entries"]["quantiles"].reverse()),
    "costs without ratio": lambda own: changed(own, lambda facts: facts["break_even"]["sharpe"].pop()),
    "costs backwards": lambda own: changed(own, lambda facts: facts["break_even"]["costs"].reverse()),
    "no costs": lambda own: changed(own, lambda facts: facts["break_even"].update(costs=[], sharpe=[])),
    "less than no time": lambda own: changed(own, lambda facts: facts["seconds"].update(total=-1)),
    "no curves": lambda own: (own / "curves.safetensors").unlink(),
    "no curve of a kind": lambda own: arrays_changed(own, lambda arrays: arrays.pop("worlds/garch")),
    "curves of no kind": lambda own: arrays_changed(own, lambda a: a.update({"worlds/luck": a["worlds/garch"]})),
    "more worlds than values": lambda own: arrays_changed(
        own, lambda a: a.update({"worlds/garch": np.repeat(a["worlds/garch"], 2, axis=0)})
    ),
    "other accounts": lambda own: arrays_changed(own, lambda a: a.update(accounts=a["accounts"][:-1].copy())),
    "not a number": lambda own: arrays_changed(own, lambda a: a["buy_and_hold"].__setitem__(0, np.nan)),
    "value beyond drawing": lambda own: arrays_changed(own, lambda a: a["observed"].__setitem__((0, 0), 1e200)),
    "times backwards": lambda own: arrays_changed(own, lambda a: a.update(time=a["time"][::-1].copy())),
    "too many points": lambda own: arrays_changed(
        own, lambda a: a.update(time=np.repeat(np.arange(500, dtype="<i8"), 1).view("<i4").reshape(-1, 2))
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_hostile_verdict_is_refused_in_one_sentence(stored, damage):
    DAMAGES[damage](stored)
    name = f"{stored.parent.name}/{stored.name}"
    with pytest.raises(BadInputError, match=f"verdict {name} is damaged: .*; judge the strategy again, or") as error:
        load_verdict(name, stored.parents[1])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_damaged_verdict_is_listed_with_its_problem(stored):
    changed(stored, lambda facts: facts.update(word="SURE"))
    (entry,) = list_verdicts(stored.parents[1])
    assert entry.facts is None
    assert "is damaged: verdict.json: 'word'" in entry.problem


def test_a_copied_directory_is_refused_under_its_new_name(stored):
    shutil.copytree(stored, stored.with_name("7"))
    with pytest.raises(BadInputError, match=r"verdict\.json belongs to "):
        load_verdict(f"{stored.parent.name}/7", stored.parents[1])
    assert read_verdict(stored.with_name("7")).facts.verdict == f"{stored.parent.name}/1"


def test_worlds_that_failed_have_no_value_and_no_curve(made_verdict, store, tmp_path):
    verdict = made_verdict()
    first = verdict.facts.nulls[0]
    failed = first.model_copy(update={"values": (None, *first.values[1:])})
    facts = verdict.facts.model_copy(update={"nulls": (failed, *verdict.facts.nulls[1:])})
    worlds = {**verdict.curves.worlds, first.family: verdict.curves.worlds[first.family][1:]}
    named = store(dataclasses.replace(verdict, facts=facts, curves=dataclasses.replace(verdict.curves, worlds=worlds)))
    found = load_verdict(named.facts.verdict, tmp_path / "verdicts")
    assert found.facts.nulls[0].values[0] is None
    assert len(found.curves.worlds[first.family]) == len(first.values) - 1

"""Stored evaluations: complete or not there, read back to the last bit, and refused when damaged or hostile."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError, NotFoundError, StoreError
from ktrdr.core.evaluations.evaluation_store import EVALUATIONS
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.validation.stored_evaluation import (
    list_evaluations,
    load_evaluation,
    load_facts,
    read_evaluation,
    read_facts,
    recount_evaluation,
    recounted,
    store_evaluation,
)

CPCV = {"type": "cpcv", "groups": 3, "test_groups": 1, "reserve": 0.1}


@pytest.fixture(scope="module")
def made():
    """The evaluation that all tests store, once it is made: the backend is installed anew for each test."""
    return []


@pytest.fixture
def evaluation(load, run, made):
    if not made:
        made.append(run(load(**CPCV)))
    return made[0]


@pytest.fixture
def stored(evaluation, tmp_path):
    """Directory of a stored evaluation."""
    store_evaluation(evaluation, root=tmp_path / "store")
    return tmp_path / "store" / "waves" / "1"


def test_what_is_stored_is_read_back_to_the_last_bit(evaluation, tmp_path):
    named = store_evaluation(evaluation, root=tmp_path)
    assert named.facts.evaluation == "waves/1"
    assert evaluation.facts.evaluation == ""
    for found in (load_evaluation("waves/1", tmp_path), load_evaluation("waves", tmp_path)):
        assert found.facts == named.facts
        assert (found.strategy, found.text, found.looks) == (evaluation.strategy, evaluation.text, ())
        for field in dataclasses.fields(found.curves):
            np.testing.assert_array_equal(getattr(found.curves, field.name), getattr(evaluation.curves, field.name))
        for symbol, own in evaluation.out_of_sample.items():
            np.testing.assert_array_equal(found.out_of_sample[symbol].time, own.time)
            np.testing.assert_array_equal(found.out_of_sample[symbol].outputs, own.outputs)


def test_each_is_the_next_of_its_strategy_and_an_operation_stores_one(evaluation, tmp_path):
    refs = [store_evaluation(evaluation, root=tmp_path).facts.evaluation for _ in range(2)]
    assert refs == ["waves/1", "waves/2"]
    first = store_evaluation(evaluation, root=tmp_path, operation="abc")
    again = store_evaluation(evaluation, root=tmp_path, operation="abc")
    assert first.facts.evaluation == again.facts.evaluation == "waves/3"
    assert first.facts == again.facts
    assert store_evaluation(evaluation, root=tmp_path, operation="abd").facts.evaluation == "waves/4"
    assert [entry.name for entry in list_evaluations(tmp_path)] == [f"waves/{number}" for number in range(1, 5)]


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("wave", "there is no evaluation of `wave` in .*did you mean `waves`"),
        ("zzz/1", "there is no evaluation of `zzz` in .*; there are those of waves$"),
        ("waves/7", "strategy `waves` has no evaluation 7 in .*; it has 1$"),
        ("waves/0", "'waves/0' does not name an evaluation; write `name` for the latest one, or `name/3`"),
        ("../waves", "does not name an evaluation"),
        ("waves/../../x", "does not name an evaluation"),
        ("", "does not name an evaluation"),
        ("waves/99999999999999999999", "does not name an evaluation"),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(stored, ref, told):
    with pytest.raises(BadInputError, match=told) as error:
        load_evaluation(ref, stored.parents[1])
    assert "\n" not in str(error.value)


def test_an_empty_store_says_what_fills_it(tmp_path):
    assert list_evaluations(tmp_path / "nothing") == ()
    with pytest.raises(NotFoundError, match="`ktrdr evaluate` makes one"):
        load_evaluation("waves", tmp_path / "nothing")


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail(directory, ref):
        (directory / "evaluation.json").write_text("{}")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="disk is full"):
        EVALUATIONS.add("waves", fail, root=tmp_path)
    assert EVALUATIONS.stored(tmp_path) == ()
    assert [path.name for path in (tmp_path / "waves").iterdir() if path.name != ".lock"] == []
    with pytest.raises(BadInputError, match="cannot be the name of a strategy"):
        EVALUATIONS.add("../waves", fail, root=tmp_path)


def test_what_a_killed_writer_left_is_removed_and_its_number_is_used(evaluation, tmp_path):
    left = tmp_path / "waves" / ".ktrdr-new-0123"
    left.mkdir(parents=True)
    (left / "evaluation.json").write_text("{}")
    assert EVALUATIONS.stored(tmp_path) == ()
    assert store_evaluation(evaluation, root=tmp_path).facts.evaluation == "waves/1"
    assert not left.exists()


def test_the_number_of_deleted_files_is_not_used_again(evaluation, tmp_path):
    """As docs/operations.md says: the files are deleted, the directories are kept."""
    for _ in range(2):
        store_evaluation(evaluation, root=tmp_path)
    for path in [*tmp_path.rglob("*")]:
        if path.is_file():
            path.unlink()
    assert list_evaluations(tmp_path) == ()
    with pytest.raises(NotFoundError, match="there is no evaluation of `waves`"):
        load_evaluation("waves", tmp_path)
    assert store_evaluation(evaluation, root=tmp_path, operation="abc").facts.evaluation == "waves/3"
    assert [entry.name for entry in list_evaluations(tmp_path)] == ["waves/3"]


def changed(stored, change):
    """Change the JSON of the facts."""
    path = stored / "evaluation.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def arrays_changed(stored, change):
    path = stored / "curves.safetensors"
    arrays = {name: array.copy() for name, array in read_safetensors(path, 2**30).items()}
    change(arrays)
    write_safetensors(path, arrays)


def set_value(array, place, value):
    array[place] = value


DAMAGES = {
    "no facts": lambda own: (own / "strategy.json").unlink(),
    "half a file": lambda own: (own / "evaluation.json").write_bytes((own / "evaluation.json").read_bytes()[:900]),
    "no JSON": lambda own: (own / "evaluation.json").write_bytes(b"\x80\x02cposix\nsystem\n"),
    "a list": lambda own: (own / "evaluation.json").write_text("[]"),
    "not a number": lambda own: changed(own, lambda facts: facts["paths"][0]["metrics"].update(sharpe="x" * 999)),
    "an infinite number": lambda own: (own / "evaluation.json").write_text('{"best_epoch": Infinity}'),
    "unknown key": lambda own: changed(own, lambda facts: facts.update(more=1)),
    "other version": lambda own: changed(own, lambda facts: facts.update(schema_version=2)),
    "control character": lambda own: changed(own, lambda facts: facts.update(model="\x1b[2J")),
    "control character in a key": lambda own: changed(own, lambda facts: facts["account"].update({"\x1b[2J": 1})),
    "other median": lambda own: changed(own, lambda facts: facts.update(median_path=[9, 9])),
    "account twice": lambda own: changed(own, lambda facts: facts["paths"].append(facts["paths"][0])),
    "no folds": lambda own: changed(own, lambda facts: facts.update(folds=[])),
    "other seeds": lambda own: changed(own, lambda facts: facts.update(seeds=[1, 2])),
    "fold without seeds": lambda own: changed(own, lambda facts: facts["folds"][0].update(seeds=[])),
    "fold without test": lambda own: changed(own, lambda facts: facts["folds"][0].update(test=[])),
    "fold without metrics": lambda own: changed(own, lambda facts: facts["folds"][1].update(metrics={})),
    "fold without samples": lambda own: changed(own, lambda facts: facts["folds"][0].update(samples={})),
    "fold without samples of a part": lambda own: changed(own, lambda facts: facts["folds"][0]["samples"].pop("train")),
    "no metrics": lambda own: changed(own, lambda facts: facts.update(metrics={})),
    "no log loss": lambda own: changed(own, lambda facts: facts["metrics"].pop("log_loss")),
    "unknown metric": lambda own: changed(own, lambda facts: facts["metrics"].update(luck={"value": 1})),
    "no account": lambda own: changed(own, lambda facts: facts.update(account={})),
    "no slippage": lambda own: changed(own, lambda facts: facts["account"].pop("slippage")),
    "odd provenance": lambda own: changed(own, lambda facts: facts.update(provenance={"git": 5})),
    "odd packages": lambda own: changed(own, lambda facts: facts["provenance"]["environment"].update(packages=[1])),
    "late epoch": lambda own: changed(own, lambda facts: facts.update(best_epoch=10**30)),
    "late epoch of a fold": lambda own: changed(own, lambda f: f["folds"][0]["seeds"][0].update(best_epoch=10**30)),
    "tested backwards": lambda own: changed(
        own, lambda facts: facts.update(tested={"start": facts["tested"]["end"], "end": facts["tested"]["start"]})
    ),
    "empty count": lambda own: changed(own, lambda facts: facts.update(trial_count={})),
    "count in words": lambda own: changed(own, lambda facts: facts.update(trial_count={"known": "x", "ledger": "y"})),
    "count with more": lambda own: changed(
        own, lambda facts: facts.update(trial_count={"known": 1, "ledger": "y", "more": 1})
    ),
    "count of lists": lambda own: changed(
        own, lambda facts: facts.update(trial_count={"known": 1, "ledger": "y", "spread": [1]})
    ),
    "other strategy": lambda own: changed(own, lambda facts: facts.update(strategy="other")),
    "other symbols": lambda own: changed(own, lambda facts: facts.update(symbols=["AAPL"])),
    "other output": lambda own: changed(own, lambda facts: facts.update(output="regression")),
    "deep JSON": lambda own: (own / "evaluation.json").write_text("[" * 100_000 + "]" * 100_000),
    "many values": lambda own: (own / "evaluation.json").write_text("[" + "1," * 1_000_001 + "1]"),
    "no text": lambda own: (own / "strategy.yaml").write_bytes(b"\xff\xfe"),
    "long text": lambda own: (own / "strategy.yaml").write_bytes(b"#" * 1_000_000),
    "no curves": lambda own: (own / "curves.safetensors").write_bytes(b""),
    "cut curves": lambda own: (own / "curves.safetensors").write_bytes((own / "curves.safetensors").read_bytes()[:-8]),
    "link": lambda own: ((own / "curves.safetensors").unlink(), (own / "curves.safetensors").symlink_to("/dev/zero")),
    "pipe": lambda own: ((own / "strategy.json").unlink(), os.mkfifo(own / "strategy.json")),
    "missing array": lambda own: arrays_changed(own, lambda arrays: arrays.pop("close")),
    "array too many": lambda own: arrays_changed(own, lambda arrays: arrays.update(more=np.zeros(3))),
    "other type": lambda own: arrays_changed(own, lambda arrays: arrays.update(close=arrays["close"].astype("<f4"))),
    "other shape": lambda own: arrays_changed(own, lambda arrays: arrays.update(equity=arrays["equity"][:-1])),
    "unknown equity": lambda own: arrays_changed(own, lambda arrays: set_value(arrays["equity"], (0, 5), np.nan)),
    "immense equity": lambda own: arrays_changed(own, lambda a: a.update(equity=np.full_like(a["equity"], 1.7e308))),
    "infinite output": lambda own: arrays_changed(own, lambda arrays: set_value(arrays["outputs/EURUSD"], 5, np.inf)),
    "time backwards": lambda own: arrays_changed(own, lambda arrays: arrays.update(time=arrays["time"][::-1])),
    "negative time": lambda own: arrays_changed(own, lambda arrays: set_value(arrays["time"], (0, 1), -1)),
    "no bars": lambda own: arrays_changed(own, lambda arrays: arrays.update(time=arrays["time"][:0])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_hostile_is_refused_in_one_sentence(stored, damage):
    DAMAGES[damage](stored)
    with pytest.raises(
        BadInputError, match=r"^evaluation waves/1 is damaged: .*; evaluate the strategy again"
    ) as error:
        read_evaluation(stored)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500
    listed = list_evaluations(stored.parents[1])
    assert [entry.name for entry in listed] == ["waves/1"]
    assert (listed[0].facts is None) == bool(listed[0].problem)


def test_the_name_in_the_file_must_be_that_of_the_directory(stored):
    """A copy under another number would pass for the original, and its report would be written into it."""
    root = stored.parents[1]
    shutil.copytree(stored, root / "waves" / "2")
    shutil.copytree(stored, root / "other" / "1")
    for name in ("waves/2", "other/1"):
        told = f"^evaluation {name} is damaged: evaluation.json belongs to waves/1; .*, or remove {root / name}$"
        for read in (load_evaluation, load_facts):
            with pytest.raises(BadInputError, match=told):
                read(name, root)
    listed = {entry.name: entry for entry in list_evaluations(root)}
    assert [name for name, entry in listed.items() if entry.facts is not None] == ["waves/1"]
    assert "belongs to waves/1" in listed["other/1"].problem
    # An unpacked archive is in a directory of any name.
    assert read_evaluation(root / "other" / "1").facts.evaluation == "waves/1"


@pytest.mark.parametrize("name", ["../../x/1", "waves", "waves/0", "/etc/1"])
def test_a_name_that_no_evaluation_can_have_is_refused(stored, name):
    changed(stored, lambda facts: facts.update(evaluation=name))
    with pytest.raises(BadInputError, match="^evaluation waves/1 is damaged: evaluation.json: 'evaluation': "):
        read_evaluation(stored)


def moved(arrays, nanoseconds):
    """Move the times of the predictions, which are stored as halves."""
    time = np.ascontiguousarray(arrays["time/EURUSD"]).view("<i8").reshape(-1) + nanoseconds
    arrays["time/EURUSD"] = time.view("<i4").reshape(-1, 2)


def cut(arrays):
    for name in ("time/EURUSD", "outputs/EURUSD"):
        arrays[name] = arrays[name][:0]


# What a bundle refuses, too: a model that is trained from the evaluation would have these predictions.
NO_PREDICTIONS = {
    "above 1": (lambda arrays: arrays["outputs/EURUSD"].fill(7.0), "are not probabilities of 3 classes, or missing"),
    "known in part": (lambda arrays: set_value(arrays["outputs/EURUSD"], (50, 0), np.nan), "are not probabilities"),
    "late": (lambda arrays: moved(arrays, 10**18), "do not ascend within `tested`"),
    "early": (lambda arrays: moved(arrays, -(10**17)), "do not ascend within `tested`"),
    "part of a second": (lambda arrays: moved(arrays, 5 * 10**8), "do not ascend within `tested`"),
    "none": (cut, "do not ascend within `tested`"),
}


@pytest.mark.parametrize("damage", NO_PREDICTIONS)
def test_predictions_that_are_no_predictions_are_refused(stored, damage):
    change, told = NO_PREDICTIONS[damage]
    arrays_changed(stored, change)
    with pytest.raises(BadInputError, match=f"^evaluation waves/1 is damaged: curves.safetensors: .* {told}"):
        read_evaluation(stored)


def test_tested_bars_of_another_year_are_refused(stored):
    tested = {"start": "2018-01-01T00:00:00Z", "end": "2018-05-06T00:00:00Z"}
    changed(stored, lambda facts: facts.update(tested=tested))
    with pytest.raises(BadInputError, match="the times of EURUSD do not ascend within `tested` of evaluation.json"):
        read_evaluation(stored)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["evaluation.json", "strategy.json", "strategy.yaml", "curves.safetensors"]),
    place=st.floats(0, 1),
    content=st.binary(min_size=1, max_size=40),
)
def test_changed_bytes_are_refused_or_read_as_an_evaluation(stored, name, place, content):
    path = stored / name
    before = path.read_bytes()
    start = int(place * (len(before) - 1))
    try:
        path.write_bytes(before[:start] + content + before[start + len(content) :])
        try:
            found, told = read_evaluation(stored), ""
        except BadInputError as error:
            found, told = None, str(error)
        assert told.isprintable()
        assert found is None or len(found.curves.equity) == len(found.facts.paths)
    finally:
        path.write_bytes(before)


def test_counts_of_another_ledger_replace_those_of_a_worker(load, run, ledger, evaluation, stored):
    ledger.record(evaluation.looks)
    found = run(load("epochs: 3", "epochs: 2", **CPCV))
    count = ledger.count(found.look.span)
    result = recounted(read_facts(stored).model_dump(mode="json"), count)
    assert result["trial_count"]["number"] == 2
    recount_evaluation(stored, result)
    assert read_facts(stored).trial_count == count.to_json()
    assert EVALUATIONS.directory("waves", stored.parents[1]) == stored

"""Finished members on disk: complete or absent, and never trusted when they were changed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import EpochRecord
from ktrdr.core.training.stored_members import MemberStore, StoredMember, member_directories

HISTORY = (EpochRecord(1, {"train_loss": 0.1 + 0.2}), EpochRecord(2, {"train_loss": math.inf, "val_loss": -math.inf}))


@dataclass
class Model:
    weights: str
    history: tuple[EpochRecord, ...] = HISTORY
    best_epoch: int = 2

    def predictor(self):
        raise NotImplementedError


class Storage:
    def save(self, model, directory):
        (directory / "weights.txt").write_text(model.weights)
        (directory / "model.json").write_text("{}")
        return {"layers": 2}


@pytest.fixture
def store(tmp_path):
    return MemberStore(tmp_path, Storage(), lambda directory: (directory / "weights.txt").read_text())


def test_a_member_is_found_as_it_was_stored(store, tmp_path):
    assert store.find(3) is None
    assert member_directories(tmp_path) == []
    stored = store.put(3, Model("abc"))
    found = store.find(3)
    assert member_directories(tmp_path) == [tmp_path / "members" / "0003"]
    for each in (stored, found):
        assert isinstance(each, StoredMember)
        assert (each.history, each.best_epoch, each.facts) == (HISTORY, 2, {"layers": 2})
        assert each.predictor() == "abc"
    assert store.find(2) is None


def test_only_the_files_of_the_backend_are_copied(store, tmp_path):
    (tmp_path / "bundle").mkdir()
    assert store.put(0, Model("abc")).copy_to(tmp_path / "bundle") == {"layers": 2}
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == ["model.json", "weights.txt"]
    assert (tmp_path / "bundle" / "weights.txt").read_text() == "abc"


def test_an_error_is_stored_and_a_cancellation_is_not(store, tmp_path):
    error = BadInputError("the loss became NaN")
    assert store.put(0, error) is error
    assert str(store.find(0)) == "the loss became NaN"
    assert isinstance(store.find(0), BadInputError)
    assert isinstance(store.put(1, CancelledError("not needed")), CancelledError)
    assert store.find(1) is None


@pytest.mark.parametrize("damage", ["changed", "missing", "no list", "not JSON", "list in the place of a map"])
def test_a_damaged_member_is_not_finished_and_can_be_stored_again(store, tmp_path, damage):
    store.put(0, Model("abc"))
    directory = tmp_path / "members" / "0000"
    match damage:
        case "changed":
            (directory / "weights.txt").write_text("abd")
        case "missing":
            (directory / "weights.txt").unlink()
        case "no list":
            (directory / "member.json").unlink()
        case "not JSON":
            (directory / "member.json").write_text("{")
        case _:
            (directory / "member.json").write_text(json.dumps([1]))
    assert store.find(0) is None
    store.put(0, Model("new"))
    assert store.find(0).predictor() == "new"


def test_a_member_that_cannot_be_written_does_not_exist(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Storage, "save", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError):
        store.put(0, Model("abc"))
    assert list((tmp_path / "members").iterdir()) == []
    assert member_directories(tmp_path) == []


def test_what_a_killed_process_left_is_removed(store, tmp_path):
    store.tidy()
    store.put(0, Model("abc"))
    (tmp_path / "members" / ".ktrdr-new-1").mkdir()
    (tmp_path / "members" / ".ktrdr-new-1" / "member.json").write_text("{")
    store.tidy()
    assert [path.name for path in (tmp_path / "members").iterdir()] == ["0000"]
    assert store.find(0) is not None

"""Versions are allocated once, bundles appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import DISCARDED, UNFINISHED
from ktrdr.core.files.reading import parse_json
from ktrdr.core.limits import LARGEST_VERSION
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.model_store import BundleWriter, ModelStore
from ktrdr.core.names import VERSION_PATTERN
from ktrdr.core.plugins.contract import EpochRecord


def test_what_was_saved_is_what_is_read(store, add, fields):
    saved = add()
    found = store.get("waves/1")
    assert found == saved
    assert found.manifest.input_size == 4
    assert found.manifest.feature_ids == ("1h_rsi_low", "1h_rsi_high", "1h_rsi_low_lag1", "1h_rsi_high_lag1")
    assert found.strategy == fields.strategy
    assert found.strategy_text.startswith("name: waves\n")
    assert found.normalizers() == {"EURUSD": {}}
    (epoch,) = found.history()
    assert epoch.epoch == 1
    assert epoch.metrics["train_loss"] == 1.0
    assert epoch.metrics["val_loss"] != epoch.metrics["val_loss"]
    found.verify()


def test_numpy_and_nan_in_metrics_become_plain_json(store, fields, fill):
    import numpy as np

    metrics = {"test": {"mcc": np.float32(0.5), "loss": float("nan"), "confusion": np.eye(2, dtype=int)}}
    with store.create("waves") as writer:
        fill(writer)
        writer.commit(type(fields)(**{**dict(fields), "metrics": metrics}))
    text = (store.root / "waves" / "1" / "manifest.json").read_text()
    assert json.loads(text)["metrics"] == {"test": {"mcc": 0.5, "loss": None, "confusion": [[1, 0], [0, 1]]}}


def test_the_weights_hash_tells_trainings_apart(add):
    one, same, other = add(), add(), add(b"\2" * 8)
    assert one.manifest.weights_hash == same.manifest.weights_hash != other.manifest.weights_hash


def test_the_latest_version_is_the_default(store, add):
    for _ in range(11):
        add()
    assert store.versions("waves") == tuple(range(1, 12))
    assert store.get("waves").ref == "waves/11"
    assert [entry.ref for entry in store.list()][:2] == ["waves/1", "waves/2"]


def test_a_deleted_version_is_not_used_again(store, add):
    add(), add()
    assert store.delete("waves/2") == "waves/2"
    assert store.versions("waves") == (1,)
    assert add().ref == "waves/3"


def test_deleting_without_a_version_must_be_unambiguous(store, add):
    add(), add()
    with pytest.raises(BadInputError, match=r"has versions 1, 2; say which to delete, such as `waves/2`"):
        store.delete("waves")
    store.delete("waves/1")
    assert store.delete("waves") == "waves/2"
    assert store.list() == ()


@pytest.mark.parametrize("ref", ["", "../waves", "waves/0", "waves/1/2", "waves/x", "waves/01", "/etc", "waves/", "."])
def test_a_reference_cannot_leave_the_store(store, add, ref):
    add()
    with pytest.raises(BadInputError):
        store.get(ref)
    with pytest.raises(BadInputError):
        store.delete(ref)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 65, "näh"])
def test_a_name_must_be_one_the_grammar_allows(store, name):
    with pytest.raises(BadInputError, match="cannot be the name of a model"), store.create(name):
        pass


def test_what_is_missing_is_said_with_what_there_is(store, add):
    with pytest.raises(BadInputError, match="the store is empty"):
        store.get("waves")
    add()
    with pytest.raises(BadInputError, match="did you mean `waves`"):
        store.get("wave")
    with pytest.raises(BadInputError, match="no version 7; it has 1"):
        store.get("waves/7")


@pytest.fixture
def save(store, fields, fill):
    """Return ``save(spoil)``: a training whose files are spoilt before they are committed."""

    def run(spoil):
        with store.create("waves") as writer:
            fill(writer)
            assert store.list() == ()
            spoil(writer.directory)
            writer.commit(fields)

    return run


def test_nothing_is_visible_before_commit_nor_after_a_failure(store, save):
    with pytest.raises(ZeroDivisionError):
        save(lambda directory: 1 / 0)
    assert store.list() == ()
    assert [path.name for path in (store.root / "waves").iterdir()] == [".lock"]


def test_a_plugin_that_writes_a_pickle_is_refused_when_it_saves(store, save):
    import pickle

    with pytest.raises(BundleError, match=r"weights\.pkl is a pickle"):
        save(lambda directory: (directory / "weights.pkl").write_bytes(pickle.dumps([1])))
    assert store.list() == ()


@pytest.mark.parametrize("missing", ["strategy.yaml", "normalizers.json", "history.json", "weights.safetensors"])
def test_a_bundle_lacks_nothing(store, save, missing):
    with pytest.raises(BundleError, match="missing|weights"):
        save(lambda directory: (directory / missing).unlink())
    assert store.list() == ()


def test_a_bundle_holds_no_directories(store, save):
    with pytest.raises(BundleError, match="is not a plain file"):
        save(lambda directory: (directory / "weights.d").mkdir())
    assert store.list() == ()


def test_attempts_at_one_operation_leave_one_bundle(store, fields, fill):
    """An attempt given up for lost, and the one that took its place, both come to an end."""
    bundles = []
    for operation, weights in (("01A", b"\1" * 8), ("01B", b"\2" * 8), ("01A", b"\3" * 8)):
        with store.create("waves") as writer:
            fill(writer, weights)
            bundles.append(writer.commit(fields.model_copy(update={"operation": operation})))
    assert [bundle.ref for bundle in bundles] == ["waves/1", "waves/2", "waves/1"]
    assert bundles[2].manifest == bundles[0].manifest
    assert store.versions("waves") == (1, 2)
    assert not list((store.root / "waves").glob(f"{UNFINISHED}*"))


def test_concurrent_trainings_get_different_versions(store, fields, fill):
    writers, versions = 12, []
    barrier = threading.Barrier(writers)

    def train():
        with ModelStore(store.root).create("waves") as writer:
            fill(writer)
            barrier.wait()
            versions.append(writer.commit(fields).manifest.version)

    threads = [threading.Thread(target=train) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, writers + 1))
    assert store.versions("waves") == tuple(range(1, writers + 1))
    for version in versions:
        store.verify(f"waves/{version}")


CHILD = """
import json, os, signal, sys
from pathlib import Path
from ktrdr.core.files import durable
from ktrdr.core.models import model_store as module
from ktrdr.core.models.manifest import ManifestFields

root, fields, stop = Path(sys.argv[1]), ManifestFields.model_validate_json(sys.argv[2]), sys.argv[3]
text = Path(sys.argv[4]).read_text()

def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)

with module.ModelStore(root).create("waves") as writer:
    writer.write_strategy(text)
    writer.write_normalizers({"EURUSD": {}})
    if stop == "half the files":
        die()
    writer.write_history([])
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (writer.directory / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    if stop == "version taken":
        durable.sync_tree = die
    if stop == "before the rename":
        Path.rename = die
    if stop == "after the rename":
        rename = Path.rename
        Path.rename = lambda *paths: (rename(*paths), die())
    writer.commit(fields)
"""


@pytest.mark.parametrize("stop", ["half the files", "version taken", "before the rename", "after the rename"])
def test_a_kill_leaves_a_whole_bundle_or_none(store, add, fields, stop):
    text = add().directory / "strategy.yaml"
    arguments = [str(store.root), fields.model_dump_json(), stop, str(text)]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    visible = store.list()
    assert all(entry.manifest for entry in visible)
    assert len(visible) == (2 if stop == "after the rename" else 1)
    for entry in visible:
        store.verify(entry.ref)
    # The next training removes what the dead one left, and does not reuse a number it may have announced.
    last = add()
    assert last.manifest.version == (2 if stop == "half the files" else 3)
    left = [path.name for path in (store.root / "waves").iterdir() if path.name.startswith((UNFINISHED, DISCARDED))]
    assert left == []


def test_a_kill_at_a_random_moment_leaves_whole_bundles_only(store, add, fields):
    text = add().directory / "strategy.yaml"
    script = CHILD.replace("with module.", "while True:\n  with module.").replace("\n    ", "\n      ")
    for delay in (0.0, 0.01, 0.03):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(store.root), fields.model_dump_json(), "", str(text)]
        )
        before = len(store.versions("waves"))
        while len(store.versions("waves")) < before + 2:
            assert child.poll() is None, "the child ended by itself"
            time.sleep(0.002)
        time.sleep(delay)
        child.kill()
        child.wait()
        assert len(store.versions("waves")) >= before + 2
    assert all(entry.manifest for entry in store.list())
    for entry in store.list():
        store.verify(entry.ref)


def test_a_living_writer_is_not_swept(store, fields, fill, add):
    with store.create("waves") as writer:
        fill(writer)
        add()
        assert writer.commit(fields).ref == "waves/2"


def test_half_a_deletion_is_not_seen_and_is_finished_later(store, add, monkeypatch):
    import shutil

    add()
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **more: None)
    store.delete("waves/1")
    monkeypatch.undo()
    assert store.list() == ()
    assert any(path.name.startswith(DISCARDED) for path in (store.root / "waves").iterdir())
    add()
    assert not any(path.name.startswith(DISCARDED) for path in (store.root / "waves").iterdir())


def test_listing_survives_what_is_broken_and_what_is_foreign(store, add, strategy):
    add(), add(), add()
    (store.root / "waves" / "2" / "manifest.json").write_text("{")
    (store.root / "waves" / "4").mkdir()
    (store.root / "waves" / "5").write_text("a file")
    (store.root / "waves" / "notes.txt").write_text("mine")
    (store.root / "stray.txt").write_text("mine")
    (store.root / "empty").mkdir()
    os.symlink(store.root / "waves" / "1", store.root / "waves" / "6")
    entries = {entry.ref: entry.problem for entry in store.list()}
    assert [ref for ref, problem in entries.items() if not problem] == ["waves/1", "waves/3"]
    assert "manifest.json is not valid JSON" in entries["waves/2"]
    assert "manifest.json is missing" in entries["waves/4"]
    assert "not a directory" in entries["waves/5"]
    assert "not a directory" in entries["waves/6"]
    for version in (2, 4, 5, 6):
        store.delete(f"waves/{version}")
    assert [entry.ref for entry in store.list()] == ["waves/1", "waves/3"]


def test_a_bundle_moved_by_hand_to_another_version_is_refused(store, add):
    (add().directory).rename(store.root / "waves" / "9")
    with pytest.raises(BundleError, match=r"manifest\.json belongs to waves/1"):
        store.get("waves/9")


def test_an_empty_or_absent_store_lists_nothing(store):
    assert store.list() == ()
    assert not store.root.exists()


def test_listing_and_deleting_import_no_framework(store, add):
    add()
    code = (
        "import sys; from pathlib import Path; from ktrdr.core.models.model_store import ModelStore\n"
        "store = ModelStore(Path(sys.argv[1])); store.verify('waves'); store.list(); store.delete('waves/1')\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'torch', 'sklearn', 'skops', 'safetensors', 'tensorflow', 'jax', 'pandas'}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(store.root)], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("epochs", [0, 1, 2, 125_000, 125_001, 300_000])
def test_a_history_is_never_longer_than_can_be_read(tmp_path, epochs):
    writer = BundleWriter(tmp_path, tmp_path, "waves")
    writer.write_history(EpochRecord(number, {"loss": 0.5}) for number in range(1, epochs + 1))
    kept = [record["epoch"] for record in parse_json((tmp_path / "history.json").read_bytes(), "history.json")]
    assert len(kept) == (epochs if epochs <= 125_000 else len(range(1, epochs, -(-epochs // 125_000))) + 1)
    assert kept == sorted(set(kept))
    assert (kept[:1], kept[-1:]) == (([1], [epochs]) if epochs else ([], []))


@pytest.fixture
def renumber(rewrite):
    """Return a function that gives a bundle a number as an import of before did: whatever its manifest said."""

    def run(bundle, number):
        rewrite(bundle, version=number)
        (bundle.directory.parent / ".versions" / str(number)).mkdir()
        bundle.directory.rename(bundle.directory.parent / str(number))

    return run


@pytest.mark.parametrize("number", [999_999_999, 10**18])
def test_a_store_with_a_huge_number_shows_and_uses_what_is_trained_later(store, add, renumber, number):
    renumber(add(), number)
    assert store.get("waves").ref == f"waves/{number}"
    later = [add(), add()]
    assert [bundle.ref for bundle in later] == [f"waves/{number + 1}", f"waves/{number + 2}"]
    assert store.get("waves") == later[-1]
    assert store.get(f"waves/{number}").verify() is None
    assert [entry.problem for entry in store.list()] == ["", "", ""]


def test_a_number_beyond_all_is_listed_and_does_not_count(store, add, renumber):
    renumber(add(), 10**40)
    (entry,) = store.list()
    assert entry.ref == f"waves/{10**40}"
    assert "a version is at most 9,999,999,999,999,999,999; move" in entry.problem
    assert str(store.root / "waves" / str(10**40)) in entry.problem
    with pytest.raises(BadInputError, match="there is no model `waves`"):
        store.get("waves")
    assert add().ref == "waves/2"
    assert store.get("waves").ref == "waves/2"
    # The remedy works as it is written.
    (store.root / "waves" / str(10**40)).rename(store.root.parent / "away")
    assert [entry.ref for entry in store.list()] == ["waves/2"]


def test_the_last_number_is_said_to_be_the_last(store, add, renumber):
    renumber(add(), 10**19 - 1)
    with pytest.raises(BadInputError, match="model `waves` has no version left"):
        add()
    assert [entry.ref for entry in store.list()] == [f"waves/{10**19 - 1}"]


def test_the_pattern_of_versions_is_the_bound_of_them():
    assert re.fullmatch(VERSION_PATTERN, str(LARGEST_VERSION))
    assert not re.fullmatch(VERSION_PATTERN, str(LARGEST_VERSION + 1))

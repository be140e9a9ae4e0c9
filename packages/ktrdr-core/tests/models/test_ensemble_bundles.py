"""An ensemble is one bundle, each of whose members is verified: nothing is missing, added, swapped or disguised."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import MOST_ENSEMBLE_MEMBERS
from ktrdr.core.models import model_store
from ktrdr.core.models.apart import export_apart, import_apart, verify_apart
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.ensemble_predictor import EnsemblePredictor
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.models.model_facts import model_facts
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.contract import EpochRecord, ModelType, PluginInfo


def files(bundle):
    return {path.relative_to(bundle.directory).as_posix() for path in bundle.directory.rglob("*") if path.is_file()}


def test_every_member_has_its_files_in_a_directory_and_in_the_manifest(store, add_ensemble):
    bundle = add_ensemble(3)
    assert set(bundle.manifest.files) == files(bundle) - {"manifest.json"}
    assert set(bundle.manifest.files) == {"strategy.yaml", "normalizers.json"} | {
        f"members/0{number}/{name}"
        for number in (1, 2, 3)
        for name in ("history.json", "model.json", "weights.safetensors")
    }
    assert bundle.manifest.schema_version == 6
    assert store.verify("waves").ref == "waves/1"


def test_the_largest_ensemble_is_stored_verified_and_moved(store, add_ensemble, tmp_path):
    add_ensemble(MOST_ENSEMBLE_MEMBERS)
    exported = export_bundle(store, "waves", tmp_path / "waves.zip")
    elsewhere = ModelStore(tmp_path / "elsewhere")
    assert len(import_bundle(elsewhere, exported).bundle.manifest.member_directories) == MOST_ENSEMBLE_MEMBERS
    assert elsewhere.verify("waves").manifest.origin == "waves/1"


def test_each_member_has_its_history_and_the_ensemble_none(add_ensemble):
    bundle = add_ensemble(3)
    assert bundle.history() == ()
    assert [bundle.history(member)[0].metrics["val_loss"] for member in (1, 2, 3)] == [1.0, 2.0, 3.0]
    for wrong in (0, 4, -1):
        with pytest.raises(BadInputError, match=rf"has no member {wrong}; it has members 1 to 3$"):
            bundle.history(wrong)


def test_a_model_of_one_training_has_no_members(add):
    bundle = add()
    assert bundle.manifest.member_directories == ()
    with pytest.raises(BadInputError, match="has no member 1; it has no members: leave `member` out"):
        bundle.history(1)


def test_histories_share_the_limit_of_a_bundle(store, monkeypatch):
    """Each epoch counts as four values, and the histories may have half of the values of a bundle."""
    monkeypatch.setattr(model_store, "MOST_JSON_VALUES", 8_000)
    epochs = [EpochRecord(number, {"val_loss": 1.0}) for number in range(1, 1_001)]
    with store.create("waves") as writer:
        for number in range(1, 5):
            writer.write_history(epochs, place=f"members/0{number}", histories=4)
        writer.write_history(epochs)
        kept = {
            path.parent.name: [record["epoch"] for record in json.loads(path.read_text())]
            for path in writer.directory.rglob("history.json")
        }
    assert len(kept.pop(writer.directory.name)) == len(epochs)
    assert {len(own) for own in kept.values()} == {250 + 1}
    assert {own[-1] for own in kept.values()} == {len(epochs)}


@pytest.mark.parametrize("member", [1, 3])
@pytest.mark.parametrize("name", ["weights.safetensors", "history.json", "model.json"])
def test_a_changed_byte_is_found_and_its_member_named(store, add_ensemble, member, name):
    place = f"members/0{member}/{name}"
    path = add_ensemble(3).directory / place
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"waves/1 is refused: {place} was changed after it was saved"):
        store.verify("waves")


def shorten(directory):
    (directory / "members/02/weights.safetensors").write_bytes(b"\0" * 12)


def swap(directory):
    one, other = directory / "members/01", directory / "members/02"
    one.rename(directory / "kept")
    other.rename(one)
    (directory / "kept").rename(other)


def link_member(directory):
    shutil.move(directory / "members/02", directory.parents[1] / "hidden")
    (directory / "members/02").symlink_to(directory.parents[1] / "hidden")


def link_all(directory):
    shutil.move(directory / "members", directory.parents[1] / "hidden")
    (directory / "members").symlink_to(directory.parents[1] / "hidden")


def link_file(directory):
    path = directory / "members/02/weights.safetensors"
    path.unlink()
    path.symlink_to("../01/weights.safetensors")


def pipe(directory):
    (directory / "members/02/history.json").unlink()
    os.mkfifo(directory / "members/02/history.json")


BROKEN = {
    "a member is missing": (lambda at: shutil.rmtree(at / "members/02"), "members/02/history.json is missing"),
    "all are missing": (lambda at: shutil.rmtree(at / "members"), "members/01/history.json is missing"),
    "weights are missing": (
        lambda at: (at / "members/03/weights.safetensors").unlink(),
        "members/03/weights.safetensors is missing",
    ),
    "a member is added": (
        lambda at: shutil.copytree(at / "members/01", at / "members/04"),
        "members/04 is not in the manifest",
    ),
    "a member is called otherwise": (
        lambda at: (at / "members/03").rename(at / "members/3"),
        "members/3 is not in the manifest",
    ),
    "a file is added": (
        lambda at: (at / "members/01/more.json").write_text("{}"),
        "members/01/more.json is not in the manifest",
    ),
    "a pickle is added": (
        lambda at: (at / "members/01/more.json").write_bytes(pickle.dumps(print)),
        "in members/01: more.json is a pickle",
    ),
    "a directory in a member": (lambda at: (at / "members/01/deep").mkdir(), "members/01/deep is not in the manifest"),
    "a file beside the members": (lambda at: (at / "members/a.json").write_text("{}"), "members/a.json is not in the"),
    "a directory beside the members": (lambda at: (at / "more").mkdir(), "more is not in the manifest"),
    "a hidden file": (lambda at: (at / "members/.a").write_text("{}"), r"in members: \.a is not of a kind"),
    "a member is a file": (
        lambda at: (shutil.rmtree(at / "members/02"), (at / "members/02").write_text("")),
        "02 is not of a kind|members/02 is not in the manifest",
    ),
    "shortened": (shorten, "members/02/weights.safetensors was changed"),
    "swapped": (swap, "members/01/history.json was changed"),
    "a member is a link": (link_member, "members/02 is not in the manifest"),
    "the members are a link": (link_all, "members is not in the manifest"),
    "a file is a link": (link_file, "weights.safetensors is a symbolic link"),
    "a file is a pipe": (pipe, "history.json is not a plain file"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_ensemble_is_refused_by_everyone(store, add_ensemble, tmp_path, kind):
    bundle = add_ensemble(3)
    change, reason = BROKEN[kind]
    change(bundle.directory)
    with pytest.raises(BundleError, match=reason):
        store.verify("waves")
    with pytest.raises(BundleError, match=reason):
        export_bundle(store, "waves", tmp_path / "waves.zip")
    assert not (tmp_path / "waves.zip").exists()
    with pytest.raises(BundleError, match=reason):
        bundle.load_predictor(NoPlugins())


class NoPlugins:
    """Fails if a plugin is asked for."""


def without(*names):
    def change(bundle):
        for name in names:
            (bundle.directory / name).unlink()
        return {}

    return change


def write(name, content=b"{}"):
    def change(bundle):
        path = bundle.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {}

    return change


def strategy_with(**changes):
    def change(bundle):
        strategy = bundle.manifest.strategy.model_dump(mode="json")
        strategy["model"] |= changes
        return {"strategy": strategy}

    return change


def members_with(number, **changes):
    def change(bundle):
        members = [member.model_dump(mode="json") for member in bundle.manifest.members]
        members[number] |= changes
        return {"members": members}

    return change


def fewer_records(bundle):
    return {"members": [member.model_dump(mode="json") for member in bundle.manifest.members[:-1]]}


FORGED = {
    "no weights": (without("members/02/weights.safetensors"), r"there is no members/02/weights\.\* file"),
    "no history": (without("members/02/history.json"), "members/02/history.json is missing"),
    "a history of all": (write("history.json", b"[]"), "history.json belongs to no member of the ensemble"),
    "weights of all": (write("weights.npy", b"x"), "weights.npy belongs to no member of the ensemble"),
    "a member too many": (write("members/04/history.json", b"[]"), "members/04 is not in the manifest"),
    "member 0": (write("members/00/history.json", b"[]"), "members/00 is not in the manifest"),
    "a pickle as weights": (
        write("members/02/weights.safetensors", pickle.dumps(print)),
        "in members/02: weights.safetensors is a pickle",
    ),
    "code": (write("members/02/code.py", b"import os"), "in members/02: code.py is not of a kind"),
    "a broken history": (write("members/02/history.json", b"[{}]"), "members/02/history.json is not a list of epochs"),
    "too many epochs": (
        write("members/02/history.json", b'[{"epoch": 500, "metrics": {}}]'),
        "members/02/history.json has epoch 500 after epoch 0",
    ),
    "another architecture": (
        write("members/02/model.json", b'{"model_type": "lstm"}'),
        "members/02/model.json contradicts manifest.json in `model_type`",
    ),
    "fewer members": (strategy_with(members={"seeds": 2}), "members lists 3, and the strategy's ensemble has 2"),
    "fewer members and records": (
        lambda bundle: strategy_with(members={"seeds": 2})(bundle) | fewer_records(bundle),
        "members/03 is not in the manifest",
    ),
    "another vote": (strategy_with(vote="majority"), "strategy.yaml says 'average' for `model.vote`"),
    "another type": (strategy_with(of={"type": "lstm"}), "manifest.json says 'mlp' for `model_type`"),
    "billions of members": (strategy_with(members={"seeds": 10**9}), "less than or equal to 64"),
    "one member": (strategy_with(members={"seeds": 1}), "greater than or equal to 2"),
    "ensembles as members": (
        strategy_with(of={"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 2}}),
        "strategy.model.ensemble.of",
    ),
    "seeds in another order": (
        members_with(0, seed=43),
        r"says \(43, 43, 44\) for the seeds of `members`, its strategy \(42, 43, 44\)",
    ),
    "a best epoch beyond the last": (members_with(1, best_epoch=101), "says 101 for the best epoch of member 2"),
    "facts of another epoch": (members_with(1, facts={"best_epoch": 500}), "says 500 for `facts.best_epoch`"),
    "metrics of no part": (members_with(1, metrics={"train": {}}), "`members.2.metrics` has other parts"),
    "metrics that are text": (
        members_with(1, metrics={"test": {"accuracy": "good"}}),
        "members.1.metrics.test.accuracy",
    ),
    "no records": (lambda bundle: {"members": []}, "members lists 0, and the strategy's ensemble has 3"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_manifest_does_not_help(store, add_ensemble, rewrite, kind):
    bundle = add_ensemble(3)
    change, reason = FORGED[kind]
    changes = change(bundle)
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match=reason):
        store.verify("waves")


@pytest.mark.parametrize(
    "name",
    [
        "members/01/../../evil.json",
        "members/../evil.json",
        "/members/01/evil.json",
        "members//evil.json",
        "members/1/evil.json",
        "members/001/evil.json",
        "members/01/deep/evil.json",
        "Members/01/evil.json",
        "other/01/evil.json",
        "members/01/manifest.json",
        "members/01/.hidden.json",
        "members\\01\\evil.json",
        "members/０1/evil.json",
        "members/01/evil.json\n",
    ],
)
def test_no_other_path_can_be_the_name_of_a_file(store, add_ensemble, rewrite, name):
    bundle = add_ensemble(2)
    rewrite(bundle, files={**bundle.manifest.files, name: "0" * 64})
    with pytest.raises(BundleError, match="cannot be the name of a file in a bundle"):
        store.get("waves")


def test_a_model_of_one_training_has_no_directories(store, add, rewrite):
    bundle = add()
    write("members/01/weights.npy", b"x")(bundle)
    rewrite(bundle)
    with pytest.raises(BundleError, match="members is not in the manifest"):
        store.verify("waves")


def test_a_storage_cannot_add_directories(store, fields, fill):
    with store.create("waves") as writer:
        fill(writer)
        (writer.directory / "members" / "01").mkdir(parents=True)
        with pytest.raises(BundleError, match="cannot be saved: members is not a plain file"):
            writer.commit(fields)
    assert store.versions("waves") == ()


def test_equal_bundles_export_to_equal_bytes_and_come_back(store, add_ensemble, tmp_path):
    bundle = add_ensemble(3)
    one = export_bundle(store, "waves", tmp_path / "one.zip")
    other = export_bundle(store, "waves", tmp_path / "other.zip")
    assert one.read_bytes() == other.read_bytes()
    elsewhere = ModelStore(tmp_path / "elsewhere")
    imported = import_bundle(elsewhere, one)
    assert imported.added
    assert imported.bundle.manifest.files == bundle.manifest.files
    assert imported.bundle.manifest.weights_hash == bundle.manifest.weights_hash
    assert not import_bundle(elsewhere, one).added


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda names: [name for name in names if "02/w" not in name], "members/02/weights.safetensors is missing"),
        (lambda names: [*names, "members/04/a.json"], "members/04/a.json is not in the manifest"),
        (lambda names: [*names, "members/../../a.json"], "not a plain file name"),
        (lambda names: [*names, "members/01/deep/a.json"], "not a plain file name"),
        (lambda names: [*names, "members/01"], "lies below another file|not in the manifest"),
    ],
)
def test_a_hostile_archive_of_members_is_refused(store, add_ensemble, tmp_path, change, reason):
    bundle = add_ensemble(2)
    path = tmp_path / "waves.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in change(["manifest.json", *bundle.manifest.files]):
            file = bundle.directory / name
            archive.writestr(name, file.read_bytes() if file.is_file() else b"{}")
    elsewhere = ModelStore(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=reason):
        import_bundle(elsewhere, path)
    assert elsewhere.names() == ()
    assert not (tmp_path / "a.json").exists()


def test_a_server_moves_and_verifies_ensembles_in_a_child(store, add_ensemble, tmp_path):
    add_ensemble(3)
    assert verify_apart(store.root, "waves/1") == "waves/1"
    export_apart(store.root, "waves/1", tmp_path / "waves.zip")
    assert import_apart(tmp_path / "elsewhere", tmp_path / "waves.zip") == ("waves/1", True)


def test_the_weights_hash_is_of_the_weights_of_all_members_in_their_places(add_ensemble):
    manifest = add_ensemble(3).manifest
    hashes = manifest.files["members/01/weights.safetensors"], manifest.files["members/02/weights.safetensors"]
    names = ("members/02/weights.safetensors", "members/01/weights.safetensors")
    swapped = manifest.model_copy(update={"files": manifest.files | dict(zip(names, hashes, strict=True))})
    history = manifest.model_copy(update={"files": manifest.files | {"members/01/history.json": "0" * 64}})
    assert len({manifest.weights_hash, swapped.weights_hash}) == 2
    assert history.weights_hash == manifest.weights_hash


def test_an_older_manifest_has_no_members(add):
    manifest = json.loads((add().directory / "manifest.json").read_text())
    del manifest["members"]
    for version in (1, 2, 3):
        assert Manifest.model_validate(manifest | {"schema_version": version}).members == ()


def test_the_facts_of_a_model_list_its_members(add_ensemble):
    facts = dict(model_facts(add_ensemble(3).manifest))
    assert facts["type"] == "ensemble of 3 mlp, classification"
    assert facts["vote"] == "average"
    assert [facts[f"member {number}"] for number in (1, 2, 3)] == [
        "seed 42, epoch 1, val_loss 1",
        "seed 43, epoch 1, val_loss 2",
        "seed 44, epoch 1, val_loss 3",
    ]


class StubPlugins:
    """A backend whose loader remembers what it loads; ``sizes`` are those of the predictors in their order."""

    def __init__(self, sizes, error=None):
        self.sizes, self.error, self.loaded = list(sizes), error, []

    def info(self, name):
        types = (ModelType("mlp", "a network"),)
        return PluginInfo(name=name, version="1", contract="2.0", model_types=types)

    def record(self, name):
        class Record:
            distribution = "ktrdr-ml-torch"

        return Record

    def loader(self, name):
        return self

    def load(self, directory: Path, device="auto"):
        self.loaded.append((directory.name, device))
        if self.error is not None and len(self.loaded) == 2:
            raise self.error

        class Stub:
            input_size, window = self.sizes[len(self.loaded) - 1], 1

        return Stub()


def test_every_member_is_loaded_from_its_directory_on_the_device(add_ensemble):
    bundle = add_ensemble(3)
    plugins = StubPlugins([4, 4, 4])
    assert bundle.manifest.input_size == 4
    predictor = bundle.load_predictor(plugins, "cuda:1")
    assert isinstance(predictor, EnsemblePredictor)
    assert plugins.loaded == [("01", "cuda:1"), ("02", "cuda:1"), ("03", "cuda:1")]


def test_a_member_of_another_size_is_named(add_ensemble):
    with pytest.raises(BundleError, match=r"waves/1, members/02, is refused: its weights are for 3 features"):
        add_ensemble(3).load_predictor(StubPlugins([4, 3, 4]))


def test_a_member_that_its_loader_refuses_is_named(add_ensemble):
    plugins = StubPlugins([4, 4, 4], BundleError("a tensor is missing"))
    with pytest.raises(BundleError, match=r"waves/1, members/02, is refused: a tensor is missing"):
        add_ensemble(3).load_predictor(plugins)

"""Portable twins in bundles: written beside the weights, checked with them, and never the end of a training."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, PluginError, StoreError
from ktrdr.core.files.durable import UNFINISHED
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.inference import Dense, Softmax, TwinGraph
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.inference_choice import choose_inference
from ktrdr.core.models.manifest import TwinRecord
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.models.twins import add_twins
from ktrdr.core.plugins.contract import Device, ModelType, PluginInfo, Rule, Twin
from ktrdr.core.plugins.discovery import PluginRecord

PROBES = np.random.default_rng(5).normal(size=(20, 4)).astype(np.float32)
PROBES[7] = np.nan
WEIGHTS = np.float32([0.5, -1.0]).tobytes()


class Linear:
    """A backend's predictor of three classes, from the two numbers in the weights file; it has one rule."""

    input_size, window = 4, 1

    def __init__(self, weights):
        values = np.resize(weights, 12).reshape(3, 4) * np.linspace(-1, 1, 12).reshape(3, 4)
        self.weights = values.astype(np.float32)
        self.planted = None

    def predict(self, features):
        scores = features.astype(np.float64) @ self.weights.T.astype(np.float64)
        exps = np.exp(scores - scores.max(axis=1, keepdims=True))
        return exps / exps.sum(axis=1, keepdims=True)

    def rules(self):
        return [Rule((("rsi", "low"),), 1.0, {"BUY": 1.0, "HOLD": 0.0, "SELL": 0.0}, "if rsi is low then BUY")]

    def twin(self):
        if isinstance(self.planted, Exception):
            raise self.planted
        nodes = (Dense(name="a", input="features", weights="w", bias="b"), Softmax(name="p", input="a"))
        graph = TwinGraph(input_size=4, output="classification", outputs=3, nodes=nodes)
        arrays = {"w": self.weights, "b": np.zeros(3, np.float32)}
        return Twin(graph.to_json(), self.planted(arrays) if self.planted is not None else arrays)


class Backend:
    """Plugins and the loader of one of them."""

    def __init__(self, planted=None, number=None):
        self.planted, self.number, self.loaded = planted, number, 0

    def info(self, name):
        return PluginInfo(name="torch", version="0.2", contract="2.2", model_types=(ModelType("mlp", ""),))

    def record(self, name):
        return PluginRecord("torch", "ktrdr-ml-torch", "0.2", "m", "available")

    def devices(self, name):
        return [Device("cpu", "cpu")]

    def loader(self, name):
        return self

    def load(self, directory, device="auto"):
        self.loaded += 1
        predictor = Linear(read_safetensors(directory / "weights.safetensors", 2**20)["w"])
        if self.number in (None, self.loaded):
            predictor.planted = self.planted
        return predictor


class NoPlugins:
    """No plugin is installed, and nothing may ask for one."""

    def __getattr__(self, name):
        raise AssertionError(f"asked for plugins: {name}")


@pytest.fixture
def add_portable(store, fields, fill):
    """Return ``add_portable(backend)``, which stores a model as a training does."""

    def run(backend=None):
        with store.create("waves") as writer:
            fill(writer, WEIGHTS)
            twin = add_twins(writer.directory, (), backend or Backend(), PROBES)
            return writer.commit(fields.model_copy(update={"twin": twin}))

    return run


def files(bundle):
    return {str(path.relative_to(bundle.directory)) for path in bundle.directory.rglob("*") if path.is_file()}


def test_a_model_with_a_twin_predicts_without_its_plugin(store, add_portable):
    bundle = add_portable()
    assert bundle.manifest.twin == TwinRecord(rows=19, difference=bundle.manifest.twin.difference)
    assert 0 <= bundle.manifest.twin.difference < 1e-7
    assert files(bundle) >= {"twin.json", "twin.safetensors", "probes.safetensors"}
    native = Backend().load(bundle.directory)
    for inference in ("auto", "portable"):
        predictor = store.get("waves").load_predictor(NoPlugins(), inference=inference)
        np.testing.assert_allclose(predictor.predict(PROBES), native.predict(PROBES), atol=1e-6)
        assert list(predictor.rules()) == native.rules()
    np.testing.assert_array_equal(store.get("waves").probes(), PROBES)


def test_native_is_the_plugin_and_so_is_a_gpu(add_portable):
    bundle, backend = add_portable(), Backend()
    assert isinstance(bundle.load_predictor(backend, inference="native"), Linear)
    assert isinstance(bundle.load_predictor(backend, "cuda:0"), Linear)
    assert not isinstance(bundle.load_predictor(backend, "cpu"), Linear)


def test_the_twin_does_not_count_as_weights(add, add_portable):
    assert add(WEIGHTS).manifest.weights_hash == add_portable().manifest.weights_hash


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (lambda arrays: arrays | {"b": np.float32([1e-4, 0, 0])}, "a prediction differs by"),
        (lambda arrays: arrays | {"b": np.float32([np.nan, 0, 0])}, "array 'b' has numbers that are not finite"),
        (lambda arrays: {"w": arrays["w"]}, "array 'b' is missing"),
        (lambda arrays: arrays | {"w": arrays["w"].astype(np.int64)}, "array 'w' is int64"),
        (ValueError("the plugin\nis \x1b[31mbroken"), r"ValueError: the plugin is \?\[31mbroken"),
        (OSError("a helper of the plugin is missing"), r"^OSError: a helper of the plugin is missing"),
        (lambda arrays: dict.fromkeys(arrays), r"^AttributeError: "),
        (BadInputError("a layer that the vocabulary lacks"), "^a layer that the vocabulary lacks"),
    ],
)
def test_a_twin_that_fails_never_ends_a_training(planted, reason, add_portable, store):
    bundle = add_portable(Backend(planted))
    assert bundle.manifest.twin.difference is None
    assert re.search(reason, bundle.manifest.twin.missing)
    assert not bundle.manifest.portable
    assert files(bundle) == {"manifest.json", *bundle.manifest.files}
    assert not {name for name in bundle.manifest.files if "twin" in name or "probes" in name}
    assert isinstance(store.verify("waves").load_predictor(Backend()), Linear)
    with pytest.raises(BadInputError, match=r"has no portable twin \(.*\); predict with the framework with --inf"):
        bundle.load_predictor(Backend(), inference="portable")


def test_a_backend_without_twins_stores_models_as_before(store, fields, fill):
    class Plain:
        input_size, window = 4, 1

        def predict(self, features):
            return np.full((len(features), 3), 1 / 3)

    class Loader:
        def load(self, directory, device="auto"):
            return Plain()

    with store.create("waves") as writer:
        fill(writer)
        assert add_twins(writer.directory, (), Loader(), PROBES) is None
        bundle = writer.commit(fields)
    assert bundle.manifest.twin is None
    assert not bundle.manifest.portable
    assert store.verify("waves").manifest.files.keys() == {
        "history.json", "normalizers.json", "strategy.yaml", "weights.safetensors",
    }  # fmt: skip


def test_a_file_of_the_backend_is_not_replaced(tmp_path):
    (tmp_path / "twin.json").write_text("mine", encoding="utf-8")
    record = add_twins(tmp_path, (), Backend(), PROBES)
    assert record.missing == "the backend has stored a file of its own as twin.json"
    assert (tmp_path / "twin.json").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_is_not_taken_for_a_twin_that_fails(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_safetensors(tmp_path / "weights.safetensors", {"w": np.float32([1, 2])})
    monkeypatch.setattr("ktrdr.core.models.twins.write_twin", full)
    with pytest.raises(OSError, match="No space left"):
        add_twins(tmp_path, (), Backend(), PROBES)


@pytest.mark.parametrize("number", [None, 3])
def test_each_member_of_an_ensemble_has_a_twin_or_none_has(number, add_ensemble, store):
    bundle = add_ensemble(3)
    places = bundle.manifest.member_directories
    planted = None if number is None else (lambda arrays: arrays | {"b": np.float32([1e-3, 0, 0])})
    record = add_twins(bundle.directory, places, Backend(planted, number), PROBES)
    expected = {f"{place}/{name}" for place in places for name in ("twin.json", "twin.safetensors")}
    found = {name for name in files(bundle) if "twin" in name}
    assert found == (expected if number is None else set())
    assert (record.rows, record.missing == "") == ((57, True) if number is None else (0, False))


def test_an_ensemble_predicts_by_the_twins_of_its_members(add_ensemble, store):
    add_ensemble(3)

    def make(copy):
        return add_twins(copy.directory, copy.manifest.member_directories, Backend(), PROBES)

    bundle = store.add_twin("waves", make)
    backend = Backend()
    portable, native = (bundle.load_predictor(backend, inference=name) for name in ("portable", "native"))
    np.testing.assert_allclose(portable.predict(PROBES), native.predict(PROBES), atol=1e-6)
    assert backend.loaded == 3
    assert len(portable.rules()) == 3


# Hostile and damaged bundles.


@pytest.mark.parametrize("name", ["twin.json", "twin.safetensors", "probes.safetensors"])
def test_a_changed_missing_or_replaced_file_is_refused(name, add_portable, store, rewrite):
    bundle = add_portable()
    whole = (bundle.directory / name).read_bytes()
    (bundle.directory / name).write_bytes(whole + b" ")
    with pytest.raises(BundleError, match=rf"{name}"):
        store.verify("waves")
    (bundle.directory / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing"):
        bundle.load_predictor(NoPlugins())
    # With the right hash, but no twin.
    content = b"{}" if name == "twin.json" else b"\x02\0\0\0\0\0\0\0{}"
    (bundle.directory / name).write_bytes(content)
    rewrite(bundle, files=bundle.manifest.files | {name: sha256(content)})
    with pytest.raises(BundleError, match=r"model waves/1 is refused: "):
        store.verify("waves")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_a_twin_of_another_model_is_refused(add_portable, store, rewrite):
    bundle = add_portable()
    nodes = (Dense(name="a", input="features", weights="w", bias="b"), Softmax(name="p", input="a"))
    graph = TwinGraph(input_size=3, output="classification", outputs=3, nodes=nodes)
    content = json.dumps(graph.to_json()).encode()
    (bundle.directory / "twin.json").write_bytes(content)
    write_safetensors(
        bundle.directory / "twin.safetensors", {"w": np.zeros((3, 3), np.float32), "b": np.zeros(3, np.float32)}
    )
    arrays = (bundle.directory / "twin.safetensors").read_bytes()
    hashes = {"twin.json": sha256(content), "twin.safetensors": sha256(arrays)}
    rewrite(bundle, files=bundle.manifest.files | hashes)
    message = (
        r"twin.json has a twin of a classification with 3 inputs, a window of 1 and 3 outputs, manifest.json says a"
        r" classification with 4 inputs"
    )
    with pytest.raises(BundleError, match=message):
        store.get("waves").load_predictor(NoPlugins())
    with pytest.raises(BundleError, match=message):
        store.verify("waves")


def test_a_manifest_that_promises_a_twin_must_have_its_files(add, store, rewrite):
    rewrite(add(), twin={"rows": 3, "difference": 0.0, "missing": ""})
    with pytest.raises(BundleError, match=r"probes.safetensors is missing"):
        store.verify("waves")


@pytest.mark.parametrize(
    "twin",
    [
        {"rows": 3, "difference": None, "missing": ""},
        {"rows": 0, "difference": 0.0, "missing": ""},
        {"rows": 3, "difference": None, "missing": "why"},
        {"rows": 3, "difference": 0.0, "missing": "why"},
        {"rows": 3, "difference": -1.0, "missing": ""},
        {"rows": -3, "difference": 1.0, "missing": ""},
        {"rows": 3, "difference": None, "missing": "\x1b[31m"},
    ],
)
def test_a_record_that_contradicts_itself_is_refused(twin, add, store, rewrite):
    rewrite(add(), twin=twin)
    with pytest.raises(BundleError, match=r"manifest.json is not valid at twin"):
        store.get("waves")


# Adding a twin to a stored bundle.


def make_twin(copy):
    return add_twins(copy.directory, copy.manifest.member_directories, Backend(), PROBES)


def test_an_older_bundle_gets_a_twin_and_keeps_its_version_and_hash(add, store, rewrite):
    before = add(WEIGHTS)
    content = json.loads((before.directory / "manifest.json").read_text())
    del content["twin"]
    content["schema_version"] = 4
    (before.directory / "manifest.json").write_text(json.dumps(content))
    assert store.verify("waves").manifest.twin is None
    after = store.add_twin("waves", make_twin)
    assert after.ref == "waves/1"
    assert store.versions("waves") == (1,)
    assert after.manifest.weights_hash == before.manifest.weights_hash
    assert store.verify("waves") == after
    assert after.manifest.schema_version == 6
    assert set(after.manifest.files) - set(before.manifest.files) == {
        "twin.json",
        "twin.safetensors",
        "probes.safetensors",
    }
    assert store.get("waves").load_predictor(NoPlugins()).predict(PROBES).shape == (20, 3)
    with pytest.raises(BadInputError, match="model waves/1 has a portable twin already"):
        store.add_twin("waves", make_twin)


def test_what_fails_leaves_the_bundle_as_it_was(add, store):
    bundle = add()
    before = {name: (bundle.directory / name).read_bytes() for name in files(bundle)}

    def fail(copy):
        (copy.directory / "twin.json").write_text("{}")
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        store.add_twin("waves", fail)
    assert {name: (bundle.directory / name).read_bytes() for name in files(bundle)} == before
    assert not [path for path in (store.root / "waves").iterdir() if path.name.startswith(UNFINISHED)]


_KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from ktrdr.core.models import model_store
from ktrdr.core.models.manifest import TwinRecord

countdown = int(sys.argv[2])

def count(*_):
    global countdown
    countdown -= 1
    if countdown < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    def run(*arguments, **more):
        count()
        return function(*arguments, **more)
    return run

model_store.sync_directory = counted(model_store.sync_directory)
model_store.sync_file = counted(model_store.sync_file)
Path.write_bytes = counted(Path.write_bytes)
Path.replace = counted(Path.replace)

def make(copy):
    for name in ("twin.json", "twin.safetensors", "probes.safetensors"):
        (copy.directory / name).write_bytes((Path(sys.argv[3]) / name).read_bytes())
    return TwinRecord(rows=19, difference=0.0)

model_store.ModelStore(Path(sys.argv[1])).add_twin("waves", make)
"""


def test_a_bundle_is_whole_whenever_the_process_that_adds_a_twin_is_killed(add, add_portable, store, tmp_path):
    shutil.copytree(add_portable().directory, tmp_path / "twin")
    store.delete("waves/1")
    bundle = add(WEIGHTS)
    killed = 0
    for steps in range(40):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(store.root), str(steps), str(tmp_path / "twin")], check=False,
            capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        found = store.verify("waves")
        if done.returncode == 0:
            assert found.manifest.portable
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        # The last step is to flush the directory with the new manifest.
        assert found.manifest.portable or found.manifest == bundle.manifest
        killed += 1
        if found.manifest.portable:
            break
    assert killed >= 8
    assert found.load_predictor(NoPlugins()).predict(PROBES).shape == (20, 3)


def test_files_that_a_killed_process_left_are_not_exported_or_imported(add, store, tmp_path):
    bundle = add()
    (bundle.directory / "twin.json").write_bytes(b"left over")
    store.verify("waves")
    path = export_bundle(store, "waves", tmp_path / "waves.zip")
    imported = import_bundle(ModelStore(tmp_path / "other"), path).bundle
    assert files(imported) == {"manifest.json", *bundle.manifest.files}


def test_a_bundle_with_a_twin_travels_with_it(add_portable, store, tmp_path):
    add_portable()
    path = export_bundle(store, "waves", tmp_path / "waves.zip")
    other = ModelStore(tmp_path / "other")
    bundle = import_bundle(other, path).bundle
    assert bundle.manifest.portable
    assert other.verify("waves").load_predictor(NoPlugins()).predict(PROBES).shape == (20, 3)
    assert not import_bundle(other, path).added


def test_the_same_model_is_added_again_only_if_it_brings_a_twin(add, store, tmp_path):
    bundle = add(WEIGHTS)
    plain = export_bundle(store, "waves", tmp_path / "plain.zip")
    with_twin = export_bundle(store, store.add_twin("waves", make_twin).ref, tmp_path / "with.zip")
    other = ModelStore(tmp_path / "other")
    assert import_bundle(other, plain).added
    assert not import_bundle(other, plain).added
    assert import_bundle(other, with_twin).added
    assert not import_bundle(other, plain).added
    assert other.get("waves").manifest.portable
    assert other.versions("waves") == (1, 2)
    assert bundle.ref == "waves/1"


# The choice.


@pytest.mark.parametrize(
    ("inference", "device", "used"),
    [
        ("auto", "auto", "portable"),
        ("auto", "cpu", "portable"),
        ("auto", "cuda", "native"),
        ("auto", "cuda:1", "native"),
        ("auto", "mps", "native"),
        ("portable", "cpu", "portable"),
        ("native", "auto", "native"),
        ("native", "cpu", "native"),
    ],
)
def test_auto_is_the_twin_unless_a_gpu_is_asked_for(inference, device, used, add_portable, add):
    assert choose_inference(add_portable().manifest, inference, device) == used
    if inference != "portable":
        assert choose_inference(add().manifest, inference, device) == "native"


def test_a_twin_on_a_gpu_is_refused(add_portable):
    with pytest.raises(BadInputError, match="predicts on the CPU, not on `cuda:1`; leave the device out, or predict"):
        choose_inference(add_portable().manifest, "portable", "cuda:1")


def test_without_twin_and_plugin_the_message_names_the_plugin(add):
    class Missing:
        def info(self, name):
            raise PluginError(f"plugin `{name}` is not installed; install it with `pip install ktrdr-ml-torch`")

    with pytest.raises(PluginError, match="pip install ktrdr-ml-torch"):
        add().load_predictor(Missing())


def test_the_same_model_with_another_twin_is_another_model(add_portable, store, rewrite, tmp_path):
    genuine = export_bundle(store, add_portable().ref, tmp_path / "genuine.zip")
    bundle = store.get("waves")
    path = bundle.directory / "twin.safetensors"
    write_safetensors(path, {name: -array for name, array in read_safetensors(path, 2**20).items()})
    rewrite(bundle, files=bundle.manifest.files | {"twin.safetensors": sha256(path.read_bytes())})
    forged = export_bundle(store, "waves", tmp_path / "forged.zip")
    other = ModelStore(tmp_path / "other")
    assert import_bundle(other, forged).added
    assert import_bundle(other, genuine).added
    assert other.versions("waves") == (1, 2)


def test_a_directory_in_the_place_of_a_leftover_is_refused(add, store):
    (add().directory / "twin.json").mkdir()
    with pytest.raises(BundleError, match="twin.json is not in the manifest"):
        store.verify("waves")


def test_a_twin_that_is_added_while_a_model_is_exported_is_not_half_in_it(add, store, tmp_path, monkeypatch):
    from ktrdr.core.models import archive

    add(WEIGHTS)
    write = archive.write_archive

    def added_meanwhile(*arguments, **more):
        store.add_twin("waves", make_twin)
        return write(*arguments, **more)

    monkeypatch.setattr(archive, "write_archive", added_meanwhile)
    path = export_bundle(store, "waves", tmp_path / "waves.zip")
    assert store.get("waves").manifest.portable
    assert not import_bundle(ModelStore(tmp_path / "other"), path).bundle.manifest.portable


@pytest.mark.parametrize(
    ("limit", "reason"), [("LARGEST_TWINS", "its twin has"), ("LARGEST_BUNDLE_FILE", "of an export")]
)
def test_a_twin_beyond_the_limits_is_left_out(limit, reason, tmp_path, monkeypatch):
    write_safetensors(tmp_path / "weights.safetensors", {"w": np.float32([1, 2])})
    monkeypatch.setattr(f"ktrdr.core.models.twins.{limit}", 100)
    assert reason in add_twins(tmp_path, (), Backend(), PROBES).missing
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]

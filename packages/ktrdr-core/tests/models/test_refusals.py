"""What does not fit is refused with the reason, and nothing in a bundle can run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.errors import PluginError
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.contents import check_file
from ktrdr.core.plugins import Device, ModelType, PluginInfo
from ktrdr.core.plugins.discovery import PluginRecord


class Canary:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "the-code-ran"
    yield Canary(path)
    assert not path.exists()


def test_every_flipped_byte_is_found(store, add):
    bundle = add()
    for name in sorted(bundle.manifest.files):
        path = bundle.directory / name
        content = path.read_bytes()
        for position in {0, len(content) // 2, len(content) - 1}:
            flipped = bytearray(content)
            flipped[position] ^= 1
            path.write_bytes(flipped)
            with pytest.raises(BundleError, match=f"model waves/1 is refused: {name} was changed"):
                store.verify("waves/1")
        path.write_bytes(content)
        store.verify("waves/1")


def test_reading_a_changed_file_is_refused_without_verify(add):
    bundle = add()
    (bundle.directory / "normalizers.json").write_text("{}")
    (bundle.directory / "history.json").write_text("[]")
    with pytest.raises(BundleError, match=r"normalizers\.json was changed"):
        bundle.normalizers()
    with pytest.raises(BundleError, match=r"history\.json was changed"):
        bundle.history()


def test_missing_and_extra_files_are_named(store, add):
    bundle = add()
    (bundle.directory / "extra.json").write_text("{}")
    with pytest.raises(BundleError, match=r"extra\.json is not in the manifest"):
        bundle.verify()
    (bundle.directory / "extra.json").unlink()
    (bundle.directory / "history.json").unlink()
    with pytest.raises(BundleError, match=r"history\.json is missing"):
        bundle.verify()


def test_links_and_pipes_are_refused_not_followed(add, tmp_path):
    bundle = add()
    path = bundle.directory / "history.json"
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(BundleError, match=r"history\.json is a symbolic link"):
        bundle.verify()
    with pytest.raises(BundleError, match=r"history\.json is a symbolic link"):
        bundle.history()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleError, match=r"history\.json is not a plain file"):
        bundle.verify()


def torch_archive(payload):
    """The layout of the older framework's weights: a zip with a pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/data/0", b"\0" * 16)
    return buffer.getvalue()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def object_array(payload):
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    return buffer.getvalue()


PICKLES = {
    "protocol 0": lambda canary: pickle.dumps(canary, 0),
    "protocol 2": lambda canary: pickle.dumps(canary, 2),
    "protocol 5": lambda canary: pickle.dumps(canary, 5),
    "truncated": lambda canary: pickle.dumps(canary, 5)[:-1],
    "torch archive": lambda canary: torch_archive(pickle.dumps(canary)),
    "object array": object_array,
    "object array in an archive": lambda canary: zipped(x__npy=object_array(canary)),
    "pickle in an archive as an array": lambda canary: zipped(x__npy=pickle.dumps(canary)),
    "pickle in an archive as json": lambda canary: zipped(schema__json=pickle.dumps(canary, 0)),
}
NAMES = ["weights.safetensors", "weights.skops", "weights.npz", "weights.npy", "weights.json", "weights.yaml",
         "weights.pkl", "weights.pt", "weights.joblib", "weights.bin"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", sorted(PICKLES))
def test_a_pickle_is_refused_under_every_name(store, add, rewrite, canary, kind, name):
    bundle = add()
    (bundle.directory / "weights.safetensors").unlink()
    (bundle.directory / name).write_bytes(PICKLES[kind](canary))
    rewrite(bundle)
    with pytest.raises(BundleError, match="model waves/1 is refused: weights"):
        store.verify("waves/1")


@pytest.mark.parametrize("kind", ["protocol 0", "protocol 2", "protocol 5", "truncated", "torch archive"])
def test_the_reason_says_that_it_is_a_pickle(tmp_path, canary, kind):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(PICKLES[kind](canary))
    with pytest.raises(BundleError, match="pickle"):
        check_file(path)


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_what_backends_write_is_accepted(tmp_path):
    good = {
        "a.json": b'{"x": [1, 2.5, null]}',
        "a.yaml": b"name: waves\nsymbols: [EURUSD]\n",
        "a.npy": array(np.arange(6.0).reshape(2, 3)),
        "a.npz": zipped(x__npy=array(np.eye(2)), y__npy=array(np.array(["a"]))),
        "a.skops": zipped(schema__json=b"{}", x__npy=array(np.zeros(3, [("a", "i4")]))),
    }
    for name, content in good.items():
        (tmp_path / name).write_bytes(content)
        check_file(tmp_path / name)


HUGE = b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
BAD = {
    "depth.json": b"[" * 100_000 + b"]" * 100_000,
    "deepish.json": b"[" * 70 + b"]" * 70,
    "twice.json": b'{"a": 1, "a": 2}',
    "nan.json": b"[NaN]",
    "digits.json": b"9" * 10_000,
    "latin.json": b'"\xe9"',
    "binary.yaml": b"name: \0",
    "short.safetensors": b"\x08\0\0\0\0\0\0\0{}",
    "length.safetensors": b"\xff" * 8 + b"{}",
    "huge.safetensors": len(HUGE).to_bytes(8, "little") + HUGE + b"\0" * 4,
    "huge.npy": array(np.zeros(1)).replace(b"(1,)", b"(9,)"),
    "header.npy": b"\x93NUMPY\x01\x00\x10\x00__import__('os')",
    "nested.npy": b"\x93NUMPY\x02\x00\xf0\xff\x00\x00" + b"(" * 65520,
    "unclosed.npy": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192,
    "comment.npz": zipped(x__npy=array(np.eye(2)))[:-2] + b"\x02\x00hi",
    "prefix.npz": b"#!/bin/sh\n" + zipped(x__npy=array(np.eye(2))),
    "script.npz": zipped(x__py=b"print()"),
    "schema.npz": zipped(schema__json=b"{}"),
    "nothing.npz": b"",
    "plain.npy": b"",
    "library.so": b"\x7fELF",
    "none": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BAD[name])
    with pytest.raises(BundleError, match=name.partition(".")[0]):
        check_file(path)


def test_an_archive_that_unpacks_beyond_measure_is_refused_unread(tmp_path, monkeypatch):
    from ktrdr.core.models import contents

    monkeypatch.setattr(contents, "LARGEST_BUNDLE_FILE", 2**20)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", array(np.zeros(2**20)))
    assert path.stat().st_size < 2**20
    with pytest.raises(BundleError, match="unpacks to more than"):
        check_file(path)


def test_tags_in_the_strategy_file_are_never_acted_on(store, add, rewrite, canary):
    bundle = add()
    (bundle.directory / "strategy.yaml").write_text(
        f"name: !!python/object/apply:os.system ['touch {canary.path}']\n", encoding="utf-8"
    )
    rewrite(bundle)
    with pytest.raises(BundleError, match=r"strategy\.yaml:1:7: .*YAML tags such as .* are not allowed"):
        store.verify("waves/1")


CHANGES = {
    "newer format": (
        {"schema_version": 7},
        r"it has bundle format 7, this core reads up to 6; update core with `pip install --upgrade ktrdr-core`$",
    ),
    "no format": ({"schema_version": None}, "schema_version"),
    "format of text": ({"schema_version": "2"}, "schema_version"),
    "format before the first": ({"schema_version": 0}, "schema_version"),
    "input_size null": ({"input_size": None}, "input_size"),
    "input_size zero": ({"input_size": 0}, "input_size"),
    "input_size wrong": ({"input_size": 5}, "input_size is 5, but there are 4 feature ids"),
    "input_size a float": ({"input_size": 4.0}, "input_size"),
    "other features": (
        {"feature_ids": ["1h_rsi_low", "1h_rsi_mid", "1h_rsi_low_lag1", "1h_rsi_high_lag1"]},
        "feature 2 is `1h_rsi_mid`, the strategy gives `1h_rsi_high`",
    ),
    "features in another order": (
        {"feature_ids": ["1h_rsi_high", "1h_rsi_low", "1h_rsi_low_lag1", "1h_rsi_high_lag1"]},
        "feature 1 is `1h_rsi_high`",
    ),
    "fewer features": ({"feature_ids": ["1h_rsi_low"], "input_size": 1}, "1 features, the strategy gives 4"),
    "crisp claimed": ({"crisp": True}, "feature 1 is `1h_rsi_low`, the strategy gives `1h_rsi_value`"),
    "no contract": (
        {"plugin": {"name": "torch", "version": "9", "contract": "newest", "distribution": "ktrdr-ml-torch"}},
        r"plugin\.contract",
    ),
    "command in a name": (
        {"plugin": {"name": "torch", "version": "9", "contract": "2.0", "distribution": "x; rm -rf ~"}},
        r"plugin\.distribution",
    ),
    "another name": ({"name": "other"}, r"manifest\.json belongs to other/1"),
    "unknown key": ({"code": "import os"}, "code"),
    "model section for strategy": ({"strategy": {"type": "mlp"}}, "strategy"),
    "no strategy": ({"strategy": None}, "strategy"),
    "path as a file": ({"files": {"../../weights.json": "0" * 64}}, "cannot be the name of a file"),
    "absolute file": ({"files": {"/etc/passwd": "0" * 64}}, "cannot be the name of a file"),
    "no classes": ({"classes": []}, "cannot have 0 classes"),
    "regression claimed": ({"output": "regression"}, "regression"),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_manifest_that_does_not_fit_is_refused_with_the_reason(store, add, rewrite, change):
    changes, reason = CHANGES[change]
    rewrite(add(), **changes)
    with pytest.raises(BundleError, match=reason) as caught:
        store.verify("waves/1")
    assert str(caught.value).startswith("model waves/1 is refused: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("contract", ["0.9", "1.0", "9.9"])
def test_the_plugin_contract_of_its_time_is_no_reason_to_refuse_it(store, add, rewrite, contract):
    reference = {"name": "torch", "version": "0.1.0", "contract": contract, "distribution": "ktrdr-ml-torch"}
    rewrite(add(), plugin=reference)
    plugins = FakePlugins()
    assert store.verify("waves/1").load_predictor(plugins) is plugins.predictor


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"[" * 100_000, b'{"schema_version": 1e400}', b"\xff\xfe", b'{"strategy": ' * 5000]
)
def test_a_manifest_that_is_no_manifest_is_refused(store, add, content):
    (add().directory / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"model waves/1 is refused: manifest\.json"):
        store.get("waves/1")


class FakePredictor:
    def __init__(self, input_size=4, window=1):
        self.input_size, self.window = input_size, window


class FakePlugins:
    """Answers as the manager does, for one plugin called torch."""

    def __init__(self, model_types=None, distribution="ktrdr-ml-torch", predictor=None):
        self.model_types, self.distribution = model_types or (ModelType("mlp", ""),), distribution
        self.predictor = predictor or FakePredictor()
        self.loaded = []

    def info(self, name):
        if name != "torch":
            raise PluginError(f"plugin `{name}` is not installed")
        return PluginInfo(name="torch", version="0.2", contract="2.0", model_types=self.model_types)

    def record(self, name):
        return PluginRecord("torch", self.distribution, "0.2", "m", "available")

    def devices(self, name):
        return [Device("cpu", "cpu")]

    def loader(self, name):
        return self

    def load(self, directory, device="auto"):
        self.loaded.append((directory, device))
        return self.predictor


def test_a_bundle_that_fits_is_loaded_by_its_plugin(add):
    bundle, plugins = add(), FakePlugins()
    assert bundle.load_predictor(plugins, "cpu") is plugins.predictor
    assert plugins.loaded == [(bundle.directory, "cpu")]


@pytest.mark.parametrize(
    ("plugins", "reason"),
    [
        (FakePlugins(distribution="evil-torch"), "made by plugin `torch` of ktrdr-ml-torch, the one installed is of"),
        (FakePlugins(model_types=(ModelType("lstm", ""),)), "has no classification model type `mlp`"),
        (FakePlugins(model_types=(ModelType("mlp", "", outputs=("regression",)),)), "no classification model type"),
        (FakePlugins(model_types=(ModelType("mlp", "", inputs="crisp"),)), "takes indicator values"),
        (FakePlugins(predictor=FakePredictor(input_size=5)), "its weights are for 5 features"),
        (FakePlugins(predictor=FakePredictor(window=20)), "a window of 20"),
    ],
)
def test_a_bundle_that_does_not_fit_the_plugin_is_refused(add, plugins, reason):
    with pytest.raises(BundleError, match=reason):
        add().load_predictor(plugins)


def test_a_plugin_that_is_not_installed_is_said_so(store, add, rewrite):
    reference = {"name": "jax", "version": "1", "contract": "2.0", "distribution": "ktrdr-ml-jax"}
    rewrite(add(), plugin=reference)
    with pytest.raises(PluginError, match="plugin `jax` is not installed"):
        store.get("waves/1").load_predictor(FakePlugins())


def test_the_plugin_is_not_asked_before_the_bundle_is_checked(add):
    bundle, plugins = add(), FakePlugins()
    (bundle.directory / "weights.safetensors").write_bytes(b"changed")
    with pytest.raises(BundleError, match="was changed"):
        bundle.load_predictor(plugins)
    assert plugins.loaded == []


def test_the_manifest_is_json_a_program_can_read(add):
    manifest = json.loads((add().directory / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["input_size"] == 4
    assert manifest["strategy"]["model"]["type"] == "mlp"
    assert manifest["created"].endswith(("Z", "+00:00"))
    assert set(manifest["files"]) == {"strategy.yaml", "normalizers.json", "history.json", "weights.safetensors"}

"""What a model is on disk, and files made by someone else: refused in a sentence."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.torch_loader import TorchLoader
from ktrdr.ml.torch.torch_storage import MODEL_FILE, WEIGHTS_FILE, TorchStorage

FIRST = {
    "mlp": "network.layers.0.weight",
    "lstm": "network.layers.0.weight_ih_l0",
    "gru": "network.layers.0.weight_ih_l0",
    "anfis": "network.consequents",
}


class Canary:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def models(problem, train):
    return {name: train(problem(name, settings={"epochs": 1})) for name in FIRST}


@pytest.fixture
def saved(models, tmp_path):
    """Return ``saved(name)``: the weights file of a whole model."""

    def run(name="mlp"):
        TorchStorage().save(models[name], tmp_path)
        TorchLoader().load(tmp_path, "cpu")
        return tmp_path / WEIGHTS_FILE

    return run


def refused(directory: Path, match: str) -> None:
    with pytest.raises(BadInputError, match=match) as caught:
        TorchLoader().load(directory, "cpu")
    assert "\n" not in str(caught.value)


def change(path: Path, **tensors) -> None:
    """Write tensors into the file; ``None`` removes one."""
    merged = load_file(path) | {name.replace("__", "."): array for name, array in tensors.items()}
    save_file({name: array for name, array in merged.items() if array is not None}, path)


def test_a_model_is_two_files_and_the_same_bytes_every_time(models, tmp_path):
    for number in "12":
        (tmp_path / number).mkdir()
        facts = TorchStorage().save(models["mlp"], tmp_path / number)
    assert {path.name for path in (tmp_path / "1").iterdir()} == {MODEL_FILE, WEIGHTS_FILE}
    for name in (MODEL_FILE, WEIGHTS_FILE):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert facts["parameters"] == 4 * 16 + 16 + 16 * 3 + 3
    assert facts["device"] == "cpu"
    tensors = load_file(tmp_path / "1" / WEIGHTS_FILE)
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float32)}


def test_a_model_of_another_backend_is_a_mistake_in_the_program(tmp_path):
    with pytest.raises(TypeError, match="not a model of this backend: int"):
        TorchStorage().save(1, tmp_path)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_loaded_model_predicts_what_the_trained_one_does(models, saved, problem, name):
    features = problem(name).data.features
    directory = saved(name).parent
    loaded = TorchLoader().load(directory, "cpu")
    np.testing.assert_array_equal(loaded.predict(features), models[name].predictor().predict(features))
    np.testing.assert_array_equal(
        loaded.contributions(features[:8]), models[name].predictor().contributions(features[:8])
    )


@pytest.mark.parametrize("keep", [0, 7, 8, 20, 500, -1])
def test_a_cut_file(saved, keep):
    path = saved()
    path.write_bytes(path.read_bytes()[:keep])
    refused(path.parent, WEIGHTS_FILE)


def test_a_longer_file(saved):
    path = saved()
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path.parent, r"is not a safetensors file: it is \+1 bytes off")


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9])
def test_a_gigantic_header(saved, length):
    path = saved()
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    refused(path.parent, "is not a safetensors file")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_renamed(saved, tmp_path, protocol):
    path, canary = saved(), tmp_path / "the-code-ran"
    path.write_bytes(pickle.dumps({"network.layers.0.weight": Canary(canary)}, protocol))
    refused(path.parent, r"weights\.safetensors is (a pickle, which can run code|not a safetensors)")
    assert not canary.exists()


def test_a_torch_archive_renamed(saved, tmp_path):
    import torch

    path, canary = saved(), tmp_path / "the-code-ran"
    torch.save({"network.layers.0.weight": Canary(canary)}, path)
    refused(path.parent, "an archive with a pickle inside, which can run code")
    assert not canary.exists()


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_wrong_shape(saved, name):
    path = saved(name)
    change(path, **{FIRST[name]: np.zeros((2, 2), np.float32)})
    refused(
        path.parent, rf"tensor '{FIRST[name].removeprefix('network.')}' is torch.float32 \(2, 2\), not torch.float32"
    )


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "bool", "uint16"])
def test_a_wrong_dtype(saved, dtype):
    path = saved()
    change(path, **{FIRST["mlp"]: load_file(path)[FIRST["mlp"]].astype(dtype)})
    refused(path.parent, rf"tensor 'layers\.0\.weight' is torch\.{dtype} \(16, 4\), not torch\.float32")


def test_types_that_numpy_does_not_have(saved):
    import torch
    from safetensors.torch import save_file as save_tensors

    path = saved()
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        save_tensors({"network.layers.0.weight": torch.zeros(16, 4).to(dtype), "average": torch.zeros(4)}, path)
        refused(path.parent, WEIGHTS_FILE)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_tensor_too_many_or_too_few(saved, name):
    path = saved(name)
    whole = load_file(path)
    change(path, network__surplus=np.zeros(1, np.float32))
    refused(path.parent, "tensor 'surplus' is missing or unknown")
    save_file({**whole, "extra": np.zeros(1, np.float32)}, path)
    refused(path.parent, "contains a tensor 'extra', which models of this backend do not have")
    for tensor in whole:
        save_file({key: array for key, array in whole.items() if key != tensor}, path)
        refused(path.parent, rf"tensor '{tensor.removeprefix('network.')}'")


@pytest.mark.parametrize("name", sorted(FIRST))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(saved, name, value):
    path = saved(name)
    whole = load_file(path)
    for tensor, array in whole.items():
        spoilt = array.copy()
        spoilt.flat[0] = value
        save_file({**whole, tensor: spoilt}, path)
        refused(path.parent, "contains numbers that are not finite|does not fit model.json: tensor 'average'")


DESCRIPTIONS = [
    ({"format": 3}, "format"),
    ({"model_type": "transformer"}, "there is no model type 'transformer'"),
    ({"model_type": "lstm"}, "architecture"),
    ({"output": "regression"}, "classes and scaling do not fit"),
    ({"classes": ["BUY"]}, "classes and scaling do not fit"),
    ({"classes": ["BUY", "SELL"]}, "does not fit model.json"),
    ({"feature_ids": []}, "feature_ids"),
    ({"feature_ids": ["a"]}, "does not fit model.json"),
    ({"scaling": {"mean": 0.0, "scale": 0.0}}, "scaling"),
    ({"code": "import os"}, "code"),
    ({"fuzzy_variables": [{"name": "a", "column": 0, "functions": [["low", "gaussian", [0, 1]]]}]}, "1 fuzzy inputs"),
    ({"architecture": {}}, "a parameter is missing"),
    ({"architecture": {"hidden_layers": [16], "evil": 1}}, "evil"),
    ({"architecture": {"hidden_layers": [-1]}}, "hidden_layers"),
    ({"architecture": [1]}, "architecture"),
]


@pytest.mark.parametrize(("fields", "match"), DESCRIPTIONS, ids=[str(fields)[:40] for fields, _ in DESCRIPTIONS])
def test_a_description_that_does_not_fit(saved, fields, match):
    path = saved().with_name(MODEL_FILE)
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | fields))
    refused(path.parent, match)


def test_a_description_of_a_giant_costs_nothing(saved):
    """A petabyte of weights is refused for not being there, not tried."""
    path = saved().with_name(MODEL_FILE)
    description = json.loads(path.read_text())
    description["architecture"]["hidden_layers"] = [65_536] * 64
    path.write_text(json.dumps(description))
    refused(path.parent, "does not fit model.json")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("column", 4, "a column that does not exist"),
        ("column", -1, "column"),
        ("functions", [], "functions"),
        ("functions", [["low", "spline", [1, 2]]], "membership 'low' is not a spline function"),
        ("functions", [["low", "gaussian", [1]]], "membership 'low' is not a gaussian function"),
        ("functions", [["low", "gaussian", [0, 1]]] * 257, "functions"),
        ("functions", [["low", "gaussian", [0, 1]]] * 256, "rules"),
    ],
)
def test_fuzzy_variables_that_do_not_fit(saved, field, value, match):
    path = saved("anfis").with_name(MODEL_FILE)
    description = json.loads(path.read_text())
    description["fuzzy_variables"][0][field] = value
    path.write_text(json.dumps(description))
    refused(path.parent, match)


def test_a_description_that_is_no_json(saved):
    path = saved().with_name(MODEL_FILE)
    for content in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"format": NaN}'):
        path.write_bytes(content)
        refused(path.parent, MODEL_FILE)


def test_links_are_not_followed(saved, tmp_path):
    path = saved()
    path.rename(tmp_path / "elsewhere.safetensors")
    path.symlink_to(tmp_path / "elsewhere.safetensors")
    refused(path.parent, WEIGHTS_FILE)

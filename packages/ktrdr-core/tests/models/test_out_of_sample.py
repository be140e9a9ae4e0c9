"""Bundles of models that were trained from an evaluation: its figures and its out-of-sample predictions."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.limits import LARGEST_OUT_OF_SAMPLE
from ktrdr.core.models import out_of_sample
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.models.out_of_sample import OUT_OF_SAMPLE_FILE, OutOfSample, write_out_of_sample

HOURS = np.datetime64("2017-03-01T00", "ns") + np.arange(3) * np.timedelta64(1, "h")


def equal(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[symbol].time, other[symbol].time)
        and one[symbol].time.dtype == other[symbol].time.dtype
        and np.array_equal(one[symbol].outputs, other[symbol].outputs, equal_nan=True)
        for symbol in one
    )


def test_a_bundle_keeps_the_predictions_to_the_last_bit(store, add_evaluated, predictions):
    bundle = add_evaluated()
    assert bundle.manifest.schema_version == 6
    store.verify(bundle.ref)
    assert equal(store.get("waves").out_of_sample(), predictions)


def test_predictions_and_figures_survive_export_and_import(tmp_path, store, add_evaluated, predictions):
    bundle = add_evaluated()
    archive = export_bundle(store, bundle.ref, tmp_path / "waves.zip")
    imported = import_bundle(ModelStore(tmp_path / "elsewhere"), archive)
    assert imported.bundle.manifest.evaluation == bundle.manifest.evaluation
    assert imported.bundle.manifest.evaluation.words == "cpcv of 15 folds x 5 seeds"
    assert equal(imported.bundle.out_of_sample(), predictions)


def test_a_model_of_an_ordinary_training_says_that_it_has_no_predictions(add):
    with pytest.raises(BadInputError, match="was not trained from an evaluation.*ktrdr train --from"):
        add().out_of_sample()


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_older_formats_are_read(store, add, version):
    bundle = add()
    path = bundle.directory / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content.pop("evaluation") is None
    path.write_text(json.dumps(content | {"schema_version": version}), encoding="utf-8")
    manifest = store.verify(bundle.ref).manifest
    assert (manifest.schema_version, manifest.evaluation) == (version, None)


def test_a_file_without_an_evaluation_is_refused(store, add, rewrite, predictions):
    bundle = add()
    write_out_of_sample(bundle.directory, predictions)
    rewrite(bundle)
    with pytest.raises(BundleError, match="belongs to no evaluation"):
        store.verify(bundle.ref)


def test_an_evaluation_without_its_file_is_refused(store, add_evaluated, rewrite):
    bundle = add_evaluated()
    (bundle.directory / OUT_OF_SAMPLE_FILE).unlink()
    rewrite(bundle)
    with pytest.raises(BundleError, match=f"{OUT_OF_SAMPLE_FILE} is missing"):
        store.verify(bundle.ref)


def test_changed_predictions_are_refused(add_evaluated, predictions):
    bundle = add_evaluated()
    path = bundle.directory / OUT_OF_SAMPLE_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match="was changed after it was saved"):
        bundle.out_of_sample()


def of_seconds(seconds, outputs=None):
    n = len(seconds)
    return {
        "EURUSD/time": np.asarray(seconds, dtype=np.float64),
        "EURUSD/outputs": np.full((n, 3), 1 / 3) if outputs is None else np.asarray(outputs),
    }


GOOD = HOURS.astype("datetime64[s]").astype(np.float64)
HOSTILE = {
    "another symbol": ({"GBPUSD/time": GOOD, "GBPUSD/outputs": np.zeros((3, 3))}, "lacks 'EURUSD/outputs'"),
    "no times": ({"EURUSD/outputs": np.zeros((3, 3))}, "lacks 'EURUSD/time'"),
    "more arrays": (of_seconds(GOOD) | {"x": np.zeros(1)}, "has 'x'"),
    "nothing": (of_seconds([]), "no float64 times of EURUSD"),
    "times of two dimensions": (of_seconds(GOOD) | {"EURUSD/time": GOOD.reshape(3, 1)}, "no float64 times of EURUSD"),
    "float32": (of_seconds(GOOD) | {"EURUSD/outputs": np.zeros((3, 3), np.float32)}, "no float64 times of EURUSD"),
    "two classes": (of_seconds(GOOD, np.full((3, 2), 0.5)), "with 3 outputs for each"),
    "values": (of_seconds(GOOD, np.zeros(3)), "with 3 outputs for each"),
    "fewer outputs": (of_seconds(GOOD) | {"EURUSD/outputs": np.full((2, 3), 1 / 3)}, "with 3 outputs for each"),
    "times that do not ascend": (of_seconds(GOOD[::-1]), "do not ascend"),
    "a time twice": (of_seconds(GOOD[[0, 0, 1]]), "do not ascend"),
    "an unknown time": (of_seconds([GOOD[0], np.nan, GOOD[2]]), "do not ascend"),
    "an infinite time": (of_seconds([GOOD[0], GOOD[1], np.inf]), "do not ascend"),
    "a part of a second": (of_seconds(GOOD + 0.5), "do not ascend"),
    "before the tested bars": (of_seconds(GOOD - 1e9), "within the tested period"),
    "in the reserve": (of_seconds(GOOD + 86_400 * 250), "within the tested period"),
    "probabilities above 1": (of_seconds(GOOD, np.full((3, 3), 2.0)), "not probabilities of 3 classes"),
    "negative probabilities": (of_seconds(GOOD, [[2, -1, 0.0]] * 3), "not probabilities of 3 classes"),
    "probabilities of sum 0": (of_seconds(GOOD, np.zeros((3, 3))), "not probabilities of 3 classes"),
    "a row known in part": (of_seconds(GOOD, [[np.nan, 0.5, 0.5]] * 3), "not probabilities of 3 classes"),
    "infinite": (of_seconds(GOOD, [[np.inf, 0, 0]] * 3), "not probabilities of 3 classes"),
}


@pytest.mark.parametrize("change", sorted(HOSTILE))
def test_predictions_that_are_no_predictions_are_refused(store, add_evaluated, rewrite, change):
    arrays, reason = HOSTILE[change]
    bundle = add_evaluated()
    write_safetensors(bundle.directory / OUT_OF_SAMPLE_FILE, arrays)
    rewrite(bundle)
    for check in (lambda: store.verify(bundle.ref), store.get(bundle.ref).out_of_sample):
        with pytest.raises(BundleError, match=reason) as caught:
            check()
        assert str(caught.value).startswith("model waves/1 is refused: ")
        assert "\n" not in str(caught.value)


def test_a_large_file_is_refused_unread(store, add_evaluated, rewrite, monkeypatch):
    bundle = add_evaluated()
    monkeypatch.setattr(out_of_sample, "LARGEST_OUT_OF_SAMPLE", 100)
    with pytest.raises(BundleError, match="100"):
        bundle.out_of_sample()


def test_a_file_that_is_too_large_is_not_hashed(store, add_evaluated, monkeypatch):
    bundle = add_evaluated()
    os.truncate(bundle.directory / OUT_OF_SAMPLE_FILE, LARGEST_OUT_OF_SAMPLE + 1)
    sizes, digest = [], hashlib.file_digest

    def noted(file, kind):
        sizes.append(os.fstat(file.fileno()).st_size)
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    for check in (lambda: store.verify(bundle.ref), bundle.out_of_sample):
        with pytest.raises(BundleError, match="has 268,435,457 bytes, more than the 268,435,456 allowed"):
            check()
    assert sizes, "the files before it are hashed"
    assert max(sizes) < LARGEST_OUT_OF_SAMPLE


def test_more_predictions_than_a_bundle_may_have_are_refused(tmp_path, monkeypatch, predictions):
    monkeypatch.setattr(out_of_sample, "LARGEST_OUT_OF_SAMPLE", 95)
    with pytest.raises(BadInputError, match="have 96 bytes, and a model may have 95; evaluate fewer symbols"):
        write_out_of_sample(tmp_path, predictions)
    assert not list(tmp_path.iterdir())


def test_values_of_a_regression_are_one_column(tmp_path, evaluated_fields):
    outputs = {"EURUSD": OutOfSample(HOURS, np.array([0.5, np.nan, -1e300]))}
    write_out_of_sample(tmp_path, outputs)
    assert read_safetensors(tmp_path / OUT_OF_SAMPLE_FILE, 10_000)["EURUSD/outputs"].shape == (3,)
    manifest = Manifest.model_construct(
        **{**dict(evaluated_fields), "classes": (), "name": "waves", "version": 1}  # only what the reader looks at
    )
    assert equal(out_of_sample.read_out_of_sample(tmp_path, manifest), outputs)
    write_out_of_sample(tmp_path, {"EURUSD": OutOfSample(HOURS, np.array([0.5, np.inf, 0]))})
    with pytest.raises(BundleError, match="not finite numbers, or missing"):
        out_of_sample.read_out_of_sample(tmp_path, manifest)


RECORDS = {
    "reference": ("waves", "evaluation.reference"),
    "kind": ("peeking", "evaluation.kind"),
    "folds": (0, "evaluation.folds"),
    "best_epoch": (1_000, "says 1,000 for `evaluation.best_epoch`, its strategy at most 100"),
    "bars": ({"GBPUSD": "0" * 64}, r"says \['GBPUSD'\] for `evaluation.bars`"),
    "account": ({"capital": 1.0, "commission": 0.0}, "has no `slippage` in `evaluation.account`"),
    "tested": (
        {"start": "2016-01-01T00:00:00Z", "end": "2017-02-01T00:00:00Z"},
        "`evaluation.tested` lies outside of the training data",
    ),
    "reserve": (None, "the reserve of `data.split.EURUSD` is not that of `evaluation`"),
    "seeds": (float("1e9"), "evaluation.seeds"),
    "comment": ("x", "evaluation.comment"),
}


@pytest.mark.parametrize("field", sorted(RECORDS))
def test_figures_that_contradict_the_model_are_refused(store, add_evaluated, rewrite, field):
    value, reason = RECORDS[field]
    bundle = add_evaluated()
    record = json.loads((bundle.directory / "manifest.json").read_text(encoding="utf-8"))["evaluation"]
    rewrite(bundle, evaluation=record | {field: value})
    with pytest.raises(BundleError, match=reason):
        store.verify(bundle.ref)


def test_a_model_of_an_evaluation_has_no_other_parts(store, add_evaluated, rewrite):
    bundle = add_evaluated()
    data = json.loads((bundle.directory / "manifest.json").read_text(encoding="utf-8"))["data"]
    split = data["split"]["EURUSD"]
    split["train"]["end"] = "2017-08-01T00:00:00Z"
    split["test"] = {"start": "2017-08-02T00:00:00Z", "end": data["end"]}
    rewrite(bundle, data=data)
    with pytest.raises(BundleError, match="has more than a training part in `data.split.EURUSD`, and an `evaluation`"):
        store.verify(bundle.ref)


def test_a_reserve_inside_the_training_part_is_refused(store, add_evaluated, rewrite):
    bundle = add_evaluated()
    manifest = json.loads((bundle.directory / "manifest.json").read_text(encoding="utf-8"))
    manifest["data"]["split"]["EURUSD"]["reserve"]["start"] = "2017-08-01T00:00:00Z"
    rewrite(bundle, data=manifest["data"])
    with pytest.raises(BundleError, match="the reserve of `data.split.EURUSD` begins before the end of its parts"):
        store.verify(bundle.ref)

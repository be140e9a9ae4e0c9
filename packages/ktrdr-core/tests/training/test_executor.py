"""A whole training on real data, with a real backend that needs only numpy."""

from __future__ import annotations

import datetime as dt
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ktrdr.core.cache import array_cache
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError, CancelledError, DiskFullError, PluginError
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import warmup_of
from ktrdr.core.indicators import computation, registry
from ktrdr.core.labels.make import make_labels
from ktrdr.core.training import executor as executor_module
from ktrdr.core.training import sample_set
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.training.split import PARTS
from ktrdr.core.work import Cancellation

STEPS = ["data", "device", "indicators", "fuzzy sets", "labels", "split", "features", "training", "evaluation"]
STEPS += ["importance", "saving"]


@pytest.fixture
def given_to_trainer(monkeypatch):
    """Task and data of every training, as the backend got them."""
    seen = []
    honest = executor_module.fit_model
    monkeypatch.setattr(
        executor_module,
        "fit_model",
        lambda trainer, task, data, **rest: seen.append((task, data)) or honest(trainer, task, data, **rest),
    )
    return seen


def test_from_strategy_to_stored_model(make_executor, load, model_store):
    events = []
    loaded = load()
    result = make_executor(loaded, progress=events.append).execute()

    assert list(dict.fromkeys(event.step for event in events)) == STEPS
    for step in STEPS:
        own = [event.fraction for event in events if event.step == step]
        assert own[-1] == 1.0
        assert own == sorted(own)
    assert any("val_accuracy" in event.metrics for event in events if event.step == "training")

    assert result.bundle.ref == "waves/1"
    stored = model_store.verify("waves")
    assert stored.manifest == result.bundle.manifest
    assert stored.strategy == loaded.strategy
    assert stored.strategy_text == loaded.text
    assert [record.epoch for record in stored.history()] == [1, 2, 3, 4, 5, 6]
    assert result.epochs == 6
    losses = [record.metrics["val_loss"] for record in stored.history()]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert result.to_json()["weights_hash"] == stored.manifest.weights_hash
    assert not (model_store.root.parent / "checkpoints" / "waves").exists()


def test_epochs_are_those_that_were_run_not_those_that_were_reported(make_executor, load, monkeypatch):
    """If a backend reports every other epoch, the last reported epoch is the number of epochs."""
    honest = executor_module.fit_model

    def fit_seldom_told(*given, **more):
        model = honest(*given, **more)
        history = tuple(record for record in model.history if record.epoch % 2 == 0)
        return replace(model, history=history, best_epoch=6)

    monkeypatch.setattr(executor_module, "fit_model", fit_seldom_told)
    result = make_executor(load()).execute()
    assert len(result.bundle.history()) == 3
    assert (result.best_epoch, result.epochs) == (6, 6)


def test_the_manifest_is_complete(make_executor, load):
    manifest = make_executor(load()).execute().bundle.manifest
    bars = sample_bars().between(np.datetime64("2017-01-01"), np.datetime64("2017-04-01"))
    assert (manifest.plugin.name, manifest.plugin.distribution) == ("example", "ktrdr-ml-example")
    assert (manifest.input_size, manifest.window, manifest.crisp) == (7, 1, False)
    assert manifest.architecture == {"l2": 0.001}
    assert manifest.data.fingerprint == fingerprint(map(bars_digest, [bars]))
    assert manifest.data.rows == {"EURUSD": len(bars)}
    assert manifest.data.start == dt.datetime(2017, 1, 1, 22, tzinfo=dt.UTC)
    assert manifest.data.end.replace(tzinfo=None) == bars.close_time[-1].astype("datetime64[us]").item()
    parts = manifest.data.split["EURUSD"]
    assert parts.train.start == manifest.data.start
    assert parts.train.end < parts.validation.start < parts.validation.end < parts.test.start
    assert parts.test.end == manifest.data.end
    assert manifest.seed == 3
    assert {"ktrdr-core", "numpy"} <= set(manifest.environment.packages)
    assert set(manifest.metrics) == {"validation", "test"}
    assert set(manifest.baselines) == {"majority", "last_value"}
    assert [entry["id"] for entry in manifest.importance["features"]] == list(manifest.feature_ids)
    assert {entry["id"] for entry in manifest.importance["groups"]} == {"rsi", "roc_5"}


def test_metrics_are_those_of_the_stored_model_on_the_rows_of_each_part(
    make_executor, load, example_plugins, bar_store
):
    """The metrics are computed again from the bundle, independently of the training."""
    result = make_executor(load()).execute()
    bundle = result.bundle
    bars = {"1h": sample_bars().between(np.datetime64("2017-01-01"), np.datetime64("2017-04-01"))}
    pipeline = FeaturePipeline(bundle.strategy).with_normalizers(bundle.normalizers())
    predicted = bundle.load_predictor(example_plugins).predict(pipeline.transform(bars).values).argmax(axis=1)
    labels = make_labels(bundle.strategy.training.labels, bars["1h"]).values
    n = len(labels)
    for part, first, last in (("validation", round(0.7 * n), round(0.85 * n)), ("test", round(0.85 * n), n)):
        rows = np.arange(first + int(np.ceil(0.01 * n)), last - 4)
        assert result.samples[part]["EURUSD"] == len(rows)
        accuracy = float((predicted[rows] == labels[rows]).mean())
        assert bundle.manifest.metrics[part]["accuracy"] == pytest.approx(accuracy)


def test_overrides_stand_in_the_stored_strategy(make_executor, load):
    end = dt.date(2017, 2, 28)
    result = make_executor(load(), seed=11, epochs=2, end=end).execute()
    strategy = result.bundle.strategy
    assert (strategy.training.seed, strategy.training.epochs, strategy.training_data.date_range.end) == (11, 2, end)
    assert result.epochs == 2
    assert result.bundle.manifest.seed == 11
    assert result.bundle.manifest.data.end <= dt.datetime(2017, 3, 1, tzinfo=dt.UTC)
    # The text stays as it was written: the strategy is what counts.
    assert "epochs: 6" in result.bundle.strategy_text


def test_the_same_run_gives_the_same_weights_and_another_seed_others(make_executor, load):
    def weights(**arguments):
        return make_executor(load(), **arguments).execute().bundle.manifest.weights_hash

    first = weights()
    assert weights() == first
    assert weights(seed=4) != first


def test_two_at_the_same_time_get_a_version_and_a_place_for_checkpoints_each(make_executor, load, model_store):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda executor: executor.execute(), [make_executor(load()) for _ in range(2)]))
    assert {result.bundle.ref for result in results} == {"waves/1", "waves/2"}
    assert len({model_store.verify(f"waves/{version}").manifest.weights_hash for version in (1, 2)}) == 1


def test_several_symbols_of_different_length(make_executor, load_stocks, stock_store, given_to_trainer):
    """Samples are the sum over the symbols, and each has its own symbol's features and label."""
    loaded = load_stocks()
    result = make_executor(loaded, bar_store=stock_store).execute()
    ((_, data),) = given_to_trainer
    lengths = {"AAPL": 3270, "FB": 196}
    assert len(data.features) == sum(lengths.values())
    assert result.bundle.manifest.data.rows == lengths

    normalizers = result.bundle.normalizers()
    assert set(normalizers) == {"AAPL", "FB"}
    first_row = 0
    expected = dict.fromkeys(PARTS, 0)
    positions = {"train": 0, "validation": 0}
    for symbol, n in lengths.items():
        bars = {"1d": stock_store.read(symbol, "1d")}
        features = FeaturePipeline(loaded.strategy).with_normalizers(normalizers).transform(bars).values
        np.testing.assert_array_equal(data.features[first_row : first_row + n], features)
        labels = make_labels(loaded.strategy.training.labels, bars["1d"]).values
        # Warm from the slowest input's first value on, one more for the lag; 4 bars before each end are purged.
        warm = warmup_of(loaded.strategy, "rsi_14") + 1
        embargo = int(np.ceil(0.01 * n))
        bounds = {
            "train": (warm, round(0.7 * n) - 4),
            "validation": (round(0.7 * n) + embargo, round(0.85 * n) - 4),
            "test": (round(0.85 * n) + embargo, n - 4),
        }
        for part, (first, last) in bounds.items():
            expected[part] += last - first
            assert result.samples[part][symbol] == last - first
            if part == "test":
                continue
            split = getattr(data, part)
            own = slice(positions[part], positions[part] + last - first)
            np.testing.assert_array_equal(split.rows[own], np.arange(first, last) + first_row)
            np.testing.assert_array_equal(split.labels[own], labels[first:last].astype(np.int64))
            positions[part] = own.stop
        first_row += n
    assert (len(data.train), len(data.validation)) == (expected["train"], expected["validation"])
    assert result.bundle.manifest.metrics["test"]["samples"] == expected["test"]


def test_the_labels_of_the_other_symbol_would_be_noticed(make_executor, load_stocks, stock_store, monkeypatch):
    """The test above, broken on purpose: FB gets the labels of AAPL's last bars."""
    honest = sample_set.label_symbol
    apple = stock_store.read("AAPL", "1d")

    def wrong(labels, bars):
        return honest(labels, bars if bars.symbol == "AAPL" else apple[-len(bars) :])

    monkeypatch.setattr(sample_set, "label_symbol", wrong)
    seen = []
    fit = executor_module.fit_model
    monkeypatch.setattr(
        executor_module,
        "fit_model",
        lambda trainer, task, data, **rest: seen.append(data) or fit(trainer, task, data, **rest),
    )
    loaded = load_stocks()
    make_executor(loaded, bar_store=stock_store).execute()
    own = seen[0].train.rows >= 3270
    labels = make_labels(loaded.strategy.training.labels, stock_store.read("FB", "1d")).values
    assert (seen[0].train.labels[own] != labels[seen[0].train.rows[own] - 3270]).any()


def test_uniqueness_reaches_the_backend_as_weights(make_executor, load, given_to_trainer):
    make_executor(load("  seed: 3\n", "  seed: 3\n  sample_weights: uniqueness\n")).execute()
    make_executor(load()).execute()
    (_, weighed), (_, plain) = given_to_trainer
    assert weighed.train.weights.std() > 0
    assert weighed.train.weights.mean() == pytest.approx(1, abs=1e-5)
    assert set(plain.train.weights) == {1.0}
    # Validation counts every sample alike: the best epoch is chosen by plain performance.
    assert set(weighed.validation.weights) == {1.0}


def test_without_validation_or_test_part(make_executor, load):
    loaded = load("  epochs: 6\n", "  epochs: 6\n  data_split: {train: 1.0, validation: 0, test: 0}\n")
    result = make_executor(loaded).execute()
    manifest = result.bundle.manifest
    assert (manifest.metrics, manifest.baselines, manifest.importance) == ({}, {}, None)
    assert result.best_epoch == 6
    assert manifest.data.split["EURUSD"].validation is None


class CancelAtLook(Cancellation):
    """Cancelled when the backend checks for the n-th time, which is before the n-th batch."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    @property
    def requested(self):
        self.looks -= 1
        if self.looks == 0:
            self.cancel("enough")
        return super().requested


@pytest.fixture
def leave_checkpoint(make_executor, load):
    """Return ``leave(**arguments)``, which trains and is cancelled in the third epoch of six."""

    def leave(**arguments):
        executor = make_executor(arguments.pop("loaded", load()), cancellation=CancelAtLook(50), **arguments)
        with pytest.raises(CancelledError, match="enough"):
            executor.execute()
        assert executor.checkpoint is not None

    return leave


def test_cancelled_in_training_it_leaves_a_checkpoint_that_gives_the_same_weights(
    make_executor, load, model_store, leave_checkpoint
):
    whole = make_executor(load()).execute().bundle.manifest.weights_hash
    leave_checkpoint()
    assert model_store.versions("waves") == (1,)

    resumed = make_executor(load(), resume=True)
    result = resumed.execute()
    assert result.resumed
    assert result.bundle.manifest.weights_hash == whole
    assert result.epochs == 6
    # Used up.
    assert resumed.checkpoint is None
    with pytest.raises(NothingToResumeError):
        make_executor(load(), resume=True).execute()


def test_a_run_cancelled_after_training_does_not_train_again(make_executor, load):
    cancellation = Cancellation()
    executor = make_executor(
        load(),
        cancellation=cancellation,
        progress=lambda event: cancellation.cancel("enough") if event.step == "importance" else None,
    )
    with pytest.raises(CancelledError):
        executor.execute()
    events = []
    assert make_executor(load(), resume=True, progress=events.append).execute().epochs == 6
    assert not [event for event in events if event.step == "training" and event.done]


def test_cancelled_before_training_it_leaves_nothing(make_executor, load, home):
    cancellation = Cancellation()
    executor = make_executor(
        load(),
        cancellation=cancellation,
        progress=lambda event: cancellation.cancel("enough") if event.step == "labels" else None,
    )
    with pytest.raises(CancelledError):
        executor.execute()
    assert executor.checkpoint is None
    assert [path.name for path in (home / "checkpoints").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "changed",
    [{"seed": 4}, {"epochs": 7}, {"end": dt.date(2017, 3, 30)}],
    ids=["another seed", "more epochs", "other data"],
)
def test_a_checkpoint_of_another_run_is_never_used(make_executor, load, leave_checkpoint, changed):
    leave_checkpoint()
    with pytest.raises(NothingToResumeError, match="only of runs with another strategy, data, seed, number of seeds"):
        make_executor(load(), resume=True, **changed).execute()


def test_a_checkpoint_of_other_code_of_an_indicator_is_never_used(make_executor, load, leave_checkpoint, own_indicator):
    own = ("{type: roc, period: 5}", "{type: own_share}")
    own_indicator()
    leave_checkpoint(loaded=load(*own))
    own_indicator("2")
    with pytest.raises(NothingToResumeError, match="or code of an indicator; leave out --resume"):
        make_executor(load(*own), resume=True).execute()
    other = make_executor(load(*own)).execute()
    own_indicator()
    resumed = make_executor(load(*own), resume=True).execute()
    assert resumed.resumed
    assert (other.trial_count.known, resumed.trial_count.known) == (1, 2)
    assert make_executor(load(*own)).execute().trial_count.known == 2


def test_a_model_warns_of_an_indicator_whose_code_cannot_be_read(make_executor, load, own_indicator, monkeypatch):
    own_indicator()
    monkeypatch.setattr(registry, "code_digest", lambda module, indicator: None)
    loaded = load("{type: roc, period: 5}", "{type: own_share}")
    manifest = make_executor(loaded).execute().bundle.manifest
    assert any("the source of indicator `own_share`" in warning for warning in manifest.warnings)


def test_without_resume_it_starts_afresh_and_says_so(make_executor, load, leave_checkpoint):
    events = []
    whole = make_executor(load(), progress=events.append).execute().bundle.manifest.weights_hash
    assert "checkpoint" not in {event.step for event in events}
    leave_checkpoint()
    result = make_executor(load(), progress=events.append).execute()
    assert not result.resumed
    assert result.bundle.manifest.weights_hash == whole
    (said,) = [event for event in events if event.step == "checkpoint"]
    assert "is discarded" in said.message
    with pytest.raises(NothingToResumeError):
        make_executor(load(), resume=True).execute()


def test_the_place_of_checkpoints_can_be_chosen(make_executor, load, leave_checkpoint, tmp_path, home):
    leave_checkpoint(checkpoint_root=tmp_path / "elsewhere")
    assert not (home / "checkpoints").exists()
    assert make_executor(load(), resume=True, checkpoint_root=tmp_path / "elsewhere").execute().resumed


def test_what_fails_stores_nothing(make_executor, load, model_store, monkeypatch):
    from ktrdr_ml_example.storage import Storage

    def full(self, model, directory):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Storage, "save", full)
    with pytest.raises(DiskFullError, match="the disk is full; no model was stored"):
        make_executor(load()).execute()
    assert model_store.names() == ()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"symbols": ["GBPUSD"]}, BadInputError, "GBPUSD"),
        ({"start": dt.date(2016, 1, 1), "end": dt.date(2016, 2, 1)}, BadInputError, "choose other dates"),
        ({"device": "cuda"}, BadInputError, "there is no device `cuda` here"),
    ],
)
def test_bad_input_is_one_sentence(make_executor, load, model_store, arguments, error, message):
    with pytest.raises(error) as caught:
        make_executor(load(), **arguments).execute()
    assert message in str(caught.value)
    assert model_store.names() == ()


def test_epochs_for_a_model_without_them_are_refused(make_executor, load, example_plugins, monkeypatch):
    info, offered = example_plugins.backend_for("softmax_regression")
    keys = offered.training_keys - {"epochs"}
    monkeypatch.setattr(example_plugins, "backend_for", lambda *_, **__: (info, replace(offered, training_keys=keys)))
    loaded = load("  epochs: 6\n", "")
    with pytest.raises(BadInputError, match="`training.epochs` has no effect on model type"):
        make_executor(loaded, epochs=3).execute()


def test_a_missing_plugin_is_an_error_before_anything_is_loaded(make_executor, load):
    events = []
    loaded = load()
    section = loaded.strategy.model.model_copy(update={"type": "mlp"})
    loaded = replace(loaded, strategy=loaded.strategy.model_copy(update={"model": section}))
    with pytest.raises(PluginError, match="pip install ktrdr-ml-torch"):
        make_executor(loaded, progress=events.append).execute()
    assert events == []


def test_more_normalizers_than_a_model_can_keep_are_told_before_it_is_trained(make_executor, load, monkeypatch):
    monkeypatch.setattr("ktrdr.core.training.executor.MOST_NORMALIZERS", 0)
    with pytest.raises(
        BadInputError, match=r"needs \d+ normalizers, one for each symbol and raw input, and the limit is 0"
    ):
        make_executor(load()).execute()


class TestCache:
    """A training with a cache of features."""

    @pytest.fixture
    def notes(self) -> list[str]:
        return []

    @pytest.fixture
    def cache(self, home, notes) -> ArrayCache:
        return ArrayCache(home / "cache", 10**9, note=notes.append)

    @pytest.fixture
    def results_of(self, make_executor, load_stocks, stock_store):
        """Return ``results_of(cache)``: what a training of two stocks stores, without what tells the runs apart."""

        def run(cache: ArrayCache) -> tuple[dict[str, Any], dict[str, Any]]:
            bundle = make_executor(load_stocks(), bar_store=stock_store, cache=cache).execute().bundle
            fields = bundle.manifest.model_dump(exclude={"created", "version", "files"})
            return fields | {"weights_hash": bundle.manifest.weights_hash}, bundle.normalizers()

        return run

    def test_restored_it_is_the_same_training(self, results_of, cache, notes, monkeypatch):
        computed = results_of(NO_CACHE)
        assert results_of(cache) == computed
        monkeypatch.setattr(computation, "compute_indicator", lambda *given: pytest.fail("it computed an indicator"))
        assert results_of(cache) == computed
        assert notes == []

    def test_damaged_entries_are_computed_again_with_a_note(self, results_of, cache, notes):
        computed = results_of(cache)
        entries = sorted(cache.root.glob("*.arrays"))
        # Two indicators, rows and matrix of each symbol.
        assert len(entries) == 8
        for path in entries:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        assert results_of(cache) == computed
        assert notes == ["a damaged entry of the feature cache was found and is computed again"]
        assert sorted(cache.root.glob("*.arrays")) == entries

    def test_a_full_disk_does_not_stop_it(self, results_of, cache, notes, monkeypatch):
        def full(*given):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(array_cache, "write_arrays", full)
        assert results_of(cache) == results_of(NO_CACHE)
        assert len(notes) == 1
        assert "the disk is full" in notes[0]
        assert [path.name for path in cache.root.iterdir()] == [".lock"]

    def test_without_a_cache_nothing_is_kept(self, results_of, home):
        results_of(NO_CACHE)
        assert not (home / "cache").exists()

"""Training end to end, with the real backends on real data: stored, reloaded, interrupted, killed, repeated."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.errors import CancelledError
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import warmup_of
from ktrdr.core.labels.make import make_labels
from ktrdr.core.training import executor as executor_module
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.work import Cancellation

RECURRENT = {"replace": {"type": "lstm", "architecture": {"sequence_length": 8, "hidden_size": 8, "num_layers": 1}}}
SHORT = {"date_range": {"start": "2017-01-01", "end": "2017-02-28"}}

PREDICT = """
import sys
from pathlib import Path
import numpy as np
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
features, answer, root, ref = sys.argv[1:]
predictor = ModelStore(Path(root)).get(ref).load_predictor(PluginManager(), inference="native")
np.save(answer, predictor.predict(np.load(features)))
"""


def predictions_in_fresh_process(bundle, features, place):
    np.save(place / "features.npy", features)
    command = [sys.executable, "-c", PREDICT, place / "features.npy", place / "answer.npy"]
    subprocess.run([*command, bundle.directory.parents[1], bundle.ref], check=True, timeout=300)
    return np.load(place / "answer.npy")


@pytest.fixture
def trained_models(monkeypatch):
    """What the backend handed back and what it was given, of every training."""
    seen = []
    honest = executor_module.fit_model

    def fit(trainer, task, data, **rest):
        model = honest(trainer, task, data, **rest)
        seen.append((model, task, data))
        return model

    monkeypatch.setattr(executor_module, "fit_model", fit)
    return seen


def test_the_main_strategy_is_trained_stored_and_predicts_the_same_in_a_fresh_process(
    main_strategy, train_text, trained_models, plugins, tmp_path
):
    events = []
    result = train_text(main_strategy, tmp_path, epochs=3, progress=events.append)
    ((model, _, data),) = trained_models
    bundle = result.bundle
    bundle.verify()
    assert bundle.manifest.plugin.name == "torch"
    assert result.samples["train"]["EURUSD"] > 3000

    before = model.predictor().predict(data.features)
    assert np.isfinite(before).any()
    np.testing.assert_array_equal(predictions_in_fresh_process(bundle, data.features, tmp_path), before)
    np.testing.assert_array_equal(bundle.load_predictor(plugins, inference="native").predict(data.features), before)

    steps = list(dict.fromkeys(event.step for event in events))
    assert steps == ["data", "device", "indicators", "fuzzy sets", "labels", "split", "features", "training",
                     "evaluation", "importance", "saving"]  # fmt: skip
    epochs = [event for event in events if event.step == "training"]
    assert (epochs[-1].done, epochs[-1].total, epochs[-1].fraction) == (3, 3, 1.0)
    assert {"train_loss", "val_loss", "train_accuracy", "val_accuracy"} <= set(epochs[-1].metrics)


@pytest.mark.parametrize(
    ("model_type", "architecture", "training"),
    [
        ("gradient_boosting", {"max_leaf_nodes": 7}, {"epochs": 10, "class_weights": None}),
        ("random_forest", {"n_estimators": 10}, {"epochs": None}),
        ("logistic_regression", {}, {"epochs": 10}),
        ("gru", {"sequence_length": 6, "hidden_size": 8, "num_layers": 1}, {"epochs": 1}),
    ],
)
def test_every_backend_is_reproducible_and_reloads(
    variant, train_text, trained_models, plugins, tmp_path, model_type, architecture, training
):
    neural = model_type == "gru"
    unused = (
        {}
        if neural
        else dict.fromkeys(
            (
                "batch_size",
                "learning_rate",
                "optimizer",
                "weight_decay",
                "gradient_clip",
                "lr_scheduler",
                "early_stopping",
            )
        )
    )
    text = variant(
        model={"replace": {"type": model_type, "architecture": architecture}},
        training={**unused, **training},
        training_data=SHORT,
    )
    first = train_text(text, tmp_path)
    second = train_text(text, tmp_path)
    assert (first.bundle.ref, second.bundle.ref) == ("neuro_mean_reversion/1", "neuro_mean_reversion/2")
    assert first.bundle.manifest.weights_hash == second.bundle.manifest.weights_hash
    model, _, data = trained_models[0]
    np.testing.assert_array_equal(
        second.bundle.load_predictor(plugins, inference="native").predict(data.features),
        model.predictor().predict(data.features),
    )


@pytest.mark.parametrize("model", [None, RECURRENT], ids=["mlp", "lstm"])
def test_the_same_run_gives_the_same_weights_and_another_seed_others(variant, train_text, tmp_path, model):
    text = variant(training_data=SHORT, training={"epochs": 2}, **({"model": model} if model else {}))

    def weights(**arguments):
        return train_text(text, tmp_path, **arguments).bundle.manifest.weights_hash

    first = weights()
    assert weights() == first
    assert weights(seed=43) != first


STOCKS = {
    "training_data": {
        "replace": {
            "symbols": {"mode": "multi_symbol", "list": ["AAPL", "FB"]},
            "timeframes": {"mode": "single", "timeframe": "1d"},
        }
    },
    "indicators": {"replace": {"rsi_9": {"type": "rsi", "period": 9}, "roc_3": {"type": "roc", "period": 3}}},
    "fuzzy_sets": {"replace": {"rsi": {"indicator": "rsi_9", "low": [0, 25, 50], "high": [50, 75, 100]}}},
    "nn_inputs": [{"fuzzy_set": "rsi", "timeframes": "all"}, {"raw_indicator": "roc_3", "timeframes": "all"}],
}
STOCK_TRAINING = {"labels": {"source": "direction", "horizon": 3, "threshold": 0.01}, "epochs": 1}


@pytest.mark.parametrize(
    ("model", "window"),
    [({"replace": {"type": "mlp", "architecture": {"hidden_layers": [4]}}}, 1), (RECURRENT, 8)],
    ids=["mlp", "lstm"],
)
def test_two_stocks_of_different_length(variant, train_text, trained_models, shared_home, tmp_path, model, window):
    """Samples are the sum over the symbols; each has its own symbol's label, and a window within its own symbol."""
    from ktrdr.core.data.bar_store import BarStore

    text = variant(**STOCKS, model=model, training=STOCK_TRAINING)
    result = train_text(text, tmp_path)
    ((_, _, data),) = trained_models
    strategy = result.bundle.strategy
    pipeline = FeaturePipeline(strategy).with_normalizers(result.bundle.normalizers())
    expected_rows, expected_labels, first_row = [], [], 0
    for symbol, n in (("AAPL", 3270), ("FB", 196)):
        bars = {"1d": BarStore(shared_home / "data").read(symbol, "1d")}
        assert len(bars["1d"]) == n
        np.testing.assert_array_equal(data.features[first_row : first_row + n], pipeline.transform(bars).values)
        rows = np.arange(warmup_of(strategy, "rsi_9") + window - 1, round(0.7 * n) - 3)
        assert result.samples["train"][symbol] == len(rows)
        expected_rows.append(rows + first_row)
        expected_labels.append(make_labels(strategy.training.labels, bars["1d"]).values[rows])
        first_row += n
    assert len(data.train) == sum(result.samples["train"].values())
    np.testing.assert_array_equal(data.train.rows, np.concatenate(expected_rows))
    np.testing.assert_array_equal(data.train.labels, np.concatenate(expected_labels).astype(np.int64))
    for part in (data.train, data.validation):
        windows = part.rows[:, None] - np.arange(window)
        assert ((windows >= 3270) == (part.rows >= 3270)[:, None]).all()
        assert np.isfinite(data.features[windows]).all()


class CancelAtLook(Cancellation):
    """Is asked to stop when the backend looks for the n-th time; counts on."""

    def __init__(self, look):
        super().__init__()
        self.look, self.looks = look, 0

    @property
    def requested(self):
        self.looks += 1
        if self.looks == self.look:
            self.cancel("enough")
        return super().requested


@pytest.mark.parametrize("model", [None, RECURRENT], ids=["mlp", "lstm"])
def test_cancelled_it_stops_before_the_next_batch_and_can_be_resumed(variant, train_text, tmp_path, monkeypatch, model):
    from ktrdr.ml.torch.optimizers import Optimizer

    text = variant(training_data=SHORT, training={"epochs": 4}, **({"model": model} if model else {}))
    whole = train_text(text, tmp_path / "whole").bundle.manifest.weights_hash

    steps = []
    honest = Optimizer.step
    monkeypatch.setattr(Optimizer, "step", lambda self, *rest: steps.append(1) or honest(self, *rest))
    cancellation = CancelAtLook(30)
    with pytest.raises(CancelledError, match="enough") as stopped:
        train_text(text, tmp_path, cancellation=cancellation)
    stopped_after = len(steps)
    # One look per batch at least: at the 30th no more than 29 batches have been learned, and none was after it.
    assert 0 < stopped_after <= 29
    assert cancellation.looks == 30
    assert stopped.value.checkpoint is not None
    assert not (tmp_path / "models" / "neuro_mean_reversion").exists()

    result = train_text(text, tmp_path, resume=True)
    assert result.resumed
    assert result.bundle.manifest.weights_hash == whole
    with pytest.raises(NothingToResumeError):
        train_text(text, tmp_path, resume=True)


TRAIN = """
import sys
from pathlib import Path
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.training import checkpoint
from ktrdr.core.workflows.run_training import train

honest = checkpoint.DirectoryCheckpoint.save

def save(self, epoch, write):
    honest(self, epoch, write)
    print(epoch, flush=True)
    sys.stdin.readline()  # wait to be killed, or told to go on

checkpoint.DirectoryCheckpoint.save = save
text, data, home = sys.argv[1:]
plugins = PluginManager()
loaded = load_strategy_text(text, plugins=plugins)
train(
    loaded, bar_store=BarStore(Path(data)), model_store=ModelStore(Path(home) / "models"),
    plugins=plugins, checkpoint_root=Path(home) / "checkpoints",
)
"""


def test_killed_at_a_random_epoch_and_resumed_it_ends_with_the_same_weights(variant, train_text, shared_home, tmp_path):
    epochs = 6
    text = variant(training_data=SHORT, training={"epochs": epochs}, model=RECURRENT)
    whole = train_text(text, tmp_path / "whole").bundle.manifest.weights_hash

    kill_at = random.randint(1, epochs - 1)
    child = subprocess.Popen(
        [sys.executable, "-c", TRAIN, text, shared_home / "data", tmp_path],
        env={**os.environ, "KTRDR_HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for epoch in range(1, kill_at + 1):
            assert child.stdout.readline() == f"{epoch}\n"
            if epoch < kill_at:
                child.stdin.write("go on\n")
                child.stdin.flush()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert child.returncode == -signal.SIGKILL

    result = train_text(text, tmp_path, resume=True)
    assert result.resumed, f"killed after epoch {kill_at}"
    assert result.epochs == epochs
    assert result.bundle.manifest.weights_hash == whole, f"killed after epoch {kill_at}"


def test_killed_in_the_middle_of_an_epoch(variant, train_text, shared_home, tmp_path):
    """No checkpoint is of the moment it dies in: it goes on from the last one, and ends the same."""
    epochs = 40
    text = variant(training_data=SHORT, training={"epochs": epochs, "early_stopping": None})
    whole = train_text(text, tmp_path / "whole").bundle.manifest.weights_hash
    code = TRAIN.replace("    sys.stdin.readline()  # wait to be killed, or told to go on\n", "")
    child = subprocess.Popen(
        [sys.executable, "-c", code, text, shared_home / "data", tmp_path],
        env={**os.environ, "KTRDR_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(random.randint(1, epochs // 2)):
            assert child.stdout.readline()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    result = train_text(text, tmp_path, resume=True)
    assert result.resumed
    assert result.bundle.manifest.weights_hash == whole


def test_values_can_be_predicted(variant, train_text, trained_models, plugins, tmp_path):
    regression = {
        "decisions": {"replace": {"output_format": "regression"}},
        "training": {"labels": {"source": "forward_return", "horizon": 6}, "epochs": 2, "class_weights": None},
        "training_data": SHORT,
    }
    result = train_text(variant(**regression), tmp_path)
    model, task, data = trained_models[0]
    assert (task.settings["loss"], task.classes) == ("mse", ())
    assert data.train.labels.dtype == np.float32
    assert set(result.bundle.manifest.baselines) == {"mean", "last_value"}
    assert result.bundle.manifest.metrics["test"]["rmse"] > 0
    np.testing.assert_array_equal(
        predictions_in_fresh_process(result.bundle, data.features, tmp_path), model.predictor().predict(data.features)
    )


def test_rules_are_learned_stored_and_read_in_words(variant, train_text, plugins, shared_home, tmp_path):
    from ktrdr.core.backtesting.explanation import explain
    from ktrdr.core.data.bar_store import BarStore

    text = variant(
        model={"replace": {"type": "anfis"}},
        nn_inputs=[{"fuzzy_set": "rsi", "timeframes": "all"}, {"fuzzy_set": "macd_turn", "timeframes": "all"}],
        training={"epochs": 2},
        training_data=SHORT,
    )
    bundle = train_text(text, tmp_path).bundle
    assert bundle.manifest.crisp
    assert bundle.manifest.feature_ids == ("1h_rsi_value", "1h_macd_turn_value")
    found = explain(bundle, bar_store=BarStore(shared_home / "data"), plugins=plugins, cache=NO_CACHE)
    assert len(found.rules) == 9
    assert sum(rule.weight for rule in found.rules) == pytest.approx(1, abs=1e-4)
    assert [rule.weight for rule in found.rules] == sorted((rule.weight for rule in found.rules), reverse=True)
    assert {condition for rule in found.rules for condition in rule.conditions} == {
        (name, membership)
        for name, memberships in {
            "rsi": ("oversold", "neutral", "overbought"),
            "macd_turn": ("falling", "flat", "rising"),
        }.items()
        for membership in memberships
    }
    assert all(rule.text.startswith("if rsi is ") for rule in found.rules)


@pytest.mark.parametrize("model", [None, RECURRENT], ids=["mlp", "lstm"])
def test_contributions_add_up_to_the_difference_from_the_average_sample(
    variant, train_text, plugins, shared_home, tmp_path, trained_models, model
):
    from ktrdr.core.backtesting.explanation import explain
    from ktrdr.core.data.bar_store import BarStore

    text = variant(training_data=SHORT, training={"epochs": 4}, **({"model": model} if model else {}))
    bundle = train_text(text, tmp_path).bundle
    _, _, data = trained_models[0]
    predictor = bundle.load_predictor(plugins, inference="native")
    average = data.features[data.train.rows].mean(axis=0, dtype=np.float64).astype(np.float32)
    usual = predictor.predict(np.tile(average, (predictor.window, 1)))[-1]
    at = np.datetime64("2017-02-15T10:00", "ns")
    found = explain(bundle, bar_store=BarStore(shared_home / "data"), plugins=plugins, cache=NO_CACHE, at=at)
    for number, name in enumerate(bundle.manifest.classes):
        added = sum(share.contributions[name] for share in found.inputs)
        assert added == pytest.approx(found.outputs[name] - usual[number], abs=0.02)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"replace": {"type": "mlp"}}, {}),
        (RECURRENT, {}),
        (
            {"replace": {"type": "logistic_regression"}},
            dict.fromkeys(
                ("batch_size", "learning_rate", "optimizer", "weight_decay", "gradient_clip", "lr_scheduler",
                 "early_stopping")
            ),
        ),
    ],
    ids=["mlp", "lstm", "sklearn"],
)  # fmt: skip
def test_weights_from_restored_features_are_those_from_computed_ones(
    variant, train_text, trained_models, tmp_path, model, training
):
    inputs = [{"fuzzy_set": "rsi", "timeframes": "all"}, {"raw_indicator": "macd_12_26_9.signal", "timeframes": "all"}]
    text = variant(model=model, training={"epochs": 2, **training}, training_data=SHORT, nn_inputs=inputs)
    cache = ArrayCache(tmp_path / "cache", 10**9, note=pytest.fail)
    computed = train_text(text, tmp_path)
    kept, restored = (train_text(text, tmp_path, cache=cache) for _ in range(2))
    assert [data.features.flags.writeable for _, _, data in trained_models] == [True, True, False]
    hashes = {result.bundle.manifest.weights_hash for result in (computed, kept, restored)}
    assert len(hashes) == 1
    assert restored.bundle.normalizers() == computed.bundle.normalizers()
    assert restored.bundle.manifest.metrics == computed.bundle.manifest.metrics

"""Every setting of `training` does what it says, from the strategy file to the stored weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

# Plain gradient descent from the same start, and nothing else: each test adds one setting.
BARE = {
    "labels": {"source": "direction", "horizon": 4, "threshold": 0.0015},
    "epochs": 4,
    "batch_size": 64,
    "learning_rate": 0.05,
    "optimizer": "sgd",
    "weight_decay": None,
    "gradient_clip": None,
    "lr_scheduler": None,
    "early_stopping": None,
    "class_weights": None,
    "seed": 1,
}


class Trained:
    """A stored model: its weights, its history, its test metrics."""

    def __init__(self, bundle, epochs):
        self.hash = bundle.manifest.weights_hash
        self.history = bundle.history()
        self.epochs = epochs
        self.metrics = bundle.manifest.metrics
        tensors = load_file(bundle.directory / "weights.safetensors")
        self.weights = {name: value for name, value in tensors.items() if name.endswith("weight")}

    @property
    def rates(self):
        return [record.metrics["learning_rate"] for record in self.history]

    def norm(self):
        return float(np.sqrt(sum(np.square(value).sum(dtype=np.float64) for value in self.weights.values())))

    def distance(self, other):
        return float(np.sqrt(sum(np.square(self.weights[name] - other.weights[name]).sum() for name in self.weights)))


@pytest.fixture(scope="module")
def train(variant, train_text, tmp_path_factory):
    """Return ``train(**settings)``; the same settings are trained once."""
    home: Path = tmp_path_factory.mktemp("settings")
    known = {}

    def run(**settings):
        key = repr(settings)
        if key not in known:
            text = variant(
                training={**BARE, **settings},
                training_data={"date_range": {"start": "2017-01-01", "end": "2017-02-28"}},
                model={"architecture": {"hidden_layers": [8], "activation": "tanh"}},
            )
            result = train_text(text, home)
            known[key] = Trained(result.bundle, result.epochs)
        return known[key]

    return run


@pytest.fixture(scope="module")
def start(train):
    """The weights as they are before they learn anything."""
    return train(learning_rate=1e-12, epochs=1)


def test_learning_rate_and_epochs(train, start):
    assert train(epochs=1, learning_rate=0.001).distance(start) < train(epochs=1).distance(start)
    assert train(epochs=1).distance(start) < train().distance(start)
    assert (train(epochs=1).epochs, train().epochs) == (1, 4)


def test_batch_size(train, start):
    # A quarter of the steps, each as long.
    assert train(batch_size=256).distance(start) < train().distance(start)


def test_optimizer(train, start):
    hashes = {train(optimizer=name, learning_rate=0.001).hash for name in ("sgd", "adam", "adamw", "rmsprop")}
    # Without weight decay adam and adamw are the same.
    assert train(optimizer="adam", learning_rate=0.001).hash == train(optimizer="adamw", learning_rate=0.001).hash
    assert len(hashes) == 3
    # Adaptive steps are as long however small the gradient is.
    assert train(optimizer="adam", learning_rate=0.001).distance(start) > train(learning_rate=0.001).distance(start)


def test_momentum(train, start):
    assert train(momentum=0.9).distance(start) > train().distance(start)


def test_weight_decay_shrinks_the_weights(train):
    assert train(weight_decay=0.1).norm() < train(weight_decay=0.01).norm() < train().norm()


def test_gradient_clip_shortens_the_steps(train, start):
    assert train(gradient_clip=0.001).distance(start) < 0.1 * train().distance(start)
    assert train(gradient_clip=1000.0).hash == train().hash


def test_lr_scheduler(train):
    stepped = train(lr_scheduler={"type": "step", "step_size": 2, "gamma": 0.1})
    assert stepped.rates == pytest.approx([0.05, 0.05, 0.005, 0.005])
    falling = train(lr_scheduler={"type": "exponential", "gamma": 0.5})
    assert falling.rates == pytest.approx([0.05, 0.025, 0.0125, 0.00625])
    cosine = train(lr_scheduler={"type": "cosine"})
    assert cosine.rates[0] == pytest.approx(0.05)
    assert (np.diff(cosine.rates) < 0).all()
    assert train().rates == [0.05] * 4
    assert len({train().hash, stepped.hash, falling.hash, cosine.hash}) == 4


def test_reduce_on_plateau_halves_the_rate_when_nothing_improves(train):
    plateau = {"type": "reduce_on_plateau", "factor": 0.5, "patience": 0, "threshold": 0.5}
    # Nothing improves by half: after the first epoch every one is without improvement.
    assert train(lr_scheduler=plateau).rates == pytest.approx([0.05, 0.05, 0.025, 0.0125])


def test_early_stopping_ends_early_and_keeps_the_best(train):
    whole = train(epochs=12)
    stopped = train(epochs=12, early_stopping={"patience": 2, "min_delta": 1.0})
    # Nothing improves by 1: two epochs after the first one it is over.
    assert (whole.epochs, stopped.epochs) == (12, 3)
    assert stopped.history == whole.history[:3]
    best = 1 + int(np.argmin([record.metrics["val_loss"] for record in stopped.history]))
    assert stopped.hash == train(epochs=best).hash


def test_class_weights_make_rare_classes_heard(train):
    plain, balanced = train(epochs=8), train(epochs=8, class_weights="balanced")

    def common(trained):
        """Share of the predictions that are the most common class."""
        per_class = trained.metrics["validation"]["per_class"]
        return per_class["HOLD"]["predicted"] / trained.metrics["validation"]["samples"]

    assert max(plain.metrics["validation"]["per_class"].items(), key=lambda item: item[1]["samples"])[0] == "HOLD"
    assert common(balanced) < common(plain)


def test_loss_and_its_parameter(train):
    focal = train(loss="focal")
    assert focal.hash != train().hash
    assert train(loss="focal", focal_gamma=0.0).history[-1].metrics["train_loss"] == pytest.approx(
        train().history[-1].metrics["train_loss"], rel=1e-4
    )
    assert train(loss="focal", focal_gamma=4.0).hash != focal.hash


def test_sample_weights(train):
    assert train(sample_weights="uniqueness").hash != train().hash


def test_embargo_and_split_move_the_samples(train):
    def samples(trained):
        return {part: metrics["samples"] for part, metrics in trained.metrics.items()}

    wide = samples(train(embargo=0.05))
    assert all(wide[part] < count for part, count in samples(train()).items())
    uneven = samples(train(data_split={"train": 0.5, "validation": 0.1, "test": 0.4}))
    assert uneven["test"] > samples(train())["test"] > uneven["validation"]

"""Training against a loop that is slow and obvious, with torch's own optimizers, schedulers and losses."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins.contract import TrainingTask
from ktrdr.core.testing.learning_problems import Problem
from ktrdr.ml.torch.consequents import ConsequentSolver
from ktrdr.ml.torch.initialization import initialize
from ktrdr.ml.torch.model_description import describe
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.samples import label_scaling, moments
from ktrdr.ml.torch.training_member import _SHUFFLE, _WEIGHTS, generator

pytestmark = pytest.mark.usefixtures("first_optimizer")

PLAIN = {"epochs": 5, "batch_size": 50, "learning_rate": 0.02, "lr_scheduler": None, "optimizer": "sgd"}


def scheduler(kind, **parameters):
    return {"lr_scheduler": {"type": kind, "parameters": parameters}}


PLATEAU = scheduler("reduce_on_plateau", factor=0.3, patience=0, threshold=0.2, min_lr=0.001)


def network_of(given: Problem):
    """Return the network as it is before the first step."""
    scaling = label_scaling(given.data.train) if given.task.output == "regression" else None
    network = empty_network(describe(given.task, scaling))
    center, scale = moments(given.data)
    initialize(network, generator(given.task.seed, _WEIGHTS), center.tolist(), scale.tolist())
    return network


def optimizer_of(network, s):
    rest = {"lr": s["learning_rate"], "weight_decay": s["weight_decay"]}
    plain = {"foreach": False}
    match s["optimizer"]:
        case "adam":
            return torch.optim.Adam(network.parameters(), **rest, **plain)
        case "adamw":
            return torch.optim.AdamW(network.parameters(), **rest, **plain)
        case "sgd":
            return torch.optim.SGD(network.parameters(), momentum=s["momentum"], **rest, **plain)
        case "rmsprop":
            return torch.optim.RMSprop(network.parameters(), momentum=s["momentum"], **rest, **plain)


def scheduler_of(optimizer, s):
    if s["lr_scheduler"] is None:
        return None
    given = s["lr_scheduler"]["parameters"]
    match s["lr_scheduler"]["type"]:
        case "step":
            return torch.optim.lr_scheduler.StepLR(optimizer, given["step_size"], given["gamma"])
        case "exponential":
            return torch.optim.lr_scheduler.ExponentialLR(optimizer, given["gamma"])
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, s["epochs"] - 1, given["min_lr"])
        case "reduce_on_plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0, **given)


def loss_of(scores, label, s):
    """Return the loss of one sample, by the definition of each."""
    match s["loss"]:
        case "cross_entropy":
            return -torch.log_softmax(scores, 0)[label]
        case "focal":
            p = torch.softmax(scores, 0)[label]
            return -((1 - p) ** s["focal_gamma"]) * torch.log(p)
        case "mse":
            return (scores[0] - label) ** 2
        case "huber":
            distance, delta = abs(scores[0] - label), s["huber_delta"]
            return 0.5 * distance**2 if distance <= delta else delta * (distance - 0.5 * delta)


def samples_of(task: TrainingTask, data, split, window):
    labels = split.labels
    weights = split.weights.astype(np.float64)
    if task.output == "regression":
        known = data.train.labels.astype(np.float64)
        labels = (labels - known.mean()) / known.std()
    elif task.settings["class_weights"] == "balanced":
        counts = np.bincount(data.train.labels, minlength=3)
        weights = weights * (len(data.train) / (3 * counts))[labels]
    rows = [data.features[row - window + 1 : row + 1] for row in split.rows]
    x = torch.tensor(np.array(rows)) if window > 1 else torch.tensor(np.array(rows)[:, 0])
    return x, labels, weights


def slow_training(given: Problem, consequents=None):
    """Return the best epoch's weights and every epoch's numbers."""
    task, s = given.task, given.task.settings
    network = network_of(given)
    if consequents is not None:
        with torch.no_grad():
            network.consequents.copy_(consequents)
    window = task.architecture.get("sequence_length", 1)
    x, labels, weights = samples_of(task, given.data, given.data.train, window)
    x_val, labels_val, weights_val = samples_of(task, given.data, given.data.validation, window)
    weights_val, weights = weights_val / weights.mean(), weights / weights.mean()
    optimizer = optimizer_of(network, s)
    schedule = scheduler_of(optimizer, s)
    shuffle = generator(task.seed, _SHUFFLE)
    best, best_loss, history = None, np.inf, []
    for _ in range(s["epochs"]):
        order = torch.randperm(len(x), generator=shuffle).tolist()
        losses, correct = [], 0
        for start in range(0, len(x), s["batch_size"]):
            batch = order[start : start + s["batch_size"]]
            scores = network(x[batch])
            parts = [loss_of(scores[k], labels[i], s) * float(weights[i]) for k, i in enumerate(batch)]
            correct += sum(int(scores[k].argmax()) == labels[i] for k, i in enumerate(batch))
            losses += [float(part.detach()) for part in parts]
            optimizer.zero_grad()
            (sum(parts) / len(parts)).backward()
            if s["gradient_clip"] is not None:
                norm = torch.sqrt(sum((p.grad**2).sum() for p in network.parameters()))
                for p in network.parameters():
                    p.grad *= min(1.0, s["gradient_clip"] / float(norm))
            optimizer.step()
        with torch.no_grad():
            scores = network(x_val)
            parts = [float(loss_of(scores[i], labels_val[i], s)) * weights_val[i] for i in range(len(x_val))]
        record = {
            "train_loss": np.mean(losses),
            "val_loss": sum(parts) / sum(weights_val),
            "learning_rate": optimizer.param_groups[0]["lr"],
        }
        if task.output == "classification":
            record["train_accuracy"] = correct / len(x)
            record["val_accuracy"] = float(np.mean(scores.argmax(1).numpy() == labels_val))
        history.append(record)
        if record["val_loss"] < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), record["val_loss"]
        if schedule is not None:
            schedule.step(record["val_loss"]) if s["lr_scheduler"]["type"] == "reduce_on_plateau" else schedule.step()
    return best, history


CASES = {
    "sgd": {},
    "sgd-momentum-decay": {"momentum": 0.8, "weight_decay": 0.05},
    "adam": {"optimizer": "adam"},
    "adam-decay": {"optimizer": "adam", "weight_decay": 0.1},
    "adamw-decay": {"optimizer": "adamw", "weight_decay": 0.3},
    "rmsprop": {"optimizer": "rmsprop"},
    "rmsprop-momentum-decay": {"optimizer": "rmsprop", "momentum": 0.5, "weight_decay": 0.05, "learning_rate": 0.002},
    "one-batch": {"batch_size": 10_000},
    "odd-batches": {"batch_size": 37, "epochs": 2},
    "clip": {"gradient_clip": 0.05, "learning_rate": 0.3},
    "step": {**scheduler("step", step_size=2, gamma=0.3), "learning_rate": 0.3},
    "exponential": {**scheduler("exponential", gamma=0.6), "learning_rate": 0.3},
    "cosine": {**scheduler("cosine", min_lr=0.01), "learning_rate": 0.3},
    "plateau": {**PLATEAU, "learning_rate": 0.3},
    "focal": {"loss": "focal", "focal_gamma": 1.5, "learning_rate": 0.3},
    "balanced": {"class_weights": "balanced", "learning_rate": 0.3},
    "best-is-not-last": {"learning_rate": 4.0},
}


def check(given, train):
    expected, history = slow_training(given)
    model = train(given)
    assert [record.epoch for record in model.history] == list(range(1, len(history) + 1))
    for record, numbers in zip(model.history, history, strict=True):
        assert dict(record.metrics) == pytest.approx(numbers, rel=2e-4, abs=1e-6)
    losses = [numbers["val_loss"] for numbers in history]
    assert model.best_epoch == int(np.argmin(losses)) + 1
    for name, tensor in expected.items():
        np.testing.assert_allclose(model.tensors[f"network.{name}"], tensor, rtol=2e-3, atol=1e-5, err_msg=name)
    return model


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_mlp_is_what_the_slow_loop_gives(problem, train, case):
    model = check(problem(settings={**PLAIN, **CASES[case]}), train)
    if case == "best-is-not-last":
        assert model.best_epoch < 5
    if case == "plateau":
        assert len({record.metrics["learning_rate"] for record in model.history}) > 1


@pytest.mark.parametrize("case", [{}, {"loss": "huber", "huber_delta": 0.3}], ids=["mse", "huber"])
def test_a_regression_is_what_the_slow_loop_gives(problem, train, case):
    check(problem("mlp", "regression", settings={**PLAIN, **case}), train)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_windows_are_what_the_slow_loop_cuts_out(problem, train, name):
    given = problem(name, architecture={"dropout": 0.0}, settings={**PLAIN, "learning_rate": 0.5, "epochs": 3})
    check(given, train)


@pytest.mark.parametrize("learn", [False, True])
def test_an_anfis_is_what_the_slow_loop_gives(problem, train, learn, monkeypatch):
    architecture = {"learn_memberships": learn, "learning": "gradient"}
    given = problem("anfis", architecture=architecture, settings={**PLAIN, "epochs": 3})
    # The consequents start as the least-squares solution, which has a reference of its own.
    solver = problem("anfis", settings={"epochs": 1})
    start = {}

    def kept(self, **_):
        start["b"] = self._network.consequents.detach().clone()
        return True

    with monkeypatch.context() as patch:
        patch.setattr(ConsequentSolver, "step", kept)
        train(solver)
    expected, _ = slow_training(given, consequents=start["b"])
    model = train(given)
    for name in expected:
        if name not in ("shares", "centers"):
            np.testing.assert_allclose(model.tensors[f"network.{name}"], expected[name], rtol=2e-3, atol=1e-5)


def test_sample_weights_are_those_of_the_slow_loop(problem, train, with_train):
    given = problem(settings={**PLAIN, "learning_rate": 0.3})
    weights = np.random.default_rng(3).uniform(0.1, 3.0, len(given.data.train)).astype(np.float32)
    weights[:20] = 0
    check(with_train(given, weights=weights), train)


def test_only_ratios_of_weights_count(problem, train, with_train, same):
    given = problem(settings=PLAIN)
    weights = np.random.default_rng(3).uniform(0.5, 2.0, len(given.data.train)).astype(np.float32)
    one, other = (train(with_train(given, weights=weights * factor)) for factor in (np.float32(1), np.float32(64)))
    assert same(one, other)


def test_batch_norm_leaves_a_lone_last_sample_out(problem, train):
    """251 samples in batches of 125 leave one, which has no variance."""
    given = problem(settings={**PLAIN, "batch_size": 125, "epochs": 2}, architecture={"batch_norm": True})
    assert len(given.data.train) == 251
    model = train(given)
    assert int(model.tensors["network.layers.1.num_batches_tracked"]) == 2 * model.best_epoch


def test_batch_norm_in_batches_of_one_is_refused(problem, train):
    with pytest.raises(BadInputError, match="at least two samples; raise `training.batch_size`"):
        train(problem(settings={**PLAIN, "batch_size": 1}, architecture={"batch_norm": True}))

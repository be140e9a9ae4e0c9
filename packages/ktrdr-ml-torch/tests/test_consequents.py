"""Consequents by least squares: what they minimize, what they do not depend on, how well rules predict with them."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import CrispInput, Split, TrainingData
from ktrdr.core.testing.learning_problems import Problem
from ktrdr.core.testing.mackey_glass import mackey_glass
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.ml.torch import consequents
from ktrdr.ml.torch.losses import make_loss

SETTINGS = {
    "mse": {"loss": "mse"},
    "huber": {"loss": "huber", "huber_delta": 0.5},
    "cross_entropy": {"loss": "cross_entropy"},
    "focal": {"loss": "focal", "focal_gamma": 1.5},
}
OUTPUT = {"mse": "regression", "huber": "regression", "cross_entropy": "classification", "focal": "classification"}


@pytest.fixture
def weighted(with_train):
    """Return the problem with weights that differ, some of them 0."""

    def change(given):
        weights = np.random.default_rng(3).uniform(0.1, 3.0, len(given.data.train)).astype(np.float32)
        weights[:20] = 0
        return with_train(given, weights=weights)

    return change


def tensors_of(model):
    return {
        name.removeprefix("network."): tensor.double().numpy()
        for name, tensor in model.tensors.items()
        if name.startswith("network.")
    }


def design_of(given, w, split):
    """Return what the consequents of a Gaussian ANFIS are multiplied by, one sample and one rule at a time."""
    x = given.data.features[split.rows].astype(np.float64)
    functions = [list(crisp.functions.values()) for crisp in given.task.crisp_inputs]
    design = []
    for row in x:
        fired = np.array([1.0])
        for value, of_input in zip(row, functions, strict=True):
            degrees = [math.exp(-0.5 * ((value - mean) / sigma) ** 2) for _, (mean, sigma) in of_input]
            fired = np.concatenate([strength * np.array(degrees) for strength in fired])
        z = np.append((row - w["center"]) / w["scale"], 1.0)
        design.append(np.outer(fired / fired.sum(), z).ravel())
    return np.array(design)


def test_a_regression_is_the_weighted_ridge_regression_with_the_ridge_that_validates_best(problem, train, weighted):
    given = weighted(problem("anfis", "regression", settings={"weight_decay": 1e-3}))
    model = train(given)
    w, scaling = tensors_of(model), model.description.scaling
    parts = [given.data.train, given.data.validation]
    (a, y), (a_val, y_val) = ((design_of(given, w, p), (p.labels - scaling.mean) / scaling.scale) for p in parts)
    weights = parts[0].weights / parts[0].weights.mean()
    gram = 2 * (a.T * weights) @ a / len(a)
    right = 2 * (a.T * weights) @ y / len(a)
    best, expected = np.inf, None
    for relative in consequents.RIDGES:
        ridge = relative * np.trace(gram) / len(gram) + 1e-3
        solution = np.linalg.solve(gram + ridge * np.eye(len(gram)), right)
        loss = np.mean((a_val @ solution - y_val) ** 2)
        if loss < best:
            best, expected = loss, solution
    np.testing.assert_allclose(w["consequents"].ravel(), expected, rtol=2e-3, atol=2e-4)
    assert model.history[0].metrics["val_loss"] == pytest.approx(best, rel=1e-4)
    assert len(model.history) == model.best_epoch == 1, "a second epoch would find nothing left to do"
    assert "learning_rate" not in model.history[0].metrics


def test_without_validation_samples_the_ridge_is_chosen_by_generalized_cross_validation(
    problem, train, without_validation, weighted
):
    given = weighted(without_validation(problem("anfis", "regression")))
    model = train(given)
    w, scaling, split = tensors_of(model), model.description.scaling, given.data.train
    a, y = design_of(given, w, split), (split.labels - scaling.mean) / scaling.scale
    share = split.weights / split.weights.mean()
    gram = 2 * (a.T * share) @ a / len(a)
    best, expected = np.inf, None
    for relative in consequents.RIDGES:
        inverse = np.linalg.inv(gram + relative * np.trace(gram) / len(gram) * np.eye(len(gram)))
        hat = 2 / len(a) * a @ inverse @ (a.T * share)
        loss = np.mean((hat @ y - y) ** 2 * share) / (1 - np.trace(hat) / (share > 0).sum()) ** 2
        if loss < best:
            best, expected = loss, hat @ y
    predicted = (model.predictor().predict(given.data.features)[split.rows] - scaling.mean) / scaling.scale
    np.testing.assert_allclose(predicted, expected, atol=2e-4)


@pytest.mark.parametrize("loss", ["huber", "cross_entropy", "focal"])
@pytest.mark.parametrize("weights", [False, True])
def test_epochs_go_down_to_the_lowest_point_of_the_loss_and_its_penalty(problem, train, weighted, loss, weights):
    """Where it ends, the gradient of the loss written out for every sample is 0."""
    decay = 0.02
    given = problem(
        "anfis",
        OUTPUT[loss],
        architecture={"learn_memberships": False},
        settings={**SETTINGS[loss], "epochs": 400, "weight_decay": decay, "class_weights": "none"},
    )
    given = weighted(given) if weights else given
    # The ridge is left to the decay: the lowest point is then known.
    original, consequents.RIDGES = consequents.RIDGES, (0.0,)
    try:
        model = train(Problem(given.task, dataclasses.replace(given.data, validation=given.data.train)))
    finally:
        consequents.RIDGES = original
    losses = [record.metrics["train_loss"] for record in model.history]
    assert losses[-1] < losses[0]
    w, split = tensors_of(model), given.data.train
    a = torch.tensor(design_of(given, w, split))
    share = torch.tensor(split.weights.astype(np.float64) / split.weights.mean())
    labels = torch.tensor(split.labels)
    base = torch.zeros(a.shape[1], model.description.outputs, dtype=torch.float64)
    if OUTPUT[loss] == "classification":
        counts = torch.tensor([float(share[labels == number].sum()) for number in range(3)], dtype=torch.float64)
        base[4::5] = (counts / counts.sum()).log()
    else:
        labels = (labels.double() - model.description.scaling.mean) / model.description.scaling.scale
    b = torch.tensor(w["consequents"]).reshape(base.shape).requires_grad_(True)
    penalized = (make_loss(given.task.settings, OUTPUT[loss])(a @ b, labels) * share).mean()
    (penalized + decay / 2 * ((b - base) ** 2).sum()).backward()
    assert float(b.grad.abs().max()) < 2e-3 * float(b.detach().abs().max()) * decay + 2e-5


def test_no_step_raises_the_penalized_loss(problem, train):
    """The penalty of a cross entropy is small here, so that the loss itself goes down in every epoch."""
    given = problem("anfis", settings={"epochs": 30, "class_weights": "balanced"})
    losses = [record.metrics["train_loss"] for record in train(given).history]
    assert len(losses) > 3
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(losses))


def by_definition(settings, score, label):
    """Return the loss of one sample."""
    match settings["loss"]:
        case "mse":
            return (score[0] - label) ** 2
        case "huber":
            distance, delta = abs(score[0] - label), settings["huber_delta"]
            return 0.5 * distance**2 if distance <= delta else delta * (distance - 0.5 * delta)
        case "cross_entropy":
            return -torch.log_softmax(score, 0)[label]
        case "focal":
            logarithm = torch.log_softmax(score, 0)[label]
            return -((1 - logarithm.exp()).clamp(min=1e-12) ** settings["focal_gamma"]) * logarithm


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0, 100.0])
def test_the_curvature_of_no_loss_is_above_its_bound(gamma):
    cases = [{"loss": "mse"}, {"loss": "huber", "huber_delta": 0.7}, {"loss": "cross_entropy"}]
    cases.append({"loss": "focal", "focal_gamma": gamma})
    generator = torch.Generator().manual_seed(0)
    for settings in cases:
        output = OUTPUT[settings["loss"]]
        outputs = 3 if output == "classification" else 1
        loss, bound = make_loss(settings, output), consequents._curvature(settings)
        label = torch.zeros((), dtype=torch.int64 if outputs > 1 else torch.float64)
        for scale in (0.1, 1.0, 4.0):
            for _ in range(20):
                score = scale * torch.randn(outputs, generator=generator, dtype=torch.float64)
                defined = partial(by_definition, settings, label=label)
                hessian = torch.autograd.functional.hessian(defined, score)
                assert float(torch.linalg.eigvalsh(hessian)[-1]) <= bound * (1 + 1e-9)
                row = score.unsqueeze(0).requires_grad_(True)
                found = loss(row, label.unsqueeze(0))
                (gradient,) = torch.autograd.grad(found.sum(), row)
                torch.testing.assert_close(found[0], defined(score), rtol=1e-9, atol=1e-12)
                expected = torch.autograd.functional.jacobian(defined, score)
                torch.testing.assert_close(gradient[0], expected, rtol=1e-7, atol=1e-10)


@hypothesis_given(
    samples=st.integers(1, 9), rules=st.integers(1, 5), width=st.integers(1, 4), outputs=st.integers(1, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_products_with_the_design_need_no_design(samples, rules, width, outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(samples, rules), (samples, width), (rules * width, outputs), (samples, outputs)]
    firing, inputs, right, left = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    rows = [np.outer(f, z).ravel() for f, z in zip(firing.numpy(), inputs.numpy(), strict=True)]
    np.testing.assert_allclose(consequents._design(firing, inputs), rows)
    np.testing.assert_allclose(consequents._scores(firing, inputs, right), rows @ right.numpy(), atol=1e-12)
    wanted = np.transpose(rows) @ left.numpy()
    np.testing.assert_allclose(consequents._transposed(firing, inputs, left), wanted, atol=1e-12)


def test_many_coefficients_are_solved_for_by_conjugate_gradients(problem, train, monkeypatch):
    given = problem("anfis", "regression", settings={"weight_decay": 0.05})
    exact = train(given)
    monkeypatch.setattr(consequents, "_MOST_FACTORED", 10)
    iterated = train(given)
    found, wanted = (model.tensors["network.consequents"].numpy() for model in (iterated, exact))
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())


def test_neither_the_blocks_of_the_sums_nor_the_scale_of_weights_changes_what_is_found(
    problem, train, with_train, monkeypatch
):
    given = problem("anfis", settings={"epochs": 3})
    weights = np.random.default_rng(3).uniform(0.5, 2.0, len(given.data.train)).astype(np.float32)
    one = train(with_train(given, weights=weights))
    other = train(with_train(given, weights=weights * np.float32(64)))
    monkeypatch.setattr(consequents, "BLOCK_VALUES", 7 * 405)
    blocks = train(with_train(given, weights=weights))
    wanted = one.tensors["network.consequents"].numpy()
    np.testing.assert_array_equal(other.tensors["network.consequents"].numpy(), wanted)
    np.testing.assert_allclose(blocks.tensors["network.consequents"].numpy(), wanted, atol=1e-5)


def test_samples_are_taken_block_by_block_however_many_there_are(problem, train, monkeypatch):
    """No matrix over all samples: what is held of them at once is a block, and beside it the equations."""
    given = problem("anfis")
    rows = np.tile(given.data.train.rows, 60)
    many = dataclasses.replace(
        given.data, train=Split(rows, np.tile(given.data.train.labels, 60), np.ones(len(rows), np.float32))
    )
    sizes = []
    design = consequents._design
    monkeypatch.setattr(consequents, "_design", lambda *parts: sizes.append(design(*parts).numel()) or design(*parts))
    few, all_of_them = train(given), train(Problem(given.task, many))
    assert len(rows) * 405 > 5 * consequents.BLOCK_VALUES
    assert max(sizes) <= consequents.BLOCK_VALUES
    np.testing.assert_allclose(
        all_of_them.tensors["network.consequents"].numpy(), few.tensors["network.consequents"].numpy(), atol=1e-4
    )


def test_a_class_without_samples_and_one_with_hardly_any_are_no_trouble(problem, train, with_train):
    given = problem("anfis")
    labels = given.data.train.labels.copy()
    labels[labels == 2] = 1
    p = train(with_train(given, labels=labels)).predictor().predict(given.data.features)
    assert np.isfinite(p).all()
    assert p[:, 2].mean() < 0.05


@pytest.mark.parametrize(("output", "optimizer"), [("classification", "sgd"), ("regression", "adam")])
def test_memberships_that_leave_the_range_of_numbers_are_refused_in_a_sentence(problem, train, output, optimizer):
    settings = {"epochs": 30, "learning_rate": 100.0, "optimizer": optimizer}
    with pytest.raises(
        BadInputError, match=r"^the memberships became infinite or NaN in epoch \d+; lower `training\.l"
    ):
        train(problem("anfis", output, architecture={"learn_memberships": True}, settings=settings))


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("output", ["classification", "regression"])
def test_cancelled_in_every_place_it_ends_the_same(problem, train, same, cancelled_at, tmp_path, learn, output):
    """In the first solution, in steps of the memberships, in solutions and evaluations of every epoch."""

    given = problem("anfis", output, architecture={"learn_memberships": learn}, settings={"epochs": 3})
    expected = train(given)
    places = 0
    while True:
        places += 1
        checkpoint = DirectoryCheckpoint(tmp_path / str(places))
        try:
            train(given, cancellation=cancelled_at(places), checkpoint=checkpoint)
            break
        except CancelledError:
            resumed = train(given, checkpoint=DirectoryCheckpoint(tmp_path / str(places)))
            assert resumed.history == expected.history, places
            assert same(resumed, expected), places
    assert places > 15


@pytest.fixture(scope="module")
def series():
    """Jang's 1,000 samples: four values six apart, and the one six later."""
    x, t = mackey_glass(1_124), np.arange(118, 1118)
    return np.stack([x[t - 18], x[t - 12], x[t - 6], x[t]], 1).astype(np.float32), x[t + 6]


def predicted(problem, train, series, kind, **changes):
    """Return the root mean squared errors of training and test samples of Jang's example, with 16 rules."""
    features, labels = series
    low, high = float(features[:500].min()), float(features[:500].max())
    width = (high - low) / 2
    functions = {
        # Each falls to a half in the middle of the values.
        name: ("gaussian", (center, width / math.sqrt(2 * math.log(2)))) if kind == "gaussian" else
        ("bell", (width, 2.0, center))
        for name, center in (("low", low), ("high", high))
    }  # fmt: skip
    given = problem("anfis", "regression", **changes)
    task = dataclasses.replace(
        given.task, crisp_inputs=tuple(CrispInput(f"x{number}", number, functions) for number in range(4))
    )
    rows = np.arange(500)
    parts = [Split(r, labels[r].astype(np.float32), np.ones(len(r), np.float32)) for r in (rows, rows[:0])]
    model = train(Problem(task, TrainingData(np.ascontiguousarray(features), *parts)))
    errors = (model.predictor().predict(features) - labels) ** 2
    return np.sqrt(errors[:500].mean()), np.sqrt(errors[500:].mean())


@pytest.fixture
def default_training():
    """The settings of a training that sets none."""
    from ktrdr.core.strategy.model import Labels, Training

    of_core = {"labels", "data_split", "embargo", "sample_weights", "seed", "given"}
    return Training(labels=Labels(source="forward_return", parameters={}), loss="mse").model_dump(exclude=of_core)


def test_sixteen_rules_predict_mackey_and_glass_in_default_settings(problem, train, series, default_training):
    _, test = predicted(problem, train, series, "gaussian", settings=default_training)
    assert test <= 0.003


def test_the_gradient_starts_from_the_same_solution(problem, train, series, default_training):
    _, test = predicted(
        problem, train, series, "gaussian", settings=default_training, architecture={"learning": "gradient"}
    )
    assert test <= 0.003


def test_hybrid_learning_of_memberships_does_as_well_as_jangs(problem, train, series, default_training):
    """Jang (1993), table II: 0.0016 on the training samples after 500 epochs."""
    settings = {**default_training, "learning_rate": 0.03}
    train_error, test = predicted(
        problem, train, series, "bell", settings=settings, architecture={"learn_memberships": True}
    )
    assert train_error <= 0.0016
    assert test <= 0.003

"""Every key of `training` that the backend claims, seen to do what it says."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.declaration import INFO
from ktrdr.ml.torch.optimizers import Optimizer


def metrics(model, name):
    return np.array([record.metrics[name] for record in model.history])


def weights(model):
    return np.concatenate(
        [tensor.numpy().ravel() for name, tensor in model.tensors.items() if name.startswith("network.layers")]
    )


def test_epochs(problem, train):
    assert [len(train(problem(settings={"epochs": epochs})).history) for epochs in (1, 3)] == [1, 3]


def test_batch_size_decides_the_number_of_steps(problem, train, monkeypatch):
    taken, step = [], Optimizer.step

    def counted(self, weights, gradient, count):
        taken.append(count)
        step(self, weights, gradient, count)

    monkeypatch.setattr(Optimizer, "step", counted)
    for size, batches in ((10, 26), (100, 3), (1000, 1)):
        train(problem(settings={"epochs": 2, "batch_size": size}))
        assert taken == [[number + 1] for number in range(2 * batches)]
        taken.clear()


def test_learning_rate_decides_how_far_it_goes(problem, train):
    start = weights(train(problem(settings={"epochs": 1, "learning_rate": 1e-30})))
    moved = [
        np.linalg.norm(weights(train(problem(settings={"epochs": 1, "learning_rate": rate}))) - start)
        for rate in (1e-4, 1e-3, 1e-2)
    ]
    assert 5 < moved[1] / moved[0] < 15
    assert moved[2] > 3 * moved[1]


def test_each_optimizer_goes_its_own_way(problem, train, same):
    models = [train(problem(settings={"optimizer": name})) for name in ("adam", "adamw", "sgd", "rmsprop")]
    # Without weight decay adam and adamw are the same.
    assert same(models[0], models[1])
    assert not any(same(models[0], other) for other in models[2:])
    decayed = [train(problem(settings={"optimizer": name, "weight_decay": 0.1})) for name in ("adam", "adamw")]
    assert not same(*decayed)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_weight_decay_makes_weights_smaller(problem, train, optimizer):
    sizes = [
        np.linalg.norm(weights(train(problem(settings={"epochs": 6, "optimizer": optimizer, "weight_decay": decay}))))
        for decay in (0.0, 0.1, 1.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_momentum_goes_further_with_the_same_small_steps(problem, train, optimizer):
    settings = {"epochs": 3, "optimizer": optimizer, "learning_rate": 1e-3 if optimizer == "sgd" else 1e-5}
    losses = [
        metrics(train(problem(settings={**settings, "momentum": value})), "train_loss")[-1] for value in (0.0, 0.5, 0.9)
    ]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_momentum_is_refused_where_it_would_do_nothing(problem, train, optimizer):
    with pytest.raises(BadInputError, match=rf"`training\.momentum` is of the optimizers sgd and rmsprop; {optimizer}"):
        train(problem(settings={"optimizer": optimizer, "momentum": 0.9}))


def test_gradient_clip_bounds_every_step(problem, train):
    settings = {"epochs": 1, "batch_size": 50, "optimizer": "sgd"}
    start = weights(train(problem(settings={**settings, "learning_rate": 1e-30})))
    clipped = weights(train(problem(settings={**settings, "learning_rate": 0.5, "gradient_clip": 1e-3})))
    free = weights(train(problem(settings={**settings, "learning_rate": 0.5})))
    steps = 6
    assert 0 < np.linalg.norm(clipped - start) <= steps * 0.5 * 1e-3 * 1.001
    assert np.linalg.norm(free - start) > steps * 0.5 * 1e-3


def test_gradient_clip_holds_together_what_would_blow_up(problem, train):
    settings = {"epochs": 5, "optimizer": "sgd", "learning_rate": 90.0, "momentum": 0.9, "loss": "mse"}
    with pytest.raises(BadInputError, match=r"became infinite or NaN in epoch \d; lower `training\.learning_rate`"):
        train(problem("mlp", "regression", settings=settings))
    model = train(problem("mlp", "regression", settings={**settings, "gradient_clip": 1e-3}))
    assert np.isfinite(metrics(model, "train_loss")).all()


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        ({"type": "step", "parameters": {"step_size": 2, "gamma": 0.1}}, [1, 1, 0.1, 0.1, 0.01]),
        ({"type": "exponential", "parameters": {"gamma": 0.5}}, [1, 0.5, 0.25, 0.125, 0.0625]),
        ({"type": "cosine", "parameters": {"min_lr": 0.0}}, [1, 0.8535534, 0.5, 0.1464466, 0]),
        (None, [1, 1, 1, 1, 1]),
    ],
)
def test_lr_scheduler_sets_every_epochs_rate(problem, train, scheduler, rates):
    settings = {"epochs": 5, "learning_rate": 0.01, "lr_scheduler": scheduler}
    model = train(problem(settings=settings))
    np.testing.assert_allclose(metrics(model, "learning_rate"), 0.01 * np.array(rates), rtol=1e-6, atol=1e-12)


def test_a_falling_rate_ends_nearer_to_where_it_was(problem, train):
    steep = {"type": "exponential", "parameters": {"gamma": 0.01}}
    distances = []
    for scheduler in (None, steep):
        # The last epoch is the one that is kept.
        stopping = {"patience": 10, "min_delta": 0.0, "monitor": "train_loss"}
        settings = {"lr_scheduler": scheduler, "early_stopping": stopping, "learning_rate": 0.003}
        one, six = (weights(train(problem(settings={**settings, "epochs": epochs}))) for epochs in (1, 6))
        distances.append(np.linalg.norm(six - one))
    assert distances[1] < 0.1 * distances[0]


def test_min_lr_above_the_rate_is_refused(problem, train):
    scheduler = {"type": "cosine", "parameters": {"min_lr": 0.5}}
    with pytest.raises(BadInputError, match=r"min_lr` \(0\.5\) is above `training\.learning_rate` \(0\.01\)"):
        train(problem(settings={"lr_scheduler": scheduler, "learning_rate": 0.01}))


def test_focal_gamma_makes_it_less_sure_of_itself(problem, train):
    given = [problem(settings={"epochs": 20, "loss": "focal", "focal_gamma": gamma}) for gamma in (0.0, 2.0, 5.0)]
    sure = [train(one).predictor().predict(one.data.features).max(axis=1).mean() for one in given]
    assert sure[0] > sure[1] > sure[2]


def test_focal_without_gamma_is_cross_entropy(problem, train):
    focal = train(problem(settings={"loss": "focal", "focal_gamma": 0.0}))
    np.testing.assert_allclose(weights(focal), weights(train(problem())), rtol=1e-3, atol=1e-5)


def test_huber_follows_outliers_less_the_smaller_its_delta(problem, train, with_train):
    means = []
    for settings in ({"loss": "mse"}, {"loss": "huber", "huber_delta": 1.0}, {"loss": "huber", "huber_delta": 0.1}):
        given = problem("mlp", "regression", settings={"epochs": 20, **settings})
        labels = given.data.train.labels.copy()
        labels[::20] = 1.0
        means.append(train(with_train(given, labels=labels)).predictor().predict(given.data.features).mean())
    assert means[0] > 1.5 * means[1] > means[2]


@pytest.mark.parametrize(
    ("output", "loss", "others"),
    [("classification", "mse", "cross_entropy or focal"), ("regression", "focal", "mse or huber")],
)
def test_a_loss_for_another_output_is_refused(problem, train, output, loss, others):
    with pytest.raises(BadInputError, match=rf"`training\.loss: {loss}` is not for {output}; use {others}"):
        train(problem("mlp", output, settings={"loss": loss}))


@pytest.mark.parametrize("name", ["mlp", "gru", "anfis"])
def test_balanced_class_weights_help_the_rare_class(problem, train, with_train, name):
    answers = []
    for class_weights in ("none", "balanced"):
        given = problem(name, settings={"epochs": 8, "class_weights": class_weights})
        split = given.data.train
        keep = (split.labels != 0) | (np.cumsum(split.labels == 0) <= 15)
        given = with_train(given, rows=split.rows[keep], labels=split.labels[keep], weights=split.weights[keep])
        answers.append(np.nanmean(train(given).predictor().predict(given.data.features)[:, 0]))
    assert answers[1] > answers[0] + 0.05


def test_the_seed_decides_weights_shuffle_and_dropout(problem, train, same):
    dropout = {"dropout": 0.3}
    one, again, other = (train(problem(architecture=dropout, seed=seed)) for seed in (5, 5, 6))
    assert same(one, again)
    assert not same(one, other)


def test_a_run_does_not_touch_torchs_global_generator(problem, train, same):
    import torch

    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = train(problem(architecture={"dropout": 0.3}))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(train(problem(architecture={"dropout": 0.3})), model)


SEEN = {
    "epochs", "batch_size", "learning_rate", "optimizer", "weight_decay", "momentum", "gradient_clip", "lr_scheduler",
    "early_stopping", "loss", "focal_gamma", "huber_delta", "class_weights",
}  # fmt: skip


def test_no_key_is_claimed_that_is_not_seen_above_or_in_test_stopping():
    for model_type in INFO.model_types:
        assert model_type.training_keys == SEEN

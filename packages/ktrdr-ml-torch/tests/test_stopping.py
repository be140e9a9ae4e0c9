"""Which epoch is kept, and when training ends."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.ml.torch.schedules import EarlyStopping

WILD = {"epochs": 40, "learning_rate": 0.3, "optimizer": "sgd", "momentum": 0.9}


def stopping(patience=5, min_delta=0.0, monitor="val_loss"):
    return {"early_stopping": {"patience": patience, "min_delta": min_delta, "monitor": monitor}}


def run(values, patience, min_delta, monitor="val_loss"):
    judge = EarlyStopping(stopping(patience, min_delta, monitor), validates=True, classifies=True)
    for epoch, value in enumerate(values, 1):
        judge.update(epoch, {monitor: value})
        if judge.over:
            break
    return epoch, judge.best_epoch


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "expected"),
    [
        ([3, 2, 1, 1, 1, 1], 2, 0.0, (5, 3)),
        ([3, 2, 1, 1.5, 0.9, 1, 1, 1], 2, 0.0, (7, 5)),
        ([3, 2.95, 2.9, 2.85], 2, 0.5, (3, 3)),
        ([3, 2.7, 2.4, 2.4, 2.4], 2, 0.5, (5, 3)),
        ([1, 2, 3], 1, 0.0, (2, 1)),
        ([1, 1, 1], 9, 0.0, (3, 1)),
    ],
)
def test_waiting_and_choosing(values, patience, min_delta, expected):
    assert run(values, patience, min_delta) == expected


def test_accuracy_is_better_when_it_is_higher():
    assert run([0.1, 0.3, 0.2, 0.3, 0.2], 3, 0.0, "val_accuracy") == (5, 2)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "train_loss"])
@pytest.mark.parametrize("patience", [2, 4])
@pytest.mark.parametrize("min_delta", [0.0, 0.02])
def test_training_ends_when_it_has_waited_long_enough(problem, train, monitor, patience, min_delta):
    given = problem(settings={**WILD, **stopping(patience, min_delta, monitor)})
    history = train(given).history
    values = [(-1 if "accuracy" in monitor else 1) * record.metrics[monitor] for record in history]
    reference, waited, ends = np.inf, 0, []
    for value in values:
        reference, waited = (value, 0) if value < reference - min_delta else (reference, waited + 1)
        ends.append(waited >= patience)
    assert ends.index(True) == len(values) - 1 if len(values) < 40 else not any(ends[:-1])


def test_early_stopping_saves_epochs(problem, train):
    full = train(problem(settings=WILD))
    early = train(problem(settings={**WILD, **stopping(patience=2)}))
    assert len(early.history) < len(full.history) == 40
    # Up to where it ended it was the same run.
    assert early.history == full.history[: len(early.history)]


@pytest.mark.parametrize(("name", "rate"), [("mlp", 0.5), ("lstm", 4.0), ("anfis", 0.5)])
def test_what_is_kept_is_the_best_epoch_and_not_an_alias_of_the_last(problem, train, same, name, rate):
    architecture = {"learning": "gradient"} if name == "anfis" else None
    given = problem(name, architecture=architecture, settings={**WILD, "epochs": 15, "learning_rate": rate})
    model = train(given)
    losses = [record.metrics["val_loss"] for record in model.history]
    best = int(np.argmin(losses)) + 1
    assert model.best_epoch == best < 15, "the settings are to make later epochs worse"
    validation = given.data.validation
    p = model.predictor().predict(given.data.features)[validation.rows, validation.labels]
    assert np.mean(-np.log(p)) == pytest.approx(min(losses), rel=1e-4)
    # The run that ends at that epoch has the same weights; one epoch more would not.
    shorter = problem(name, architecture=architecture, settings={**given.task.settings, "epochs": best})
    assert same(train(shorter), model)


def test_a_model_is_not_changed_by_its_predictors(problem, train):
    given = problem()
    model = train(given)
    before = {name: tensor.clone() for name, tensor in model.tensors.items()}
    predictor = model.predictor()
    for parameter in predictor._network.parameters():
        parameter.fill_(0)
    assert all(bool((model.tensors[name] == tensor).all()) for name, tensor in before.items())


def test_without_validation_the_training_loss_decides(problem, train, without_validation):
    model = train(without_validation(problem(settings=WILD)))
    losses = [record.metrics["train_loss"] for record in model.history]
    assert model.best_epoch == int(np.argmin(losses)) + 1
    assert "val_loss" not in model.history[0].metrics


@pytest.mark.parametrize(("name", "rate"), [("mlp", 0.5), ("lstm", 4.0), ("anfis", 0.5)])
def test_the_last_epoch_is_kept_on_request_though_another_was_better(
    problem, train, same, without_validation, name, rate
):
    architecture = {"learning": "gradient"} if name == "anfis" else None
    settings = {**WILD, "epochs": 8, "learning_rate": rate}
    best = train(without_validation(problem(name, architecture=architecture, settings=settings)))
    last = train(without_validation(problem(name, architecture=architecture, settings=settings | {"keep_last": True})))
    assert last.history == best.history
    assert last.best_epoch == 8
    assert best.best_epoch == int(np.argmin([record.metrics["train_loss"] for record in best.history])) + 1
    assert same(best, last) == (best.best_epoch == 8)


def test_the_last_of_several_epochs_is_that_of_a_shorter_run(problem, train, same, without_validation):
    scheduler = {"type": "cosine", "parameters": {"min_lr": 0.0}}
    settings = {"lr_scheduler": scheduler, "keep_last": True, "schedule_epochs": 10}
    longer = train(without_validation(problem(settings={**settings, "epochs": 10})))
    shorter = train(without_validation(problem(settings={**settings, "epochs": 4})))
    # The learning rates are those of the longer run.
    assert shorter.history == longer.history[:4]
    assert shorter.best_epoch == 4
    assert not same(shorter, longer)


def test_without_validation_a_plateau_is_one_of_the_training_loss(problem, train, without_validation):
    parameters = {"factor": 0.5, "patience": 0, "threshold": 0.01, "min_lr": 0.0}
    scheduler = {"type": "reduce_on_plateau", "parameters": parameters}
    given = problem(settings={**WILD, "epochs": 12, "lr_scheduler": scheduler, "keep_last": True})
    history = train(without_validation(given)).history
    rate, best, expected = WILD["learning_rate"], np.inf, []
    for record in history:
        expected.append(rate)
        loss = record.metrics["train_loss"]
        if loss < best * (1 - 0.01):
            best = loss
        else:
            rate *= 0.5
    assert [record.metrics["learning_rate"] for record in history] == expected
    assert expected[-1] < expected[0], "the settings are to have a plateau"


def test_monitoring_what_is_not_measured_is_refused(problem, train, without_validation):
    with pytest.raises(BadInputError, match=r"`val_loss` needs validation samples and there are none; raise"):
        train(without_validation(problem(settings=stopping())))
    with pytest.raises(BadInputError, match=r"monitor: val_accuracy` is for classification; monitor `val_loss`"):
        train(problem("mlp", "regression", settings=stopping(monitor="val_accuracy")))


def test_nothing_to_learn_is_said_in_a_sentence(problem, train, with_train):
    given = problem()
    empty = with_train(given, rows=np.empty(0, np.int64), labels=np.empty(0, np.int64), weights=np.empty(0, np.float32))
    with pytest.raises(BadInputError, match="there are no training samples; choose"):
        train(empty)
    with pytest.raises(BadInputError, match=r"every training label is HOLD.*`training\.labels`"):
        train(with_train(given, labels=np.ones_like(given.data.train.labels)))
    with pytest.raises(BadInputError, match=r"weights of all training samples are 0; use `training\.sample_weights"):
        train(with_train(given, weights=np.zeros_like(given.data.train.weights)))
    regression = problem("mlp", "regression")
    labels = regression.data.train.labels.copy()
    labels[3] = np.inf
    with pytest.raises(BadInputError, match="the training labels are not finite"):
        train(with_train(regression, labels=labels))

"""The estimators, with scikit-learn used directly as the reference, and every setting observed to have its effect."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import Split
from ktrdr.core.testing.learning_problems import Problem, make_problem
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.sklearn_trainer import SklearnTrainer

TYPES = {model_type.name: model_type for model_type in INFO.model_types}


def problem(name, output="classification", **changes):
    architecture = {"n_estimators": 8} if name == "random_forest" else {}
    architecture |= changes.pop("architecture", {})
    settings = {"epochs": 10, "early_stopping": None} | changes.pop("settings", {})
    return make_problem(TYPES[name], output, architecture=architecture, settings=settings, **changes)


def train(given: Problem, progress=NO_PROGRESS, cancellation=None):
    return SklearnTrainer().train(
        given.task, given.data, progress=progress, cancellation=cancellation or Cancellation(), checkpoint=None
    )


def predictions(given: Problem):
    return train(given).predictor().predict(given.data.features)


def xy(given: Problem):
    train = given.data.train
    return given.data.features[train.rows], train.labels


def test_boosting_is_what_scikit_learn_gives():
    for output, reference in (
        ("classification", HistGradientBoostingClassifier),
        ("regression", HistGradientBoostingRegressor),
    ):
        given = problem("gradient_boosting", output)
        model = train(given)
        x, y = xy(given)
        direct = reference(
            max_iter=model.best_epoch, max_features=0.8, random_state=given.task.seed, early_stopping=False
        ).fit(x, y, sample_weight=np.ones(len(y)))
        features = given.data.features
        expected = direct.predict_proba(features) if output == "classification" else direct.predict(features)
        np.testing.assert_allclose(model.predictor().predict(features), expected, rtol=0, atol=1e-12)


def test_a_forest_is_what_scikit_learn_gives_whatever_the_blocks(monkeypatch):
    from ktrdr.ml.sklearn import forest

    given = problem("random_forest", architecture={"n_estimators": 25})
    x, y = xy(given)
    direct = RandomForestClassifier(25, min_samples_leaf=10, random_state=given.task.seed)
    expected = direct.fit(x, y, sample_weight=np.ones(len(y))).predict_proba(given.data.features)
    for cores in (1, 4, 64):
        monkeypatch.setattr(forest.os, "cpu_count", lambda cores=cores: cores)
        np.testing.assert_allclose(predictions(given), expected, rtol=0, atol=1e-12)


def test_logistic_regression_converges_to_scikit_learns_solution():
    given = problem("logistic_regression", settings={"epochs": 1000})
    x, y = xy(given)
    direct = LogisticRegression(max_iter=1000, tol=1e-8).fit(x.astype(float), y)
    expected = direct.predict_proba(given.data.features.astype(float))
    np.testing.assert_allclose(predictions(given), expected, rtol=0, atol=1e-3)


def test_the_best_round_is_kept_not_the_last():
    given = problem("gradient_boosting", settings={"epochs": 120}, architecture={"min_samples_leaf": 1})
    model = train(given)
    losses = [record.metrics["val_loss"] for record in model.history]
    assert len(losses) == 120
    assert model.best_epoch == int(np.argmin(losses)) + 1 < 120
    assert model.predictor().estimator.n_iter_ == model.best_epoch
    validation = given.data.validation
    p = model.predictor().predict(given.data.features)[validation.rows, validation.labels]
    assert np.mean(-np.log(p)) == pytest.approx(min(losses), rel=1e-9)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "train_loss"])
def test_early_stopping_waits_as_long_as_it_is_told(monitor):
    stopping = {"patience": 7, "min_delta": 0.02, "monitor": monitor}
    given = problem(
        "gradient_boosting",
        settings={"epochs": 300, "early_stopping": stopping},
        architecture={"min_samples_leaf": 1, "learning_rate": 0.5},
    )
    history = train(given).history
    sign = -1 if monitor == "val_accuracy" else 1
    values = [sign * record.metrics[monitor] for record in history]
    best, since, waits = np.inf, 0, []
    for value in values:
        best, since = (value, 0) if value < best - 0.02 else (best, since + 1)
        waits.append(since)
    assert waits.index(7) == len(values) - 1 < 299


def test_early_stopping_on_validation_without_any_is_refused():
    given = problem(
        "gradient_boosting", settings={"early_stopping": {"patience": 3, "min_delta": 0.0, "monitor": "val_loss"}}
    )
    empty = Split(*(array[:0] for array in dataclasses.astuple(given.data.validation)))
    with pytest.raises(BadInputError, match=r"`val_loss` needs validation samples"):
        train(Problem(given.task, dataclasses.replace(given.data, validation=empty)))


def test_early_stopping_on_what_a_regression_does_not_measure_is_refused():
    stopping = {"patience": 3, "min_delta": 0.0, "monitor": "val_accuracy"}
    with pytest.raises(BadInputError, match=r"monitor: val_accuracy` is for classification"):
        train(problem("gradient_boosting", "regression", settings={"early_stopping": stopping}))


EFFECTS = [
    ("gradient_boosting", "architecture", {"learning_rate": 0.3}),
    ("gradient_boosting", "architecture", {"max_leaf_nodes": 3}),
    ("gradient_boosting", "architecture", {"max_depth": 1}),
    ("gradient_boosting", "architecture", {"min_samples_leaf": 60}),
    ("gradient_boosting", "architecture", {"l2_regularization": 50.0}),
    ("gradient_boosting", "architecture", {"max_bins": 4}),
    ("gradient_boosting", "architecture", {"max_features": 0.25}),
    ("gradient_boosting", "settings", {"epochs": 2}),
    ("gradient_boosting", "settings", {"class_weights": "balanced"}),
    ("random_forest", "architecture", {"n_estimators": 3}),
    ("random_forest", "architecture", {"max_depth": 1}),
    ("random_forest", "architecture", {"min_samples_leaf": 80}),
    ("random_forest", "architecture", {"max_features": "all"}),
    ("random_forest", "settings", {"class_weights": "balanced"}),
    ("logistic_regression", "architecture", {"C": 0.001}),
    ("logistic_regression", "architecture", {"fit_intercept": False}),
    ("logistic_regression", "settings", {"epochs": 1}),
    ("logistic_regression", "settings", {"class_weights": "balanced"}),
]


@pytest.mark.parametrize(("name", "where", "change"), EFFECTS, ids=lambda value: str(value))
def test_every_declared_key_has_an_effect(name, where, change):
    plain, changed = predictions(problem(name)), predictions(problem(name, **{where: change}))
    assert np.abs(plain - changed).max() > 1e-4


def test_every_declared_key_is_in_that_list():
    tested = {(name, key) for name, _, change in EFFECTS for key in change} | {("gradient_boosting", "early_stopping")}
    declared = {(t.name, p.name) for t in TYPES.values() for p in t.architecture}
    declared |= {(t.name, key) for t in TYPES.values() for key in t.training_keys}
    assert tested == declared


@pytest.mark.parametrize("name", sorted(TYPES))
def test_balanced_class_weights_help_the_rare_class(name):
    given = problem(name, settings={"epochs": 20})
    rare = given.data.train.labels == 0
    keep = ~rare | (np.cumsum(rare) <= 25)
    train = Split(given.data.train.rows[keep], given.data.train.labels[keep], given.data.train.weights[keep])
    data = dataclasses.replace(given.data, train=train)
    balanced = dataclasses.replace(given.task, settings={**given.task.settings, "class_weights": "balanced"})
    plain, helped = (predictions(Problem(task, data))[:, 0].mean() for task in (given.task, balanced))
    assert helped > plain + 0.02


@pytest.mark.parametrize("name", sorted(TYPES))
def test_labels_of_one_class_are_refused_with_the_remedy(name):
    given = problem(name)
    labels = np.ones_like(given.data.train.labels)
    data = dataclasses.replace(given.data, train=dataclasses.replace(given.data.train, labels=labels))
    with pytest.raises(BadInputError, match=r"every training label is HOLD.*`training\.labels`"):
        train(Problem(given.task, data))


@pytest.mark.parametrize("name", sorted(TYPES))
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_class_has_probability_zero_in_its_own_column(name, absent):
    given = problem(name)
    keep = given.data.train.labels != absent
    train_split = Split(*(array[keep] for array in dataclasses.astuple(given.data.train)))
    model = train(Problem(given.task, dataclasses.replace(given.data, train=train_split)))
    answer = model.predictor().predict(given.data.features)
    assert (answer[:, absent] == 0).all()
    present = [number for number in range(3) if number != absent]
    assert (answer[:, present].max(axis=0) > 0.6).all()
    # Validation still holds the class; what can be said of the others is finite.
    assert all(np.isfinite(list(record.metrics.values())).all() for record in model.history)


def test_without_samples_there_is_one_sentence():
    given = problem("gradient_boosting")
    empty = Split(*(array[:0] for array in dataclasses.astuple(given.data.train)))
    with pytest.raises(BadInputError, match="there are no training samples"):
        train(Problem(given.task, dataclasses.replace(given.data, train=empty)))


@pytest.mark.parametrize(("name", "size"), [("gradient_boosting", 2000), ("random_forest", 10_000)])
def test_cancellation_is_heard_within_a_round_or_a_block(name, size):
    key = "architecture" if name == "random_forest" else "settings"
    given = problem(name, **{key: {"n_estimators" if name == "random_forest" else "epochs": size}})
    cancellation = Cancellation()
    seen = []

    def stop(event):
        seen.append(event.done)
        cancellation.cancel()

    with pytest.raises(CancelledError):
        train(given, stop, cancellation)
    assert len(seen) == 1
    assert seen[0] < size


def test_only_training_samples_are_fitted():
    """Rows of the shared matrix that no sample refers to may hold anything, NaN included."""
    given = problem("gradient_boosting")
    used = np.concatenate([given.data.train.rows, given.data.validation.rows])
    features = np.full((len(given.data.features) + 10, 4), np.nan, dtype=np.float32)
    features[: len(given.data.features)] = given.data.features
    same = predictions(Problem(given.task, dataclasses.replace(given.data, features=features)))
    np.testing.assert_array_equal(same[used], predictions(given)[used])


def test_storing_does_not_import_all_of_scikit_learn():
    code = (
        "import sys; from ktrdr.ml.sklearn.skops_io import skops_io; skops_io()\n"
        "import sklearn.utils; assert len(sklearn.utils.all_estimators.__module__) > 0\n"
        "assert sklearn.utils.all_estimators.__name__ == 'all_estimators'\n"
        "print(*('torch' in sys.modules, 'sklearn.gaussian_process' in sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.split() == ["False", "False"]

"""Portable twins: core predicts from them what scikit-learn does, for small random models of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference import TwinGraph
from ktrdr.core.inference.graph_check import check_graph
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.plugins import Portable, Twin
from ktrdr.core.testing.learning_problems import make_problem
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.sklearn.declaration import INFO
from ktrdr.ml.sklearn.sklearn_loader import SklearnLoader
from ktrdr.ml.sklearn.sklearn_model import SklearnPredictor
from ktrdr.ml.sklearn.sklearn_storage import SklearnStorage
from ktrdr.ml.sklearn.sklearn_trainer import SklearnTrainer
from ktrdr.ml.sklearn.sklearn_twin import make_twin
from ktrdr.ml.sklearn.thread_pools import openmp_threads

TYPES = {model_type.name: model_type for model_type in INFO.model_types}
KINDS = [(name, output) for name, model_type in TYPES.items() for output in model_type.outputs]
CLASSES = ("A", "B", "C", "D")


def estimator_of(draw: st.DrawFn, name: str, output: str) -> object:
    leaf = draw(st.integers(1, 20))
    depth = draw(st.one_of(st.none(), st.integers(1, 6)))
    seed = draw(st.integers(0, 1000))
    match name, output:
        case "logistic_regression", _:
            strength, intercept = draw(st.sampled_from([0.01, 1.0, 100.0])), draw(st.booleans())
            return LogisticRegression(C=strength, fit_intercept=intercept, max_iter=draw(st.integers(1, 30)))
        case "random_forest", _:
            forest = RandomForestClassifier if output == "classification" else RandomForestRegressor
            return forest(draw(st.integers(1, 12)), max_depth=depth, min_samples_leaf=leaf, random_state=seed)
        case _:
            boosting = HistGradientBoostingClassifier if output == "classification" else HistGradientBoostingRegressor
            rounds, leaves = draw(st.integers(1, 8)), draw(st.integers(2, 40))
            return boosting(
                max_iter=rounds, max_depth=depth, max_leaf_nodes=leaves, min_samples_leaf=leaf, early_stopping=False,
                max_bins=draw(st.sampled_from([3, 255])), random_state=seed,
            )  # fmt: skip


@st.composite
def fitted(draw: st.DrawFn, name: str, output: str) -> tuple[SklearnPredictor, np.ndarray]:
    """Draw a predictor and the features that its estimator was fitted to, some of them on a grid."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, features = draw(st.integers(8, 150)), draw(st.integers(1, 5))
    x = random.normal(size=(rows, features)) * 10.0 ** random.integers(-3, 4, features)
    x[:, 0] = np.round(x[:, 0])
    x = x.astype(np.float32)
    weights = random.choice([0.5, 1.0, 3.0], rows)
    estimator = estimator_of(draw, name, output)
    seen: tuple[int, ...] = ()
    if output == "classification":
        seen = tuple(sorted(draw(st.sets(st.integers(0, len(CLASSES) - 1), min_size=2))))
        y = np.concatenate([np.arange(len(seen)), random.integers(0, len(seen), rows - len(seen))])
    else:
        y = x.sum(axis=1) * 1e-3 + random.normal(size=rows)
    with openmp_threads(1):
        estimator.fit(x.astype(np.float64) if name == "logistic_regression" else x, y, sample_weight=weights)
    classes = CLASSES if seen else ()
    return SklearnPredictor(estimator, name, output, features, classes, seen), x


def rows_to_compare(x: np.ndarray, twin: Twin) -> np.ndarray:
    """Return the given rows, rows on and next to thresholds, and extreme ones."""
    random, features = np.random.default_rng(0), x.shape[1]
    parts = [x, random.normal(size=(50, features)) * x.std(axis=0), np.zeros((1, features))]
    if "trees.thresholds" in twin.arrays:
        thresholds = twin.arrays["trees.thresholds"].astype(np.float32)
        for near in (thresholds, *(np.nextafter(thresholds, np.float32(end)) for end in (-np.inf, np.inf))):
            on = random.choice(x, len(near))
            on[np.arange(len(near)), twin.arrays["trees.features"]] = near
            parts.append(on)
    largest = np.finfo(np.float32).max
    parts += [np.full((1, features), value) for value in (1e30, -1e30, largest, -largest)]
    parts.append(random.choice([-1e30, 1e-30, 1e30], (10, features)))
    return np.concatenate(parts).astype(np.float32)


def predicted(twin: Twin, rows: np.ndarray) -> np.ndarray:
    graph = TwinGraph.model_validate(twin.graph)
    check_graph(graph, twin.arrays)
    return portable_predictor(graph, twin.arrays).predict(rows)


@pytest.mark.parametrize(("name", "output"), KINDS)
@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    # scikit-learn looks for gaps by the sum of all features, which is infinite for extreme rows.
    "ignore:.*encountered in reduce:RuntimeWarning",
)
def test_a_twin_predicts_what_scikit_learn_does(name, output):
    @given(fitted(name, output))
    def check(drawn):
        predictor, x = drawn
        twin = predictor.twin()
        rows = rows_to_compare(x, twin)
        expected, found = predictor.predict(rows), predicted(twin, rows)
        if output == "classification":
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)

    check()


def trained(name: str, output: str = "classification"):
    architecture = {"n_estimators": 8} if name == "random_forest" else {}
    given = make_problem(
        TYPES[name], output, architecture=architecture, settings={"epochs": 10, "early_stopping": None}
    )
    model = SklearnTrainer().train(
        given.task, given.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None
    )
    return model, given.data.features


@pytest.mark.parametrize(("name", "output"), KINDS)
def test_a_model_keeps_its_twin_when_it_is_stored(name, output, tmp_path):
    model, features = trained(name, output)
    SklearnStorage().save(model, tmp_path)
    loaded = SklearnLoader().load(tmp_path)
    assert isinstance(loaded, Portable)
    first, again = model.predictor().twin(), loaded.twin()
    assert first.graph == again.graph
    assert list(first.arrays) == list(again.arrays)
    assert [array.tobytes() for array in first.arrays.values()] == [array.tobytes() for array in again.arrays.values()]
    assert {array.dtype for array in first.arrays.values()} <= {np.dtype(np.float64), np.dtype(np.int32)}
    np.testing.assert_allclose(predicted(again, features), loaded.predict(features), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "output"), KINDS)
def test_equal_trainings_give_equal_twins(name, output):
    first, again = (trained(name, output)[0].predictor().twin() for _ in range(2))
    assert first.graph == again.graph
    assert [array.tobytes() for array in first.arrays.values()] == [array.tobytes() for array in again.arrays.values()]


@pytest.mark.parametrize(
    ("name", "seen", "kinds"),
    [
        ("logistic_regression", (0, 1, 2), ["dense", "softmax"]),
        ("logistic_regression", (0, 2), ["dense", "pair", "softmax", "spread"]),
        ("gradient_boosting", (0, 1, 2), ["trees", "softmax"]),
        ("gradient_boosting", (1, 2), ["trees", "pair", "softmax", "spread"]),
        ("random_forest", (0, 1, 2), ["trees"]),
        ("random_forest", (0, 1), ["trees", "spread"]),
    ],
)
def test_a_class_that_was_not_seen_stays_at_zero(name, seen, kinds):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(90, 2)).astype(np.float32), np.arange(90) % len(seen)
    estimator = {
        "logistic_regression": LogisticRegression(),
        "gradient_boosting": HistGradientBoostingClassifier(max_iter=3, early_stopping=False),
        "random_forest": RandomForestClassifier(5, random_state=0),
    }[name].fit(x, y)
    predictor = SklearnPredictor(estimator, name, "classification", 2, CLASSES[:3], seen)
    twin = predictor.twin()
    assert [node["kind"] for node in twin.graph["nodes"]] == kinds
    found = predicted(twin, x)
    np.testing.assert_allclose(found, predictor.predict(x), rtol=0, atol=1e-12)
    assert (found[:, sorted({0, 1, 2} - set(seen))] == 0).all()


def test_boosting_differs_by_no_bit_and_a_forest_neither():
    for name in ("gradient_boosting", "random_forest"):
        model, features = trained(name, "regression")
        predictor = model.predictor()
        np.testing.assert_array_equal(predicted(predictor.twin(), features), predictor.predict(features))


def test_a_twin_says_nothing_of_contributions():
    assert trained("logistic_regression")[0].predictor().twin().graph["average"] is None


def test_splits_by_category_are_refused():
    x = np.arange(80.0)[:, np.newaxis] % 4
    estimator = HistGradientBoostingRegressor(categorical_features=[0], max_iter=2).fit(x, x[:, 0] % 2)
    with pytest.raises(BadInputError, match=r"splits by category"):
        make_twin(estimator, "gradient_boosting", "regression", 1, 0, ())


def test_a_model_too_large_for_the_vocabulary_is_refused_with_the_reason():
    estimator = trained("random_forest", "regression")[0].predictor().estimator
    with pytest.raises(BadInputError, match=r"the model is too large for a portable twin"):
        make_twin(estimator, "random_forest", "regression", 100_001, 0, ())

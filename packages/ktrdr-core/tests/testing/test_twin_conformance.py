"""The kit's tests of predictions and twins, on a backend that keeps the promise, and wrong ones that each break it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference import FEATURES, Activation, Dense, Last, Scale, TwinGraph
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import EpochRecord, ModelType, PluginInfo, Rule, Twin
from ktrdr.core.testing import MLBackendConformance

AFFINE = ModelType(
    name="affine",
    description="A sum of the columns of the last row.",
    outputs=("regression",),
    architecture=(Parameter("rows", "int", 3, minimum=1),),
    window_parameter="rows",
)
AVERAGE = np.full(4, 0.5, np.float32)
FACTOR, OFFSET = 2.0, -0.25


@dataclass
class Predictor:
    """Every method is one that a wrong backend gets wrong."""

    weights: np.ndarray
    window: int
    loaded: bool = False
    twins = 0
    load_as = None

    @property
    def input_size(self):
        return len(self.weights) - 1

    def whole(self, features):
        found = np.zeros(len(features), dtype=bool)
        if len(features) >= self.window:
            good = np.isfinite(features).all(axis=1)
            found[self.window - 1 :] = np.lib.stride_tricks.sliding_window_view(good, self.window).all(axis=1)
        return found

    def predict(self, features):
        if features.shape[1] != self.input_size:
            raise BadInputError(f"the model takes {self.input_size} features")
        scores = np.where(np.isfinite(features), features, 0) @ self.weights[:-1] + self.weights[-1]
        return np.where(self.whole(features), scores.astype(np.float64) * FACTOR + OFFSET, np.nan)

    def contributions(self, features):
        parts = (features.astype(np.float64) - AVERAGE) * self.weights[:-1] * FACTOR
        return np.where(self.whole(features)[:, None], parts, np.nan)[:, :, None]

    def rules(self):
        return [Rule((("x", "low"),), 0.75, {"value": 0.5}, "if x is low then +0.5"),
                Rule((("x", "high"),), 0.25, {"value": -0.125}, "if x is high then -0.125")]  # fmt: skip

    def arrays(self):
        weights = np.ascontiguousarray(self.weights[None, :-1])
        return {"score.weights": weights, "score.bias": self.weights[-1:].copy(), "average": AVERAGE.copy()}

    def nodes(self):
        return (
            Last(name="last", input=FEATURES),
            Dense(name="score", input="last", weights="score.weights", bias="score.bias"),
            Scale(name="value", input="score", factor=FACTOR, offset=OFFSET),
        )

    def twin(self):
        arrays = self.arrays()
        average = "average" if "average" in arrays else None
        graph = TwinGraph(
            input_size=4, window=self.window, output="regression", outputs=1, nodes=self.nodes(), average=average
        )
        return Twin(graph.to_json(), arrays)


@dataclass
class Model:
    weights: np.ndarray
    kind: type[Predictor]
    history: Any = (EpochRecord(1, {"train_loss": 0.5}),)
    best_epoch: int = 1

    def predictor(self):
        return self.kind(self.weights, 3)


class Kit(MLBackendConformance):
    """The kit with this backend, whose trained and loaded predictors are ``kind``."""

    plugin = "toy"
    kind: type[Predictor] = Predictor

    @classmethod
    def _info(cls):
        return PluginInfo(name="toy", version="1", contract="2.2", model_types=(AFFINE,))

    @classmethod
    def _plugins(cls):
        return cls()

    def loader(self, name):
        return self

    def load(self, directory, device):
        return (self.kind.load_as or self.kind)(np.load(directory / "weights.npy"), 3, loaded=True)

    def _storage(self):
        return self

    def save(self, model, directory):
        np.save(directory / "weights.npy", model.weights)
        return {}

    def _trainer(self):
        return self

    def train(self, task, data, **rest):
        return Model(np.array([0.3, -0.2, 0.1, 0.05, 0.22], np.float32), self.kind)


def same(kit, path):
    kit.test_a_twin_is_the_same_each_time(AFFINE, "regression", path)


def predictions(kit, path):
    kit.test_a_twin_predicts_what_its_model_does(AFFINE, "regression", path)


def abilities(kit, path):
    kit.test_a_twin_has_the_abilities_of_its_model(AFFINE, "regression", path)


def shape(kit, path):
    kit.test_prediction_has_the_shape_the_contract_says(AFFINE, "regression")


TESTS = (same, predictions, abilities)


def kit_of(predictor):
    return type("Kit", (Kit,), {"kind": predictor})()


class WithoutAbilities(Predictor):
    """Neither contributions nor rules."""

    contributions = None
    rules = None

    def __getattribute__(self, name):
        if name in ("contributions", "rules"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    def arrays(self):
        return without_average(self)


def without_average(predictor):
    return {name: array for name, array in Predictor.arrays(predictor).items() if name != "average"}


@pytest.mark.parametrize("predictor", [Predictor, WithoutAbilities])
@pytest.mark.parametrize("test", [*TESTS, shape], ids=lambda test: test.__name__)
def test_a_backend_that_keeps_the_promise_passes(predictor, test, tmp_path):
    test(kit_of(predictor), tmp_path)


class WithoutTwin(Predictor):
    twin = None

    def __getattribute__(self, name):
        if name == "twin":
            raise AttributeError(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_a_backend_without_twins_is_not_tested_for_them(test, tmp_path):
    with pytest.raises(pytest.skip.Exception, match="the predictor of `affine` has no portable twin"):
        test(kit_of(WithoutTwin), tmp_path)


class WrongByALittle(Predictor):
    """The bias is wrong by 1e-5."""

    def arrays(self):
        found = super().arrays()
        return found | {"score.bias": found["score.bias"] + np.float32(1e-5)}


class WrongForOneColumn(Predictor):
    def arrays(self):
        found = super().arrays()
        return found | {"score.weights": found["score.weights"] + np.array([[0, 0, 0, 1e-5]], np.float32)}


class WrongFarAway(Predictor):
    """Scores of all samples are above 0."""

    def nodes(self):
        last, score, value = super().nodes()
        positive = Activation(name="positive", input="score", function="relu")
        return last, score, positive, value.model_copy(update={"input": "positive"})


class OneMoreNan(Predictor):
    """The row behind a gap is missing as well."""

    def whole(self, features):
        found = super().whole(features)
        found[1:] &= ~(~found[:-1] & (np.arange(1, len(found)) >= self.window))
        return found


class TakesInfinity(Predictor):
    def whole(self, features):
        return super().whole(np.where(np.isinf(features), 0, features))


class TooEarly(Predictor):
    """Predicts one row before the first window is complete."""

    def whole(self, features):
        found = super().whole(features)
        found[self.window - 2 : self.window - 1] = bool(np.isfinite(features[: self.window - 1]).all())
        return found


class AnotherWindow(Predictor):
    def twin(self):
        self.window -= 1
        try:
            return super().twin()
        finally:
            self.window += 1


class NoAverage(Predictor):
    """The twin has no contributions, the predictor has."""

    def arrays(self):
        return without_average(self)


class OnlyItsTwinExplains(WithoutAbilities):
    arrays = Predictor.arrays


class OtherContributions(Predictor):
    """Relative to another sample."""

    def contributions(self, features):
        return super().contributions(features) + 1e-4


class OtherRulesEachTime(Predictor):
    def rules(self):
        self.twins += 1
        return super().rules()[self.twins % 2 :]


class AnotherTwinEachTime(Predictor):
    def arrays(self):
        self.twins += 1
        found = super().arrays()
        return found | {"score.bias": found["score.bias"] + np.float32(1e-7 * self.twins)}


class OtherNamesEachTime(Predictor):
    def nodes(self):
        self.twins += 1
        last, score, value = super().nodes()
        return last, score, value.model_copy(update={"name": f"value{self.twins}"})


class LoadsAnotherTwin(Predictor):
    def arrays(self):
        found = super().arrays()
        return found | {"score.bias": found["score.bias"] + np.float32(1e-7 * self.loaded)}


class LoadsWithoutTwin(Predictor):
    load_as = WithoutTwin


class ChangedByItsTwin(Predictor):
    def twin(self):
        found = super().twin()
        self.weights = self.weights * np.float32(2)
        return found


class NoTwinAtAll(Predictor):
    def arrays(self):
        return super().arrays() | {"unused": np.zeros(3, np.float32)}


class NotFinite(Predictor):
    def arrays(self):
        return super().arrays() | {"score.bias": np.array([np.nan], np.float32)}


class OneArrayForAllCalls(Predictor):
    def predict(self, features):
        outputs = super().predict(features)
        self.kept = getattr(self, "kept", outputs)
        self.kept[:] = outputs
        return self.kept


WRONG = [
    (WrongByALittle, predictions),
    (WrongForOneColumn, predictions),
    (WrongFarAway, predictions),
    (OneMoreNan, predictions),
    (TakesInfinity, predictions),
    (TooEarly, predictions),
    (AnotherWindow, predictions),
    (NoAverage, abilities),
    (OnlyItsTwinExplains, abilities),
    (OtherContributions, abilities),
    (OtherRulesEachTime, abilities),
    (AnotherTwinEachTime, same),
    (OtherNamesEachTime, same),
    (LoadsAnotherTwin, same),
    (LoadsWithoutTwin, same),
    (ChangedByItsTwin, same),
    (NoTwinAtAll, predictions),
    (NotFinite, predictions),
    (OneArrayForAllCalls, shape),
]


@pytest.mark.parametrize(
    ("predictor", "test"), WRONG, ids=[f"{predictor.__name__}-{test.__name__}" for predictor, test in WRONG]
)
def test_a_backend_that_breaks_the_promise_fails(predictor, test, tmp_path):
    # A refusal of the twin is seen as what it is.
    with pytest.raises((AssertionError, BadInputError)):
        test(kit_of(predictor), tmp_path)

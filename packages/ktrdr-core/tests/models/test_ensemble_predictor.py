"""The average and the majority vote of an ensemble, against computations by hand and a slow reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.signals import decide
from ktrdr.core.models.ensemble_predictor import ensemble_predictor
from ktrdr.core.plugins.contract import Explainable, Predictor, Rule, RuleBased
from ktrdr.core.strategy.model import Decisions


@dataclass
class Fixed:
    """Predicts these outputs, whatever the features."""

    outputs: np.ndarray
    input_size: int = 2
    window: int = 1

    def predict(self, features):
        return self.outputs


@dataclass
class Explaining(Fixed):
    shares: np.ndarray | None = None

    def contributions(self, features):
        return self.shares


@dataclass
class Ruled(Fixed):
    weights: tuple[float, ...] = ()

    def rules(self):
        return [Rule((("rsi", "low"),), weight, {"BUY": weight}, f"rule {weight}") for weight in self.weights]


class Both(Explaining):
    def rules(self):
        return []


def members(*outputs):
    return [Fixed(np.array(each, dtype=np.float64)) for each in outputs]


FEATURES = np.zeros((2, 2), dtype=np.float32)


def test_the_average_by_hand():
    several = members([[0.5, 0.25, 0.25], [1, 0, 0]], [[0.25, 0.25, 0.5], [0, 1, 0]], [[0, 1, 0], [0, 0.5, 0.5]])
    found = ensemble_predictor(several, "average").predict(FEATURES)
    np.testing.assert_array_equal(found, [[0.25, 0.5, 0.25], [1 / 3, 0.5, 0.5 / 3]])
    assert found.dtype == np.float64


def test_the_average_of_values_by_hand():
    found = ensemble_predictor(members([1.0, -2.0], [2.0, 4.0]), "average").predict(FEATURES)
    np.testing.assert_array_equal(found, [1.5, 1.0])


def test_the_majority_by_hand():
    """Three of five members prefer BUY in the first row, though the average prefers SELL."""
    several = members(*[[[0.4, 0.3, 0.3], [0, 0, 1]]] * 3, *[[[0, 0, 1], [0, 1, 0]]] * 2)
    found = ensemble_predictor(several, "majority").predict(FEATURES)
    np.testing.assert_array_equal(found, [[0.6, 0, 0.4], [0, 0.4, 0.6]])
    assert ensemble_predictor(several, "average").predict(FEATURES)[0].argmax() == 2


def test_a_member_with_equally_probable_classes_divides_its_vote():
    several = members([[0.4, 0.2, 0.4], [1 / 3, 1 / 3, 1 / 3]], [[0, 1, 0], [0, 1, 0]])
    found = ensemble_predictor(several, "majority").predict(FEATURES)
    np.testing.assert_allclose(found, [[0.25, 0.5, 0.25], [1 / 6, 4 / 6, 1 / 6]], rtol=1e-15)


def test_a_tie_between_classes_gives_no_signal():
    several = members([[0.9, 0.1, 0], [0.9, 0.1, 0]], [[0, 0.1, 0.9], [0.8, 0.2, 0]])
    outputs = ensemble_predictor(several, "majority").predict(FEATURES)
    np.testing.assert_array_equal(decide(outputs, Decisions(confidence_threshold=0.0)).direction, [0, 1])


@pytest.mark.parametrize(("threshold", "signals"), [(0.5, 1), (0.6, 0), (0.599, 1)])
def test_a_threshold_compares_the_share_of_members(threshold, signals):
    """Three of five: above one half, and not above 0.6 itself."""
    several = members(*[[[0.4, 0.3, 0.3]]] * 3, *[[[0, 0, 1]]] * 2)
    outputs = ensemble_predictor(several, "majority").predict(FEATURES)
    assert decide(outputs, Decisions(confidence_threshold=threshold)).direction.sum() == signals


@pytest.mark.parametrize("vote", ["average", "majority"])
def test_a_row_without_the_prediction_of_a_member_has_none(vote):
    nan = np.nan
    several = members([[0.5, 0.5, 0], [nan, nan, nan]], [[0, 1, 0], [0, 1, 0]], [[0, nan, 0], [0, 1, 0]])
    assert np.isnan(ensemble_predictor(several, vote).predict(FEATURES)).all()
    assert np.isnan(ensemble_predictor(members([nan, 1.0], [1.0, 1.0]), "average").predict(FEATURES)).tolist() == [1, 0]


def slow(outputs, vote):
    """One row and one member after the other."""
    result = []
    for row in range(len(outputs[0])):
        total = [0.0] * 3
        for member in outputs:
            values = [float(value) for value in member[row]]
            if vote == "majority":
                best = [value == max(values) for value in values]
                values = [1 / sum(best) if is_best else 0.0 for is_best in best]
            total = [a + b for a, b in zip(total, values, strict=True)]
        result.append([value / len(outputs) for value in total])
    return np.array(result)


@st.composite
def probabilities(draw):
    """Members' outputs ``(members, rows, 3)``; many are tied."""
    number, rows = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    numbers = st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any)
    raw = np.array([[draw(numbers) for _ in range(rows)] for _ in range(number)], dtype=np.float64)
    return raw / raw.sum(axis=2, keepdims=True)


@given(probabilities(), st.sampled_from(["average", "majority"]))
def test_both_votes_agree_with_a_slow_reference_and_the_contract(outputs, vote):
    predictor = ensemble_predictor(members(*outputs), vote)
    found = predictor.predict(FEATURES)
    np.testing.assert_array_equal(found, slow(outputs, vote))
    np.testing.assert_array_equal(found, predictor.predict(FEATURES))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-14)
    assert ((found >= 0) & (found <= 1)).all()
    assert isinstance(predictor, Predictor)


@given(probabilities(), st.permutations([0, 1, 2]), st.sampled_from(["average", "majority"]))
def test_no_class_is_preferred(outputs, order, vote):
    found = ensemble_predictor(members(*outputs), vote).predict(FEATURES)
    np.testing.assert_array_equal(
        ensemble_predictor(members(*outputs[:, :, order]), vote).predict(FEATURES), found[:, order]
    )


@given(probabilities())
def test_equal_members_predict_like_one(outputs):
    found = ensemble_predictor(members(*[outputs[0]] * 4), "average").predict(FEATURES)
    np.testing.assert_array_equal(found, outputs[0])


def test_no_row_gives_no_row():
    for vote in ("average", "majority"):
        assert ensemble_predictor(members(np.zeros((0, 3))), vote).predict(FEATURES[:0]).shape == (0, 3)


def test_size_and_window_are_those_of_the_members():
    predictor = ensemble_predictor([Fixed(np.zeros(1), 5, 7), Fixed(np.zeros(1), 5, 7)], "average")
    assert (predictor.input_size, predictor.window) == (5, 7)


@pytest.mark.parametrize("other", [Fixed(np.zeros(1), 3, 1), Fixed(np.zeros(1), 2, 4)])
def test_members_of_other_shapes_are_refused(other):
    with pytest.raises(ValueError, match="one number of inputs and one window"):
        ensemble_predictor([Fixed(np.zeros(1)), other], "average")


def test_contributions_are_the_mean_and_sum_to_the_difference_of_the_means():
    random = np.random.default_rng(4)
    shares = random.normal(size=(5, 2, 3, 3))
    average = random.normal(size=(5, 3))
    several = [Explaining(each.sum(axis=1) + base, shares=each) for each, base in zip(shares, average, strict=True)]
    predictor = ensemble_predictor(several, "average")
    assert isinstance(predictor, Explainable)
    found = predictor.contributions(FEATURES)
    np.testing.assert_allclose(found, shares.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        found.sum(axis=1), predictor.predict(FEATURES) - average.mean(axis=0), rtol=1e-9, atol=1e-12
    )


def test_contributions_are_missing_where_a_member_has_none():
    shares = np.ones((2, 2, 3, 3))
    shares[1, 0, 1, 2] = np.nan
    several = [Explaining(np.zeros((2, 3)), shares=each) for each in shares]
    found = ensemble_predictor(several, "average").contributions(FEATURES)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], 1)


def test_a_majority_is_not_explained_because_votes_are_no_sum():
    several = [Explaining(np.zeros((2, 3)), shares=np.ones((2, 2, 3)))] * 3
    assert not isinstance(ensemble_predictor(several, "majority"), Explainable)
    assert ensemble_predictor(several, "majority").vote_hides_contributions
    assert not ensemble_predictor(several, "average").vote_hides_contributions
    assert not ensemble_predictor([*several, *members([[0.5, 0.5]])], "majority").vote_hides_contributions


@pytest.mark.parametrize(
    ("kinds", "explains", "ruled"),
    [
        ((Fixed, Fixed), False, False),
        ((Explaining, Explaining), True, False),
        ((Explaining, Fixed), False, False),
        ((Ruled, Ruled), False, True),
        ((Ruled, Fixed), False, False),
        ((Both, Both), True, True),
        ((Both, Explaining), True, False),
        ((Both, Ruled), False, True),
    ],
)
def test_an_ensemble_has_the_abilities_that_all_members_have(kinds, explains, ruled):
    predictor = ensemble_predictor([kind(np.zeros((2, 3))) for kind in kinds], "average")
    assert (isinstance(predictor, Explainable), isinstance(predictor, RuleBased)) == (explains, ruled)


def test_rules_of_all_members_are_pooled_with_a_share_of_their_weight():
    several = [Ruled(np.zeros((2, 3)), weights=(0.7, 0.3)), Ruled(np.zeros((2, 3)), weights=(0.5, 0.5))]
    for vote in ("average", "majority"):
        rules = ensemble_predictor(several, vote).rules()
        assert [rule.text for rule in rules] == [
            "member 1: rule 0.7", "member 2: rule 0.5", "member 2: rule 0.5", "member 1: rule 0.3",
        ]  # fmt: skip
        assert [rule.weight for rule in rules] == [0.35, 0.25, 0.25, 0.15]
        assert rules[0].outputs == {"BUY": 0.7}
        assert rules[0].conditions == (("rsi", "low"),)

"""Prediction of an ensemble: its members' predictors as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, cast

import numpy as np

from ktrdr.core.plugins.contract import Explainable, Predictor, Rule, RuleBased

__all__ = ["EnsemblePredictor", "ensemble_predictor"]


class EnsemblePredictor:
    """Predicts with all members and combines their outputs, in the order of the members.

    Args:
        members: predictors of equal ``input_size``, ``window`` and kind of output; at least one.
        vote: ``average``, or for classification ``majority``.

    Raises:
        ValueError: the members do not fit together.
    """

    def __init__(self, members: Sequence[Predictor], vote: Literal["average", "majority"]) -> None:
        shapes = {(member.input_size, member.window) for member in members}
        if len(shapes) != 1:
            raise ValueError(f"members of an ensemble have one number of inputs and one window, not {sorted(shapes)}")
        self._members = tuple(members)
        self._vote = vote

    @property
    def input_size(self) -> int:
        """Number of feature columns, of every member."""
        return self._members[0].input_size

    @property
    def window(self) -> int:
        """Number of rows that one prediction uses, of every member."""
        return self._members[0].window

    @property
    def vote_hides_contributions(self) -> bool:
        """True if an average of the same members would have contributions, and their majority vote has none."""
        return self._vote == "majority" and all(isinstance(member, Explainable) for member in self._members)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict for every row of float32 ``(n, features)``, consecutive bars of one symbol.

        Returns:
            float64 ``(n, classes)``: the mean of the members' probabilities, or of a majority vote the share of members
            that find each class the most probable, where a member with several equally probable classes divides its
            vote among them; or float64 ``(n,)``, the mean of the members' values. NaN in every row in which a member
            gives NaN.
        """
        outputs = (member.predict(features) for member in self._members)
        return _mean(map(_ballots, outputs) if self._vote == "majority" else outputs)


class _Explainable(EnsemblePredictor):
    """An average of members that explain their predictions."""

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Return the mean of the members' contributions, float64 ``(n, features, outputs)``.

        Those of a member sum to its prediction minus the one for the average training sample, so their means sum to the
        difference between the means. NaN where the prediction is NaN.
        """
        return _mean(cast(Explainable, member).contributions(features) for member in self._members)


class _RuleBased(EnsemblePredictor):
    """Members with rules."""

    def rules(self) -> Sequence[Rule]:
        """Return the rules of all members, sorted by weight, the largest first.

        Each says which member it belongs to. The weights are divided by the number of members, so that they sum to 1.
        """
        found = [
            replace(rule, weight=rule.weight / len(self._members), text=f"member {number}: {rule.text}")
            for number, member in enumerate(self._members, 1)
            for rule in cast(RuleBased, member).rules()
        ]
        return sorted(found, key=lambda rule: -rule.weight)


class _ExplainableRuleBased(_Explainable, _RuleBased):
    """An average of members that explain their predictions and have rules."""


def ensemble_predictor(members: Sequence[Predictor], vote: Literal["average", "majority"]) -> EnsemblePredictor:
    """Return a predictor that combines those of the members.

    It has the optional abilities that all members have, except that a majority vote is not
    :class:`~ktrdr.core.plugins.Explainable`: a share of votes is no sum of the effects of the features.

    Args:
        members: predictors of equal ``input_size``, ``window`` and kind of output; at least one.
        vote: ``average``, or for classification ``majority``.

    Raises:
        ValueError: the members do not fit together.
    """
    explains = vote == "average" and all(isinstance(member, Explainable) for member in members)
    ruled = all(isinstance(member, RuleBased) for member in members)
    kinds = {(False, False): EnsemblePredictor, (True, False): _Explainable, (False, True): _RuleBased}
    return kinds.get((explains, ruled), _ExplainableRuleBased)(members, vote)


def _ballots(probabilities: np.ndarray) -> np.ndarray:
    """Return the vote of one member in each row, float64 ``(n, classes)``; its sum is 1, or NaN."""
    most = probabilities.max(axis=1, keepdims=True)
    best = (probabilities == most).astype(np.float64)
    best[np.isnan(most[:, 0])] = np.nan
    votes: np.ndarray = best / best.sum(axis=1, keepdims=True)
    return votes


def _mean(outputs: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean of arrays of one shape, NaN in every row (of the first axis) in which one of them has a NaN."""
    total: np.ndarray = np.zeros(1)
    number = 0
    for output in outputs:
        total = total + output
        number += 1
    total = total / number
    total[np.isnan(total).any(axis=tuple(range(1, total.ndim)))] = np.nan
    return total

"""Whether an evaluation shows an edge, and the sentences that say so: each follows from the numbers alone."""

from __future__ import annotations

from typing import Any

import pytest

from ktrdr.core.validation.edge import LEVEL, Edge, edge_of, edge_sentence
from ktrdr.core.validation.evaluation_result import EvaluationFacts, Interval, PathResult
from ktrdr.core.validation.evaluation_sentences import prediction_sentence

GOOD = {
    "mcc": (0.2, 0.1, 0.3),
    "log_loss": (0.65, 0.64, 0.66),
    "sharpe": 2.0,
    "probabilistic_sharpe": 0.99,
    "hold": 1.0,
}
# A condition that fails, and which one it is.
BROKEN = [
    ({"mcc": (0.03, -0.01, 0.06)}, 0),
    ({"mcc": (0.03, 0.0, 0.06)}, 0),
    ({"mcc": (0.03, None, None)}, 0),
    ({"log_loss": (0.69, 0.68, 0.70)}, 1),
    ({"log_loss": (0.71, 0.70, 0.72)}, 1),
    ({"log_loss": (0.65, None, None)}, 1),
    ({"probabilistic_sharpe": 1 - LEVEL - 1e-6}, 2),
    ({"probabilistic_sharpe": None}, 2),
    ({"hold": 2.0}, 3),
    ({"hold": 3.0}, 3),
]


def facts_of(**changed: Any) -> EvaluationFacts:
    """Facts of a classification with an edge, but for what is changed; the majority class has a log loss of 0.7."""
    given = {**GOOD, **changed}
    metrics = {name: interval(*given[name]) for name in ("mcc", "log_loss")}
    account = {"sharpe": given["sharpe"], "probabilistic_sharpe": given["probabilistic_sharpe"]}
    other = {"sharpe": 100.0, "probabilistic_sharpe": 1.0}
    return EvaluationFacts.model_construct(
        output="classification",
        metrics={"accuracy": Interval(value=0.6), **metrics},
        baselines={"majority": {"accuracy": 0.5, "log_loss": 0.7}},
        paths=(PathResult(path=1, seed=4, metrics=other), PathResult(path=1, seed=5, metrics=account)),
        median_path=(1, 5),
        buy_and_hold={"sharpe": given["hold"]},
    )


def interval(value: float, low: float | None, high: float | None) -> Interval:
    return Interval(value=value, low=low, high=high)


def met(edge: Edge) -> list[bool]:
    return [condition.met for condition in edge.conditions]


def test_an_edge_is_found_if_every_condition_is_met() -> None:
    edge = edge_of(facts_of())
    assert (edge.found, met(edge)) == (True, [True] * 4)
    told = edge.to_json()
    assert (told["found"], told["level"]) == (True, 0.05)
    assert told["conditions"][1] == {
        "measure": "log loss",
        "found": "0.650 (0.640 to 0.660)",
        "needed": "below 0.700",
        "rival": "majority class",
        "met": True,
    }


@pytest.mark.parametrize(("changed", "which"), BROKEN)
def test_one_condition_that_is_not_met_is_enough(changed: dict[str, Any], which: int) -> None:
    edge = edge_of(facts_of(**changed))
    assert not edge.found
    assert met(edge) == [number != which for number in range(4)]


def test_an_account_that_never_trades_has_no_edge() -> None:
    edge = edge_of(facts_of(sharpe=None, probabilistic_sharpe=None))
    assert met(edge) == [True, True, False, False]
    assert [condition.found for condition in edge.conditions[2:]] == ["-", "-"]


def test_a_regression_is_judged_by_its_own_metrics() -> None:
    base = facts_of()
    metrics = {"information_coefficient": interval(0.1, 0.05, 0.2), "rmse": interval(0.9, 0.8, 0.99)}
    changed = {"output": "regression", "metrics": metrics, "baselines": {"mean": {"rmse": 1.0}}}
    assert edge_of(base.model_copy(update=changed)).found
    worse = {**changed, "baselines": {"mean": {"rmse": 0.95}}}
    assert met(edge_of(base.model_copy(update=worse))) == [True, False, True, True]
    assert "not shown to be better than a constant, although information coefficient" in prediction_sentence(
        base.model_copy(update=worse)
    )


@pytest.mark.parametrize(
    ("account", "hold", "known", "said"),
    [
        ((0.1, 2.0), (0.0, 0.5), True, "The edge of X was found, and traded with profit out of sample."),
        ((0.1, 2.0), (0.0, 0.5), False, "An edge was found in X, and traded with profit out of sample."),
        ((-0.1, -2.0), (-0.2, -3.0), True, "The edge of X was found, but the later bars do not confirm it."),
        ((0.1, 2.0), (0.3, 2.5), False, "An edge was found in X, but the later bars do not confirm it."),
        ((0.0, None), (0.3, 2.5), False, "An edge was found in X, but the later bars do not confirm it."),
    ],
)
def test_the_sentence_on_an_edge_follows_from_the_backtest(
    account: tuple[float, float | None], hold: tuple[float, float], known: bool, said: str
) -> None:
    own, other = ({"total_return": total, "sharpe": sharpe} for total, sharpe in (account, hold))
    assert edge_sentence("X", edge_of(facts_of()), own, other, known=known) == said


@pytest.mark.parametrize(
    ("changed", "known", "said"),
    [
        ({"hold": 3.0}, False, "No edge was found in X: 1 of 4 conditions is not met."),
        (
            {"hold": 3.0, "mcc": (0.0, -0.1, 0.1)},
            True,
            "The edge of X was not found: 2 of 4 conditions are not met.",
        ),
    ],
)
def test_no_profit_makes_up_for_an_evaluation_without_an_edge(changed: dict[str, Any], known: bool, said: str) -> None:
    rich, poor = {"total_return": 9.0, "sharpe": 9.0}, {"total_return": 0.0, "sharpe": 0.0}
    assert edge_sentence("X", edge_of(facts_of(**changed)), rich, poor, known=known) == said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "The predictions are better than the majority class: MCC 0.200 (90% interval 0.100 to 0.300;"),
        (
            {"log_loss": (0.71, 0.70, 0.72)},
            "The predictions are not shown to be better than the majority class, although",
        ),
        (
            {"log_loss": (0.69, 0.68, 0.70)},
            "The predictions are not shown to be better than the majority class, although",
        ),
        (
            {"mcc": (0.0, -0.1, 0.1)},
            "The predictions cannot be told from chance: MCC 0.000 (90% interval -0.100 to 0.100;",
        ),
        ({"mcc": (-0.2, -0.3, -0.1)}, "The predictions are worse than chance: MCC -0.200"),
        ({"mcc": (0.2, None, None)}, "The samples are too few to tell the predictions from chance: MCC 0.200 (the"),
    ],
)
def test_the_predictions_are_better_only_if_their_probabilities_are(changed: dict[str, Any], said: str) -> None:
    sentence = prediction_sentence(facts_of(**changed))
    assert sentence.startswith(said)
    assert sentence.endswith(" beside 0.700, accuracy 60.0% beside 50.0%.")

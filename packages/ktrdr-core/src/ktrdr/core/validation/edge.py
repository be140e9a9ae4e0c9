"""Whether an evaluation shows an edge: conditions that must all be met.

The first two are bounds of a 90 % interval on one side, the third is a probability; each has the nominal level
:data:`LEVEL`. No bound for all together follows from that: the intervals leave out how much the trained models differ,
and the accounts of the paths share bars and models. How often chance meets all conditions was measured by simulation
(``benchmarks/edge_rule.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.backtesting.metrics import format_metric, worse_than
from ktrdr.core.validation.evaluation_result import EvaluationFacts, Interval
from ktrdr.core.validation.evaluation_sentences import SCORES, format_score, interval_in_words, is_below, median_account

__all__ = ["LEVEL", "Edge", "EdgeCondition", "edge_of", "edge_sentence"]

LEVEL = 0.05
"""Nominal level of each of the first three conditions alone; not a share of false alarms."""


@dataclass(frozen=True, slots=True)
class EdgeCondition:
    """One condition.

    Attributes:
        measure: name of the metric.
        found: its value in words, with the interval if there is one.
        needed: the values that meet the condition, in words.
        rival: what a model that meets the condition is better than.
        met: True if it is met.
    """

    measure: str
    found: str
    needed: str
    rival: str
    met: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """Conditions of an edge, as an evaluation meets them.

    Attributes:
        conditions: all that must be met.
    """

    conditions: tuple[EdgeCondition, ...]

    @property
    def found(self) -> bool:
        """True if every condition is met."""
        return all(condition.met for condition in self.conditions)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "found": self.found,
            "level": LEVEL,
            "conditions": [
                {name: getattr(condition, name) for name in ("measure", "found", "needed", "rival", "met")}
                for condition in self.conditions
            ],
        }


def edge_of(facts: EvaluationFacts) -> Edge:
    """Return which conditions of an edge an evaluation meets.

    Predictions must be better than chance (MCC of a classification, the information coefficient of a regression), and
    closer to the truth than a constant (log loss, RMSE). The account with the median of the Sharpe ratios must have a
    ratio above 0 that is no luck, and above that of buy and hold, after costs.

    Args:
        facts: facts of the evaluation.
    """
    classes = facts.output == "classification"
    skill, loss = ("mcc", "log_loss") if classes else ("information_coefficient", "rmse")
    rival, constant = ("majority", "majority class") if classes else ("mean", "a constant")
    account, hold = median_account(facts).metrics, facts.buy_and_hold.get("sharpe")
    sure, sharpe = account.get("probabilistic_sharpe"), account.get("sharpe")
    above, below = facts.metrics[skill], facts.metrics[loss]
    other = facts.baselines.get(rival, {}).get(loss)
    return Edge(
        (
            EdgeCondition(
                SCORES[skill], _found(skill, above), "above 0", "chance", above.low is not None and above.low > 0
            ),
            EdgeCondition(
                SCORES[loss],
                _found(loss, below),
                f"below {format_score(loss, other)}",
                constant,
                is_below(below, other),
            ),
            EdgeCondition(
                "P(Sharpe > 0)",
                format_metric("probabilistic_sharpe", sure),
                f"{1 - LEVEL:.0%} or more",
                "luck",
                sure is not None and sure >= 1 - LEVEL,
            ),
            EdgeCondition(
                "median Sharpe",
                format_metric("sharpe", sharpe),
                f"above {format_metric('sharpe', hold)}",
                "buy and hold",
                sharpe is not None and (hold is None or worse_than("sharpe", hold, sharpe)),
            ),
        )
    )


def edge_sentence(
    market: str, edge: Edge, account: Mapping[str, Any], hold: Mapping[str, Any], *, known: bool = False
) -> str:
    """Return whether an edge was found, and whether trading bars after those of the evaluation confirms it.

    Args:
        market: name of the market.
        edge: conditions of the evaluation.
        account: metrics of the backtest on the later bars.
        hold: those of buy and hold there.
        known: True if the market has an edge by construction.
    """
    subject = f"The edge of {market} was" if known else f"An edge was found in {market}"
    if not edge.found:
        missed = sum(not condition.met for condition in edge.conditions)
        subject = f"{subject} not found" if known else f"No edge was found in {market}"
        verb = "is" if missed == 1 else "are"
        return f"{subject}: {missed} of {len(edge.conditions)} conditions {verb} not met."
    subject += " found" if known else ""
    if account["total_return"] > 0 and worse_than("sharpe", hold["sharpe"], account["sharpe"]):
        return f"{subject}, and traded with profit out of sample."
    return f"{subject}, but the later bars do not confirm it."


def _found(name: str, interval: Interval) -> str:
    bounds = interval_in_words(name, interval)
    return format_score(name, interval.value) + (f" ({bounds})" if bounds else "")

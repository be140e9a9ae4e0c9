"""The rule of a verdict: from the evidence to one of four words.

- INVALID: a check of validity found something. No result out of sample is looked at.
- EDGE: every condition of :func:`~ktrdr.core.verdicts.edge_conditions.conditions_of_edge` is met.
- NONE: the median account has enough trades, and the upper end of the 90 % interval of its annual Sharpe ratio after
  costs is below 1.0.
- NOT PROVEN: everything else.

They are asked in this order. No setting turns NOT PROVEN into EDGE: the limits are constants, more null worlds or
seeds measure the same more exactly, worse evidence never gives a better word, and less of it never gives EDGE.
Superior ability, overfitting, permuted entries, baselines, the delay and linear worlds are shown only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktrdr.core.limits import FEWEST_TRADES, NULL_WORLDS
from ktrdr.core.short_texts import counted
from ktrdr.core.verdicts.edge_conditions import conditions_of_edge
from ktrdr.core.verdicts.evidence import Evidence
from ktrdr.core.verdicts.figures_beside import beside
from ktrdr.core.verdicts.null_evidence import FAMILIES
from ktrdr.core.verdicts.verdict_result import Condition, Deflation, ValidityFinding, Word

__all__ = ["WORTHWHILE_SHARPE", "Ruling", "rule"]

WORTHWHILE_SHARPE = 1.0
"""Annual Sharpe ratio after costs below which a strategy is not worth trading: if all of its interval lies below, there
is no edge."""

# What an account that never trades has none of: one reason says so, instead of six. Beside the null worlds it has no
# ratio that could be higher, so advice about p-values would mislead.
_FROM_TRADES = ("profit", "deflated_sharpe", "track_record", *(f"null_{family}" for family in FAMILIES))


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict.

    Attributes:
        word: the verdict in one word.
        sentence: the verdict as one sentence.
        conditions: the conditions of an edge; empty if the verdict is INVALID.
        reasons: why it is not EDGE, each with what would change it; empty for EDGE. If it is INVALID, the sentence
            of a reason says both.
    """

    word: Word
    sentence: str
    conditions: tuple[Condition, ...]
    reasons: tuple[Condition, ...]


def rule(evidence: Evidence) -> Ruling:
    """Return the verdict on the evidence.

    Args:
        evidence: what was found.

    Returns:
        The word, with its sentence, conditions and reasons.
    """
    faults = tuple(_fault(finding) for finding in evidence.validity if not finding.clean)
    if faults:
        return Ruling("INVALID", _invalid(faults), (), faults)
    conditions = conditions_of_edge(evidence)
    unmet = tuple(condition for condition in conditions if not condition.met)
    if not unmet:
        return Ruling("EDGE", _edge(evidence, conditions), conditions, ())
    if not evidence.trades:
        unmet = tuple(condition for condition in unmet if condition.name not in _FROM_TRADES)
        unmet = tuple(sorted(unmet, key=lambda condition: condition.name != "trades"))
    found = evidence.deflation
    # Few trades may all have lost by bad luck: their interval knows nothing of the profits that did not come.
    if found is not None and found.high < WORTHWHILE_SHARPE and evidence.trades >= FEWEST_TRADES:
        below = _below(found)
        return Ruling("NONE", _none(found), conditions, (below, *unmet))
    return Ruling("NOT PROVEN", _not_proven(evidence, unmet, conditions), conditions, unmet)


def _fault(finding: ValidityFinding) -> Condition:
    return Condition(
        name=finding.check,
        title=finding.title,
        met=False,
        # The sentence of a finding carries its remedy.
        sentence=finding.sentence.removesuffix("."),
    )


def _below(found: Deflation) -> Condition:
    return Condition(
        name="worthwhile",
        title="worth trading",
        met=False,
        sentence=f"the 90% interval of the Sharpe ratio after costs, {_interval(found)}, ends below"
        f" {WORTHWHILE_SHARPE:.1f}",
        change="other inputs, labels or decisions may do better; longer data make the interval narrower, not higher",
    )


def _interval(found: Deflation) -> str:
    return f"{found.low:.2f} to {beside(found.high, WORTHWHILE_SHARPE)}"


def _edge(evidence: Evidence, conditions: Sequence[Condition]) -> str:
    found = evidence.deflation
    ratio = "" if found is None else f" of {found.sharpe:.2f}"
    # Few worlds tell less, and the word alone does not show how many there were.
    quick = any(len(worlds.values) < NULL_WORLDS for worlds in evidence.nulls)
    form = " in the quick form; ask for the full form, without `--quick`, before you trade" if quick else ""
    return (
        f"Neither chance nor the number of trials explains the Sharpe ratio{ratio} after costs: all"
        f" {len(conditions)} conditions of an edge are met{form}."
    )


def _not_proven(evidence: Evidence, unmet: Sequence[Condition], conditions: Sequence[Condition]) -> str:
    if not evidence.trades:
        return "An edge is not proven: the median account never trades."
    are = "is" if len(unmet) == 1 else "are"
    return (
        f"An edge is not proven: {len(unmet)} of {len(conditions)} conditions {are} not met"
        f" ({', '.join(condition.title for condition in unmet)})."
    )


def _none(found: Deflation) -> str:
    return (
        f"There is no edge worth trading: the Sharpe ratio after costs is {found.sharpe:.2f}, and its 90% interval ends"
        f" at {beside(found.high, WORTHWHILE_SHARPE)}, below {WORTHWHILE_SHARPE:.1f}."
    )


def _invalid(faults: Sequence[Condition]) -> str:
    return (
        f"No result was looked at, because {counted(len(faults), 'check')} of the data and the strategy found a fault:"
        f" {', '.join(fault.title for fault in faults)}."
    )

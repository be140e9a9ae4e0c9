"""The conditions of an edge: each with what was found, and what would change it.

None of them has a setting. Every condition has to be met, so none of the limits is corrected for their number: the
probability that all of them are met by luck is not above that of one. R. L. Berger, "Multiparameter Hypothesis Testing
and Acceptance Sampling" (Technometrics, 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ktrdr.core.limits import FEWEST_TRADES, NULL_WORLDS
from ktrdr.core.short_texts import counted
from ktrdr.core.verdicts.deflation import LEAST_PROBABILITY
from ktrdr.core.verdicts.evidence import Evidence
from ktrdr.core.verdicts.figures_beside import beside, probability_beside
from ktrdr.core.verdicts.null_evidence import FAMILIES, Family, at_least_as_good
from ktrdr.core.verdicts.verdict_result import Condition, Deflation, NullWorlds, ValidityFinding

__all__ = ["LARGEST_P", "conditions_of_edge", "mark_to_beat"]

LARGEST_P = 0.05
"""Largest p-value of a family of null worlds with which there is an edge."""

_P = f"{LARGEST_P:.0%}"
_NO_RATIO = "it can be told of an account whose equity changes over 20 bars or more"


def conditions_of_edge(evidence: Evidence) -> tuple[Condition, ...]:
    """Return every condition of an edge, in the order in which they are shown.

    Args:
        evidence: what was found.

    Returns:
        The conditions. What is not known is not met.
    """
    by_family = {worlds.family: worlds for worlds in evidence.nulls}
    return (
        _validity(evidence.validity),
        _costs(evidence.paid),
        _trades(evidence.trades),
        _profit(evidence.total_return, evidence.trades),
        *(_null_worlds(family, by_family.get(family)) for family in FAMILIES),
        _deflated(evidence.deflation),
        _track_record(evidence.deflation),
        *([] if evidence.reserve_return is None else [_reserve(evidence.reserve_return)]),
    )


def mark_to_beat(worlds: NullWorlds) -> float | None:
    """Return the Sharpe ratio above which the p-value of a family is small enough for an edge.

    Args:
        worlds: the family.

    Returns:
        The largest ratio that too many worlds reach; ``None`` if no ratio would do, because the worlds are too few.
    """
    # The tolerance is for rounding: 0.05 times 100 may be below 5.
    allowed = math.floor(LARGEST_P * (1 + len(worlds.values)) + 1e-9) - 1
    if allowed < 0:
        return None
    # A world whose training failed counts as at least as good as any ratio.
    values = [math.inf if value is None else value for value in worlds.values]
    mark = sorted(values, reverse=True)[allowed]
    return mark if math.isfinite(mark) else None


def _validity(findings: Sequence[ValidityFinding]) -> Condition:
    faults = [finding.title for finding in findings if not finding.clean]
    checks = counted(len(findings), "check")
    if faults:
        met, sentence, change = False, f"found: {', '.join(faults)}", "mend what was found, and ask again"
    elif findings:
        met, sentence, change = True, f"{checks} of data, features and labels found nothing", ""
    else:
        met, sentence, change = None, "data, features and labels were not checked", "a new verdict checks them"
    found = counted(len(faults), "fault") if faults else f"0 in {checks}" if findings else ""
    return Condition(
        name="validity", title="no fault", met=met, sentence=sentence, change=change, found=found, needed="0"
    )


def _costs(paid: float) -> Condition:
    met = paid > 0
    figure = beside(paid, 0, "%", 3)
    return Condition(
        name="costs",
        title="costs above zero",
        met=met,
        sentence=f"commission and slippage are {figure} of the traded value per side"
        if met
        else "commission and slippage are zero, and nobody trades for nothing",
        change="" if met else "set `commission` and `slippage` to what your broker and your market take",
        found=figure if met else "0%",
        needed="above 0%",
    )


def _trades(trades: int) -> Condition:
    met = trades >= FEWEST_TRADES
    if not trades:
        sentence = "the median account never trades, so there is nothing to judge"
        change = "relax `decisions`: the confidence threshold, the cost model or the filters"
    else:
        sentence = f"the median account has {counted(trades, 'trade')}"
        change = f"{FEWEST_TRADES} are needed: from longer data, or from decisions that trade more often"
    return Condition(
        name="trades",
        title="enough trades",
        met=met,
        sentence=sentence,
        change="" if met else change,
        found=f"{trades:,}",
        needed=f"at least {FEWEST_TRADES}",
    )


def _profit(total: float | None, trades: int) -> Condition:
    met = None if total is None or not trades else total > 0
    figure = "" if total is None else beside(total, 0, "%", 1)
    if not trades:
        sentence = "the median account has no trade to earn from"
    elif total is None:
        sentence = "the profit of the median account is not known"
    elif total == 0:
        sentence = "the median account ends where it began, after costs"
    else:
        sentence = f"the median account {'earns' if met else 'loses'} {figure.lstrip('-')} after costs"
    return Condition(
        name="profit",
        title="profit after costs",
        met=met,
        sentence=sentence,
        change="" if met else "it has to end above its capital: by better signals, or by trades that cost less",
        found=figure,
        needed="above 0%",
    )


def _reserve(total: float) -> Condition:
    met = total > 0
    figure = beside(total, 0, "%", 1)
    return Condition(
        name="reserve",
        title="profit on the reserve",
        met=met,
        sentence="on the opened reserve, bars that nothing was trained or chosen on, the account "
        + (f"earns {figure}" if met else f"does not earn: {figure}")
        + " after costs",
        change="" if met else "the reserve is opened now: only bars that are still to come can speak against it",
        found=figure,
        needed="above 0%",
    )


def _null_worlds(family: Family, worlds: NullWorlds | None) -> Condition:
    name, title, needed = f"null_{family}", f"beats chance ({FAMILIES[family]})", f"at most {_P}"
    if worlds is None:
        return Condition(
            name=name,
            title=title,
            met=None,
            sentence="the training was not repeated on null worlds: copies of the bars whose direction is random",
            change="a verdict that runs to its end repeats it",
            needed=needed,
        )
    met = worlds.p <= LARGEST_P
    count = len(worlds.values)
    as_good = at_least_as_good(worlds.observed, worlds.values)
    figure = f"p = {beside(worlds.p, LARGEST_P, '%', 1)}"
    smallest = "" if as_good else f", the smallest that {count:,} can show"
    return Condition(
        name=name,
        title=title,
        met=met,
        sentence=f"the same training did as well on {as_good:,} of {counted(count, 'null world')}: copies of the bars"
        f" whose direction is random ({figure}{smallest})",
        change="" if met else _how_to_beat(worlds),
        found=figure,
        needed=needed,
    )


def _how_to_beat(worlds: NullWorlds) -> str:
    mark = mark_to_beat(worlds)
    if mark is None:
        if None in worlds.values:
            return "the training fails on too many null worlds: lower `training.learning_rate`, or use longer data"
        return f"p can be {_P} from {math.ceil(1 / LARGEST_P) - 1} null worlds on"
    full = f", and the full form, without `--quick`, tells it more exactly with its {NULL_WORLDS} null worlds"
    exact = full if len(worlds.values) < NULL_WORLDS else ""
    return (
        f"p is at most {_P} for a Sharpe ratio above {beside(mark, worlds.observed)}, and that training has"
        f" {beside(worlds.observed, mark)} on the real bars, with the folds of the null worlds, which may be fewer than"
        f" those of the evaluation, so it may differ from that of the median account; longer data lower that mark"
        f"{exact}"
    )


def _deflated(found: Deflation | None) -> Condition:
    name, title, needed = "deflated_sharpe", "deflated Sharpe ratio", f"at least {LEAST_PROBABILITY:.0%}"
    if found is None:
        return Condition(
            name=name,
            title=title,
            met=None,
            sentence="the median account has no Sharpe ratio to deflate",
            change=_NO_RATIO,
            needed=needed,
        )
    met = found.probability >= LEAST_PROBABILITY
    figure = probability_beside(found.probability, LEAST_PROBABILITY)
    several = found.trials > 1
    rival = f"{found.expected_best:.2f}, the best of {found.trials:,} trials without an edge" if several else "0"
    change = f"{LEAST_PROBABILITY:.0%} are needed: a higher ratio and longer data raise it"
    return Condition(
        name=name,
        title=title,
        met=met,
        sentence=f"with a probability of {figure} the true Sharpe ratio is above {rival}",
        change="" if met else f"{change}{', and trials that were made stay counted' if several else ''}",
        found=figure,
        needed=needed,
    )


def _track_record(found: Deflation | None) -> Condition:
    name, title = "track_record", "enough data"
    if found is None:
        return Condition(
            name=name,
            title=title,
            met=None,
            sentence="without a Sharpe ratio the length of data that is needed is not known",
            change=_NO_RATIO,
        )
    needed, ratio = found.needed_years, beside(found.sharpe, found.expected_best)
    if needed is None:
        return Condition(
            name=name,
            title=title,
            met=False,
            sentence=f"{found.years:.2f} years of data, and no length of data would be enough for a Sharpe ratio of"
            f" {ratio} with {counted(found.trials, 'trial')}",
            change=f"the ratio has to be clearly above {found.expected_best:.2f}",
            found=f"{found.years:.2f} years",
            needed="no length does",
        )
    met = found.years >= needed
    have, figure = f"{beside(found.years, needed)} years", f"{beside(needed, found.years)} years"
    change = f"with {counted(found.trials, 'trial')} {figure} are needed for a Sharpe ratio of {found.sharpe:.2f}"
    return Condition(
        name=name,
        title=title,
        met=met,
        sentence=f"{have} of data{f'; {change}' if met else ''}",
        change="" if met else change,
        found=have,
        needed=figure,
    )

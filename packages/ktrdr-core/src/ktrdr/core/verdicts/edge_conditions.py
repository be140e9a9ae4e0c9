"""The conditions of an edge: each with what was found, and what would change it.

None of them has a setting. Every condition has to be met, so none of the limits is corrected for their number: the
probability that all of them are met by luck is not above that of one. R. L. Berger, "Multiparameter Hypothesis Testing
and Acceptance Sampling" (Technometrics, 1982), intersection-union test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ktrdr.core.limits import FEWEST_TRADES, FEWEST_WORLDS
from ktrdr.core.short_texts import counted
from ktrdr.core.verdicts.evidence import Evidence
from ktrdr.core.verdicts.figures_beside import beside
from ktrdr.core.verdicts.verdict_result import Condition, Deflation, NullWorlds, ValidityFinding

__all__ = ["FAMILIES", "LARGEST_P", "LEAST_PROBABILITY", "conditions_of_edge", "mark_to_beat"]

LARGEST_P = 0.05
"""Largest p-value of a family of null worlds with which there is an edge."""

LEAST_PROBABILITY = 0.95
"""Smallest deflated probability with which there is an edge."""

Family = Literal["sign_flips", "garch"]

FAMILIES: dict[Family, str] = {"sign_flips": "sign flips", "garch": "GARCH"}
"""Families of null worlds, each of which is a condition, with their names in words."""


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
        *(_null_worlds(family, by_family.get(family)) for family in FAMILIES),
        _profit(evidence.total_return, evidence.trades),
        _trades(evidence.trades),
        _deflated(evidence.deflation),
        _track_record(evidence.deflation),
    )


def mark_to_beat(worlds: NullWorlds) -> float | None:
    """Return the Sharpe ratio above which the p-value of a family would be small enough.

    Args:
        worlds: the family.

    Returns:
        The largest ratio that too many copies reach; ``None`` if no ratio would do, because the copies are too few.
    """
    count = len(worlds.values)
    # The tolerance is for rounding: 0.05 * 100 may be below 5.
    allowed = math.floor(LARGEST_P * (1 + count) + 1e-9) - 1
    if allowed < 0 or not count:
        return None
    # A copy whose training failed counts as at least as good as any ratio.
    values = [math.inf if value is None else value for value in worlds.values]
    mark = sorted(values, reverse=True)[allowed]
    return mark if math.isfinite(mark) else None


def _validity(findings: Sequence[ValidityFinding]) -> Condition:
    found = [finding.title for finding in findings if not finding.clean]
    if found:
        sentence, change = f"found: {', '.join(found)}", "mend what was found, and ask again"
    elif findings:
        sentence, change = f"{counted(len(findings), 'check')} of data, features and labels found nothing", ""
    else:
        sentence, change = "data, features and labels were not checked", "ask for the verdict again: it checks them"
    met = not found if findings else None
    return Condition(name="validity", title="no fault found", met=met, sentence=sentence, change=change)


def _costs(paid: float) -> Condition:
    met = paid > 0
    sentence = (
        f"commission and slippage are {beside(paid, 0, '%', 3)} of the traded value per side"
        if met
        else "commission and slippage are zero, and no market is traded for nothing"
    )
    change = "" if met else "the settings `commission` and `slippage` take what your broker and market charge"
    return Condition(name="costs", title="costs above zero", met=met, sentence=sentence, change=change)


def _null_worlds(family: Family, worlds: NullWorlds | None) -> Condition:
    name, title = f"null_{family}", f"beats chance ({FAMILIES[family]})"
    if worlds is None:
        change = "it can be told where the training ends on the real bars and on their copies"
        return Condition(name=name, title=title, met=None, sentence="it was not compared with chance", change=change)
    met = worlds.p <= LARGEST_P
    count = len(worlds.values)
    as_good = sum(value is None or value >= worlds.observed for value in worlds.values)
    sentence = (
        f"the same training did as well on {as_good:,} of {count:,} copies of the bars"
        f" whose direction is random (p = {beside(worlds.p, LARGEST_P, '%', 1)}"
        f"{'' if as_good else ', the smallest that so many can show'})"
    )
    return Condition(
        name=name, title=title, met=met, sentence=sentence, change="" if met else _how_to_beat(worlds, count)
    )


def _how_to_beat(worlds: NullWorlds, count: int) -> str:
    mark = mark_to_beat(worlds)
    if mark is None:
        return f"p can be {LARGEST_P:.0%} with 19 copies or more on which the training does not fail"
    exact = "; more copies place that mark more exactly" if count < FEWEST_WORLDS else ""
    return (
        f"p is at most {LARGEST_P:.0%} with a Sharpe ratio above {mark:.2f}, and was found"
        f" {beside(worlds.observed, mark)}: better inputs raise it, and longer data lower the mark{exact}"
    )


def _profit(total: float | None, trades: int) -> Condition:
    met = None if total is None or not trades else total > 0
    if met is None:
        sentence = "the median account has no trades to earn from" if not trades else "its profit is not known"
    elif total == 0:
        sentence = "the median account ends where it began, after costs"
    else:
        size = beside(abs(total or 0.0), 0, "%", 1)
        sentence = f"the median account {'earns' if met else 'loses'} {size} after costs"
    change = "" if met else "it has to end above its capital: with better signals, or with trades that cost less"
    return Condition(name="profit", title="profit after costs", met=met, sentence=sentence, change=change)


def _trades(trades: int) -> Condition:
    met = trades >= FEWEST_TRADES
    if not trades:
        sentence = "the median account never trades, so there is nothing to judge"
        change = "relax `decisions`: the confidence threshold, the cost model or the filters"
    else:
        sentence = f"the median account has {counted(trades, 'trade')}"
        change = f"{FEWEST_TRADES} are needed: longer data give them, or decisions that let it trade more often"
    return Condition(name="trades", title="enough trades", met=met, sentence=sentence, change="" if met else change)


def _deflated(found: Deflation | None) -> Condition:
    name, title = "deflated_sharpe", "deflated Sharpe ratio"
    if found is None:
        change = "it can be told of an account whose equity moves over 20 bars or more"
        return Condition(name=name, title=title, met=None, sentence="there is no Sharpe ratio to judge", change=change)
    met = found.probability >= LEAST_PROBABILITY
    probability = beside(found.probability, LEAST_PROBABILITY, "%", 1)
    rival = (
        f"{found.expected_best:.2f}, the best that {found.trials:,} trials without an edge reach"
        if found.trials > 1
        else "0, as nothing else was tried,"
    )
    sentence = f"the true Sharpe ratio is above {rival} with a probability of {probability}"
    if met:
        change = ""
    elif found.trials > 1:
        change = (
            f"{LEAST_PROBABILITY:.0%} are needed: a higher ratio or longer data raise it, and each further trial"
            " lowers it"
        )
    else:
        change = f"{LEAST_PROBABILITY:.0%} are needed: a higher ratio or longer data raise it"
    return Condition(name=name, title=title, met=met, sentence=sentence, change=change)


def _track_record(found: Deflation | None) -> Condition:
    name, title = "track_record", "enough data"
    if found is None:
        change = "it can be told of an account whose equity moves over 20 bars or more"
        return Condition(
            name=name,
            title=title,
            met=None,
            sentence="without a Sharpe ratio no length of data is enough",
            change=change,
        )
    with_trials = f"with {counted(found.trials, 'trial')}"
    needed = found.needed_years
    if needed is None:
        sentence = f"{found.years:.2f} years of data, and no length of data would prove a Sharpe ratio of"
        sentence = f"{sentence} {beside(found.sharpe, found.expected_best)} {with_trials}"
        change = f"a ratio clearly above {found.expected_best:.2f} is needed"
        return Condition(name=name, title=title, met=False, sentence=sentence, change=change)
    met = found.years >= needed
    years = beside(found.years, needed)
    words = f"{beside(needed, found.years)} years are needed for a Sharpe ratio of {found.sharpe:.2f}"
    if met:
        return Condition(name=name, title=title, met=True, sentence=f"{years} years of data; {with_trials} {words}")
    return Condition(
        name=name, title=title, met=False, sentence=f"{years} years of data", change=f"{with_trials} {words}"
    )

"""What a verdict shows, in words: the same sentences in the terminal, on the page and in Python."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.short_texts import counted
from ktrdr.core.validation.evaluation_sentences import (
    account_sentence,
    accounts_in_words,
    median_account,
    prediction_sentence,
)
from ktrdr.core.verdicts.null_evidence import FAMILIES
from ktrdr.core.verdicts.verdict_result import (
    BreakEven,
    Condition,
    Delay,
    LinearWorlds,
    Overfitting,
    PermutedEntries,
    SuperiorAbility,
    VerdictFacts,
)

__all__ = [
    "LINEAR",
    "Shown",
    "break_even_sentence",
    "delay_sentence",
    "further_evidence",
    "linear_sentence",
    "met_in_words",
    "overfitting_sentence",
    "permuted_sentence",
    "reason_in_words",
    "superior_ability_sentence",
    "worlds_in_words",
]

LINEAR = {"random_phases": "random phases", "block_bootstrap": "blocks in random order"}
"""Kinds of worlds that keep the autocorrelation, in words."""


class Shown(NamedTuple):
    """A piece of evidence that does not decide.

    Attributes:
        title: its name.
        value: its figure; empty if a sentence alone tells it.
        sentence: what it says.
    """

    title: str
    value: str
    sentence: str


def met_in_words(condition: Condition) -> str:
    """Return ``met``, ``not met`` or, where it cannot be told, ``unknown``.

    Args:
        condition: a condition of an edge.
    """
    return "unknown" if condition.met is None else "met" if condition.met else "not met"


def reason_in_words(reason: Condition) -> str:
    """Return a reason, or a condition, as one sentence: what was found, and what would change it.

    Args:
        reason: the reason.
    """
    text = "; ".join(part for part in (reason.sentence.removesuffix("."), reason.change.removesuffix(".")) if part)
    return f"{text[:1].upper()}{text[1:]}."


def worlds_in_words(facts: VerdictFacts) -> str:
    """Return how the verdict was made: accounts, null worlds, and whether it is the quick form.

    Args:
        facts: facts of the verdict.
    """
    if facts.evaluation is None:
        return "No model was trained, and no trial was counted."
    quick = " Quick form: one seed and few null worlds tell less." if facts.quick else ""
    return (
        f"{_capital(accounts_in_words(facts.evaluation))}; the training repeated on"
        f" {counted(facts.worlds, 'null world')} of each family ({', '.join(FAMILIES.values())}).{quick}"
    )


def further_evidence(facts: VerdictFacts) -> tuple[Shown, ...]:
    """Return what is shown beside the conditions and does not decide.

    Args:
        facts: facts of the verdict.

    Returns:
        The evidence that is known, in the order in which it is shown.
    """
    found: list[Shown] = []
    if facts.evaluation is not None:
        ratio = median_account(facts.evaluation).metrics.get("sharpe")
        found += [
            Shown("out of sample", format_metric("sharpe", ratio), account_sentence(facts.evaluation)),
            Shown("predictions", "", prediction_sentence(facts.evaluation)),
        ]
    if (even := facts.break_even) is not None:
        cost = "" if even.cost is None else f"{even.cost:.3%}"
        found.append(Shown("break-even cost", cost, break_even_sentence(even)))
    # An account that never trades has no ratio, which a delay could change.
    if (delay := facts.delay) is not None and delay.observed is not None:
        found.append(Shown("signals one bar later", format_metric("sharpe", delay.later), delay_sentence(delay)))
    if (orders := facts.permuted_entries) is not None:
        found.append(Shown("entries at other times", f"p = {orders.p:.1%}", permuted_sentence(orders)))
    if (ability := facts.superior_ability) is not None:
        title = "superior ability (Hansen)"
        found.append(Shown(title, f"p = {ability.consistent:.1%}", superior_ability_sentence(ability)))
    if (fitted := facts.overfitting) is not None:
        found.append(Shown("overfitting (CSCV)", f"{fitted.probability:.1%}", overfitting_sentence(fitted)))
    found += [Shown(LINEAR[worlds.kind], _middle(worlds), linear_sentence(worlds)) for worlds in facts.linear]
    return tuple(found)


def linear_sentence(worlds: LinearWorlds) -> str:
    """Return what the training finds in worlds that keep the autocorrelation, beside the real bars.

    Args:
        worlds: those worlds.
    """
    return (
        f"On {len(worlds.values):,} worlds that keep the autocorrelation the same training has a median Sharpe ratio of"
        f" {_middle(worlds)}, about what a linear edge would give; on the real bars {worlds.observed:.2f}."
    )


def break_even_sentence(found: BreakEven) -> str:
    """Return the cost at which nothing is left, beside the cost that is paid.

    Args:
        found: the break-even cost.
    """
    if found.cost is None:
        return "The median account has no profit even without costs."
    return f"At costs of {found.cost:.3%} per side nothing is left of the profit; {found.paid:.3%} are paid."


def delay_sentence(found: Delay) -> str:
    """Return what is left where every signal comes one bar later.

    Args:
        found: the account with later signals.
    """
    if found.later is None or found.observed is None:
        return "With every signal one bar later there is no Sharpe ratio to compare."
    return f"With every signal one bar later the Sharpe ratio is {found.later:.2f} instead of {found.observed:.2f}."


def permuted_sentence(found: PermutedEntries) -> str:
    """Return how often the same trades at other times do as well.

    Args:
        found: the permuted entries.
    """
    as_good = round(found.p * (1 + found.permutations)) - 1
    orders = f"{as_good:,} of {found.permutations:,} orders"
    return f"The same trades at random times do as well in {orders} (p = {found.p:.1%})."


def superior_ability_sentence(found: SuperiorAbility) -> str:
    """Return whether the best of the trials at hand is better than cash.

    Args:
        found: Hansen's test.
    """
    return (
        f"The best of {counted(found.trials, 'trial')} at hand beats cash over {counted(found.days, 'common day')} with"
        f" p = {found.consistent:.1%} (bounds {found.lower:.1%} and {found.upper:.1%})."
    )


def overfitting_sentence(found: Overfitting) -> str:
    """Return how often the best of the trials in one half of the days is a bad one in the other.

    Args:
        found: the probability of backtest overfitting.
    """
    return (
        f"In {found.probability:.1%} of {found.splits:,} splits of {counted(found.days, 'day')}, the best of"
        f" {counted(found.trials, 'trial')} in one half is not above the median in the other half; luck"
        f" gives {(found.trials + 1) // 2 / found.trials:.0%}."
    )


def _middle(worlds: LinearWorlds) -> str:
    return (
        f"{statistics.median(known):.2f}" if (known := [value for value in worlds.values if value is not None]) else "-"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

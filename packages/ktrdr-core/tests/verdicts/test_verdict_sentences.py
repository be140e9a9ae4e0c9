"""A verdict in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ktrdr.core.verdicts import verdict_sentences as words
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_result import (
    BreakEven,
    Condition,
    Delay,
    LinearWorlds,
    Overfitting,
    PermutedEntries,
    SuperiorAbility,
)


def test_a_reason_is_one_sentence():
    reason = Condition(
        name="track_record",
        title="enough data",
        met=False,
        sentence="0.25 years of data",
        change="with 9 trials 3.1 years are needed",
    )
    assert words.reason_in_words(reason) == "0.25 years of data; with 9 trials 3.1 years are needed."
    fault = reason.model_copy(update={"sentence": "the input looks ahead.", "change": ""})
    assert words.reason_in_words(fault) == "The input looks ahead."


@pytest.mark.parametrize(("met", "text"), [(True, "met"), (False, "not met"), (None, "unknown")])
def test_what_cannot_be_told_is_called_unknown(met: bool | None, text: str):
    assert words.met_in_words(Condition(name="a", title="a", met=met, sentence="")) == text


def test_the_form_of_the_verdict_is_named(made_verdict: Callable[..., Verdict]):
    full = words.worlds_in_words(made_verdict("EDGE").facts)
    assert full == (
        "5 paths with 2 seeds each; the training repeated on 100 null worlds of each family (sign flips, GARCH)."
    )
    quick = words.worlds_in_words(made_verdict("EDGE", quick=True).facts)
    assert "20 null worlds" in quick
    assert quick.endswith("Quick form: one seed and few null worlds tell less.")
    assert words.worlds_in_words(made_verdict("INVALID").facts) == "No model was trained, and no trial was counted."


def test_further_evidence_is_what_is_known(made_verdict: Callable[..., Verdict]):
    facts = made_verdict("NOT PROVEN").facts
    titles = [shown.title for shown in words.further_evidence(facts)]
    assert titles == [
        "out of sample",
        "predictions",
        "break-even cost",
        "signals one bar later",
        "entries at other times",
        "superior ability (Hansen)",
        "random phases",
        "blocks in random order",
    ]
    values = {shown.title: shown.value for shown in words.further_evidence(facts)}
    assert facts.break_even is not None
    assert facts.delay is not None
    assert facts.permuted_entries is not None
    assert facts.superior_ability is not None
    assert values["break-even cost"] == ("" if facts.break_even.cost is None else f"{facts.break_even.cost:.3%}")
    assert values["signals one bar later"] == f"{facts.delay.later:.2f}"
    assert values["entries at other times"] == f"p = {facts.permuted_entries.p:.1%}"
    assert values["superior ability (Hansen)"] == f"p = {facts.superior_ability.consistent:.1%}"
    assert values["predictions"] == ""
    for title in ("out of sample", "random phases"):
        (sentence,) = (shown.sentence for shown in words.further_evidence(facts) if shown.title == title)
        assert f"Sharpe ratio of {values[title]}" in sentence
    found = Overfitting(trials=100, days=700, blocks=16, splits=12_870, probability=0.5)
    less = facts.model_copy(
        update={
            "break_even": None,
            "delay": None,
            "permuted_entries": None,
            "superior_ability": None,
            "linear": (),
            "overfitting": found,
        }
    )
    assert [shown.title for shown in words.further_evidence(less)] == [
        "out of sample",
        "predictions",
        "overfitting (CSCV)",
    ]
    assert words.further_evidence(made_verdict("INVALID").facts) == ()


def test_each_piece_of_evidence_is_a_sentence_with_its_figures():
    linear = LinearWorlds(kind="random_phases", observed=1.25, values=(1.0, 0.5))
    assert (
        "median Sharpe ratio of 0.75, about what a linear edge would give; on the real bars 1.25"
        in words.linear_sentence(linear)
    )
    even = BreakEven(paid=0.0002, cost=0.00035, costs=(), sharpe=())
    assert words.break_even_sentence(even) == (
        "At costs of 0.035% per side nothing is left of the profit; 0.020% are paid."
    )
    none = even.model_copy(update={"cost": None})
    assert words.break_even_sentence(none) == "The median account has no profit even without costs."
    assert words.delay_sentence(Delay(observed=1.2, later=-0.1)) == (
        "With every signal one bar later the Sharpe ratio is -0.10 instead of 1.20."
    )
    assert "no Sharpe ratio to compare" in words.delay_sentence(Delay(observed=1.2, later=None))
    orders = PermutedEntries(observed=1.0, permutations=1000, p=29 / 1001, quantiles=())
    assert words.permuted_sentence(orders) == (
        "The same trades at random times do as well in 28 of 1,000 orders (p = 2.9%)."
    )
    ability = SuperiorAbility(trials=9, days=700, lower=0.01, consistent=0.02, upper=0.04)
    assert words.superior_ability_sentence(ability) == (
        "The best of 9 trials at hand beats cash over 700 common days with p = 2.0% (bounds 1.0% and 4.0%)."
    )
    overfitting = Overfitting(trials=100, days=700, blocks=16, splits=12_870, probability=0.345)
    assert words.overfitting_sentence(overfitting) == (
        "In 34.5% of 12,870 splits of 700 days, the best of 100 trials in one half is not above the median in the other"
        " half; luck gives 50%."
    )

"""The rule of a verdict: its four words, and that no worse evidence gives a better one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.verdicts.evidence import Evidence, evidence_from
from ktrdr.core.verdicts.rule import rule
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_result import EXIT_STATUS, Deflation, NullWorlds, ValidityFinding

WORST_FIRST = ["INVALID", "NONE", "NOT PROVEN", "EDGE"]


def finding(clean: bool = True) -> ValidityFinding:
    return ValidityFinding(check="look_ahead", title="look-ahead", clean=clean, sentence="The input `rsi` was checked.")


def null(family: str = "garch", as_good: int = 0, count: int = 20) -> NullWorlds:
    values = (2.0,) * as_good + (0.0,) * (count - as_good)
    return NullWorlds(family=family, observed=1.5, values=values, p=(1 + as_good) / (1 + count))


STRONG = Evidence(
    validity=(finding(),),
    nulls=(null("sign_flips"), null("garch")),
    deflation=Deflation(
        sharpe=1.5,
        low=0.5,
        high=2.5,
        years=3.0,
        trials=4,
        other_trials=3,
        expected_best=0.4,
        probability=0.96,
        needed_years=2.5,
    ),
    total_return=0.4,
    trades=300,
    paid=0.0002,
)
"""Evidence of an edge, in every respect."""

NEAR = st.sampled_from([-0.5, -1e-9, 0.0, 1e-9, 0.2])
deflations = st.none() | st.builds(
    lambda sharpe, high, years, needed, trials, probability: Deflation(
        sharpe=sharpe,
        low=sharpe - 2,
        high=high,
        years=years,
        trials=trials,
        other_trials=trials - 1,
        expected_best=0.0 if trials == 1 else 0.5,
        probability=probability,
        needed_years=needed,
    ),
    st.sampled_from([-1.0, 0.0, 0.9, 1.5]),
    st.sampled_from([0.3, 1 - 1e-9, 1.0, 1 + 1e-9, 2.5]),
    st.sampled_from([0.25, 1.0, 3.0]),
    st.none() | st.sampled_from([0.2, 1.0, 1 + 1e-9, 3.1]),
    st.sampled_from([1, 2, 9]),
    st.sampled_from([0.0, 0.5, 0.95 - 1e-9, 0.95, 0.96, 1.0]),
)
evidences = st.builds(
    Evidence,
    st.lists(st.builds(finding, st.sampled_from([True, True, True, False])), max_size=2).map(tuple),
    st.lists(
        st.builds(null, st.sampled_from(["sign_flips", "garch"]), st.integers(0, 3), st.sampled_from([5, 19, 20, 100])),
        max_size=2,
        unique_by=lambda worlds: worlds.family,
    ).map(tuple),
    deflations,
    st.none() | NEAR,
    st.sampled_from([0, 1, 29, 30, 300]),
    st.sampled_from([0.0, 1e-9, 0.0002]),
) | st.sampled_from([STRONG])


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("word", ["EDGE", "NOT PROVEN", "NONE", "INVALID"])
def test_a_verdict_says_what_its_figures_say(made_verdict: Callable[..., Verdict], word: str, quick: bool):
    facts = made_verdict(word, quick=quick).facts
    assert facts.word == word
    assert bool(facts.reasons) == (word != "EDGE")
    assert (facts.evaluation is None) == (word == "INVALID")


@given(evidences)
def test_the_word_is_that_of_the_documented_rule(evidence: Evidence):
    found = evidence.deflation
    p = {worlds.family: worlds.p for worlds in evidence.nulls}
    edge = (
        bool(evidence.validity)
        and evidence.paid > 0
        and evidence.trades >= 30
        and (evidence.total_return or 0) > 0
        and p.get("sign_flips", 1) <= 0.05
        and p.get("garch", 1) <= 0.05
        and found is not None
        and found.probability >= 0.95
        and found.needed_years is not None
        and found.years >= found.needed_years
    )
    if not all(each.clean for each in evidence.validity):
        expected = "INVALID"
    elif edge:
        expected = "EDGE"
    elif found is not None and found.high < 1 and evidence.trades >= 30:
        expected = "NONE"
    else:
        expected = "NOT PROVEN"
    assert rule(evidence).word == expected


def worse(evidence: Evidence, data: st.DataObject) -> Evidence:
    """Return evidence of which one piece is worse."""
    found = evidence.deflation
    ways: dict[str, Callable[[], Evidence]] = {
        "fault": lambda: replace(evidence, validity=(*evidence.validity, finding(clean=False))),
        "unchecked": lambda: replace(evidence, validity=()) if all(e.clean for e in evidence.validity) else evidence,
        "free": lambda: replace(evidence, paid=0.0),
        # Too few trades exclude nothing, so they turn NONE into NOT PROVEN.
        "trades": lambda: replace(
            evidence, trades=data.draw(st.integers(30 if rule(evidence).word == "NONE" else 0, evidence.trades))
        ),
        "loss": lambda: replace(
            evidence, total_return=data.draw(NEAR.map(lambda by: (evidence.total_return or 0) - abs(by)))
        ),
        "p": lambda: replace(evidence, nulls=tuple(null(each.family, 3, len(each.values)) for each in evidence.nulls)),
        "no worlds": lambda: replace(evidence, nulls=evidence.nulls[1:]),
    }
    if found is not None:
        changes = {
            "ratio": {"sharpe": found.sharpe - 0.5, "low": found.low - 0.5, "high": found.high - 0.5},
            "probability": {"probability": found.probability * 0.9},
            "years": {"years": found.years / 2},
            "needed": {"needed_years": None},
            "more trials": {
                "trials": 50,
                "other_trials": 49,
                "expected_best": 1.3,
                "probability": found.probability / 2,
            },
        }
        ways |= {
            name: (lambda update=update: replace(evidence, deflation=found.model_copy(update=update)))
            for name, update in changes.items()
        }
    return ways[data.draw(st.sampled_from(sorted(ways)))]()


@given(evidences, st.data())
def test_worse_evidence_never_gives_a_better_word(evidence: Evidence, data: st.DataObject):
    before = evidence
    for _ in range(3):
        after = worse(before, data)
        assert WORST_FIRST.index(rule(after).word) <= WORST_FIRST.index(rule(before).word)
        before = after


@given(evidences)
def test_every_reason_says_what_would_change_it(evidence: Evidence):
    ruling = rule(evidence)
    assert bool(ruling.reasons) == (ruling.word != "EDGE")
    assert bool(ruling.conditions) == (ruling.word != "INVALID")
    for reason in ruling.reasons:
        assert reason.sentence
        # The sentence of a fault carries its remedy.
        assert bool(reason.change) == (ruling.word != "INVALID")
        assert not reason.met
    for condition in ruling.conditions:
        assert condition.sentence
        assert bool(condition.change) == (not condition.met)
    assert ruling.sentence.endswith(".")


def test_strong_evidence_is_an_edge_and_loses_it_with_any_piece():
    assert rule(STRONG).word == "EDGE"
    assert rule(replace(STRONG, validity=())).word == "NOT PROVEN"
    assert rule(replace(STRONG, nulls=STRONG.nulls[:1])).word == "NOT PROVEN"
    assert rule(replace(STRONG, deflation=None)).word == "NOT PROVEN"
    assert rule(replace(STRONG, total_return=None)).word == "NOT PROVEN"


def test_an_edge_of_the_quick_form_says_so_in_its_sentence():
    assert rule(STRONG).sentence == (
        "Neither chance nor the number of trials explains the Sharpe ratio of 1.50 after costs: all 8 conditions of an"
        " edge are met in the quick form; ask for the full form, without `--quick`, before you trade."
    )
    full = rule(replace(STRONG, nulls=(null("sign_flips", count=100), null("garch", count=100))))
    assert full.sentence.endswith("all 8 conditions of an edge are met.")


def test_an_edge_comes_before_a_ratio_that_is_small_but_certain():
    assert STRONG.deflation is not None
    small = replace(STRONG, deflation=STRONG.deflation.model_copy(update={"sharpe": 0.7, "low": 0.5, "high": 0.9}))
    assert rule(small).word == "EDGE"
    free = rule(replace(small, paid=0.0))
    assert free.word == "NONE"
    assert [reason.name for reason in free.reasons] == ["worthwhile", "costs"]


def test_few_trades_that_lost_do_not_exclude_an_edge():
    assert STRONG.deflation is not None
    low = replace(STRONG, deflation=STRONG.deflation.model_copy(update={"sharpe": -2.0, "low": -3.0, "high": -1.0}))
    assert rule(replace(low, trades=30, paid=0.0)).word == "NONE"
    few = rule(replace(low, trades=29, paid=0.0))
    assert few.word == "NOT PROVEN"
    assert [reason.name for reason in few.reasons] == ["costs", "trades"]


def test_a_fault_comes_before_everything():
    ruling = rule(replace(STRONG, validity=(finding(), finding(clean=False))))
    assert ruling.word == "INVALID"
    assert [(reason.name, reason.sentence) for reason in ruling.reasons] == [
        ("look_ahead", "The input `rsi` was checked")
    ]


def test_no_setting_reaches_the_rule():
    # Everything that a user may set acts on what is measured; no limit of the rule is a parameter.
    assert list(inspect.signature(rule).parameters) == ["evidence"]
    assert set(Evidence.__dataclass_fields__) == {
        "validity", "nulls", "deflation", "total_return", "trades", "paid", "reserve_return",
    }  # fmt: skip
    assert set(EXIT_STATUS) == set(WORST_FIRST)


def test_an_account_that_never_trades_says_so_once():
    silent = rule(replace(STRONG, trades=0, total_return=0.0, deflation=None))
    assert silent.word == "NOT PROVEN"
    assert silent.sentence == "An edge is not proven: the median account never trades."
    assert [reason.name for reason in silent.reasons] == ["trades"]
    assert "never trades" in silent.reasons[0].sentence
    # What is missing for another reason is still named; that chance does as well follows from no trade.
    beaten = (null("sign_flips", 20), null("garch", 20))
    free = rule(replace(STRONG, trades=0, total_return=0.0, deflation=None, paid=0.0, nulls=beaten))
    assert [reason.name for reason in free.reasons] == ["trades", "costs"]


def test_the_evidence_is_that_of_the_median_account(made_verdict: Callable[..., Verdict]):
    facts = made_verdict("NONE").facts
    assert facts.evaluation is not None
    evidence = evidence_from(facts.validity, facts.evaluation, facts.nulls, facts.deflation)
    path, seed = facts.evaluation.median_path
    (median,) = (own for own in facts.evaluation.paths if (own.path, own.seed) == (path, seed))
    assert (evidence.trades, evidence.total_return) == (median.metrics["trades"], median.metrics["total_return"])
    costs = {"capital": 1000.0, "commission": 0.0002, "slippage": 0.0001}
    paid = facts.evaluation.model_copy(update={"account": costs})
    assert evidence_from((), paid).paid == pytest.approx(0.0003)
    assert evidence_from(facts.validity) == Evidence(facts.validity)

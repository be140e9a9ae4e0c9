"""The hash of a verdict covers everything that it was asked."""

from __future__ import annotations

import pytest

from ktrdr.core.verdicts.verdict_hash import evidence_hash, verdict_hash

ASKED = {
    "choice": "a" * 64,
    "bars": "b" * 64,
    "seeds": (1, 2),
    "worlds": 20,
    "account": {"capital": 1.0, "commission": 0.1, "slippage": 0.0},
    "reserve": "",
    "other_trials": 3,
    "versions": {"ktrdr-core": "0.1.0"},
}


@pytest.mark.parametrize(
    "change",
    [{"choice": "c" * 64}, {"bars": "c" * 64}, {"seeds": (1, 3)}, {"worlds": 100},
     {"account": {"capital": 1.0, "commission": 0.0, "slippage": 0.1}}, {"reserve": "d" * 64}, {"other_trials": 4},
     {"versions": {"ktrdr-core": "0.1.1"}}],
)  # fmt: skip
def test_every_part_of_the_question_changes_it(change):
    assert set(change) < set(ASKED)
    assert verdict_hash(**{**ASKED, **change}) != verdict_hash(**ASKED)


def test_the_evidence_covers_what_was_found_and_not_when_and_where(made_verdict):
    facts = made_verdict().facts
    same = facts.model_copy(
        update={"made": made_verdict("NONE").facts.made, "seconds": {}, "verdict": "a/9", "operation": "x", "hash": "y"}
    )
    assert evidence_hash(same) == evidence_hash(facts)
    for name in ("nulls", "linear", "deflation", "break_even", "permuted_entries", "delay", "validity"):
        assert evidence_hash(facts.model_copy(update={name: None})) != evidence_hash(facts), name

"""The rule of a verdict: its four words, and that no worse evidence gives a better one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ktrdr.core.verdicts.verdict_parts import Verdict


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("word", ["EDGE", "NOT PROVEN", "NONE", "INVALID"])
def test_a_verdict_says_what_its_figures_say(made_verdict: Callable[..., Verdict], word: str, quick: bool):
    facts = made_verdict(word, quick=quick).facts
    assert facts.word == word
    assert bool(facts.reasons) == (word != "EDGE")
    assert (facts.evaluation is None) == (word == "INVALID")

"""Trap suite: results that are no edge after all are not called one, and the condition that they miss is named.

Costs of zero and the best of 200 trials are in the tests of the verdict's making.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.limits import QUICK_WORLDS
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.world_maker import WorldMaker

Run = Callable[..., Verdict]
Load = Callable[..., Any]


def missed(verdict: Verdict) -> list[str]:
    """Return the names of the conditions that are not met."""
    return [condition.name for condition in verdict.facts.conditions if not condition.met]


def test_an_edge_smaller_than_the_spread(run: Run, load: Load):
    verdict = run(load(), few=QUICK_WORLDS, slippage=0.002)
    assert verdict.facts.word in ("NOT PROVEN", "NONE")
    assert "profit" in missed(verdict)
    profit = next(condition for condition in verdict.facts.conditions if condition.name == "profit")
    assert "the median account loses" in profit.sentence
    # Without costs it would be one.
    assert verdict.facts.break_even is not None
    assert 0 < (verdict.facts.break_even.cost or 0) < 0.002


def test_a_market_whose_directions_were_drawn_at_random(run: Run, load: Load, markets: BarStore, tmp_path: Path):
    """The market with an edge, with the signs of its bars flipped: the same sizes of moves, and no direction."""
    flipped = WorldMaker({"MEAN": markets.read("MEAN", "1h")}, seed=1).bars("sign_flips", 0)
    store = BarStore(tmp_path / "flipped")
    store.write(replace(flipped["MEAN"], world=""))
    verdict = run(load(), few=QUICK_WORLDS, bar_store=store)
    assert verdict.facts.word in ("NOT PROVEN", "NONE")
    assert all(finding.clean for finding in verdict.facts.validity)
    assert any(name.startswith("null") for name in missed(verdict))

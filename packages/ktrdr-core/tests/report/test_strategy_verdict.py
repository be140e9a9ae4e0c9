"""The latest verdict on the strategy of a backtest, in its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.report import write_report
from ktrdr.core.report.content import page_of
from ktrdr.core.report.strategy_verdict import latest_verdict_of, verdict_headline
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.verdicts.stored_verdict import VerdictEntry, store_verdict
from ktrdr.core.verdicts.verdict_parts import Verdict

Make = Callable[..., Verdict]


@pytest.fixture
def stored(made_verdict: Make, tmp_path: Path) -> Callable[..., Path]:
    """Return ``stored(**facts)``: stores an INVALID verdict, which rests on no evaluation; returns the store."""

    def store(**facts: Any) -> Path:
        store_verdict(made_verdict("INVALID", **facts), root=tmp_path / "verdicts")
        return tmp_path / "verdicts"

    return store


def shown(result: BacktestResult, entry: VerdictEntry) -> tuple[str, dict[str, str]]:
    page = page_of(result, entry)
    block = page.blocks[0]
    assert block.title == "Verdict"
    return page.headline, dict(block.entries)


def test_a_strategy_without_a_verdict_is_said_to_have_none(result: BacktestResult, tmp_path: Path):
    entry = latest_verdict_of(result, tmp_path)
    headline, entries = shown(result, entry)
    assert headline == "There is no verdict on waves yet: `ktrdr verdict` tells whether it has an edge."
    assert entries == {"verdict": headline}


def test_the_verdict_on_the_strategy_is_shown(result: BacktestResult, made_verdict: Make):
    facts = made_verdict("NOT PROVEN", quick=True).facts
    account = {"capital": 10_000.0, "commission": 0.0001, "slippage": 0.00005}
    facts = facts.model_copy(update={"verdict": "waves/2", "account": account})
    headline, entries = shown(result, VerdictEntry("waves/2", facts, same_choice=True))
    costs = "commission 0.0100% and slippage 0.0050% per side"
    on = f"on EURUSD, at {costs}, quick form"
    assert headline == f"Verdict on this strategy, {on}: NOT PROVEN. {facts.sentence}"
    assert entries["costs"] == costs
    assert entries["stored as"] == "waves/2"
    assert entries["on"] == "this strategy"
    assert entries["made"].endswith("UTC, the quick form")
    assert entries["data"] == "EURUSD, 1h"
    assert entries["tested"].startswith("2020-01-06")


def test_a_verdict_on_another_version_is_said_to_be_that(result: BacktestResult, made_verdict: Make):
    facts = made_verdict("INVALID", symbols=("USDJPY",)).facts
    headline, entries = shown(result, VerdictEntry("waves/1", facts))
    other = "another version of this strategy, with other settings"
    # No account was traded, so there are no costs.
    assert headline.startswith(f"Verdict on {other}, on USDJPY: INVALID. ")
    assert entries["on"] == "another version of this strategy, with other settings"


def test_a_damaged_verdict_is_said_to_be_that(result: BacktestResult):
    entry = VerdictEntry("waves/1", None, "verdict.json is not JSON")
    assert verdict_headline("waves", entry) == "The verdict waves/1 cannot be read: verdict.json is not JSON."
    assert shown(result, entry)[1] == {"verdict": verdict_headline("waves", entry)}


def test_it_is_looked_up_by_name_and_choice(result: BacktestResult, stored: Callable[..., Path]):
    strategy = result.manifest.strategy
    root = stored(strategy=strategy.name, choice=choice_hash(strategy))
    stored(strategy=strategy.name, choice="00" * 32)
    entry = latest_verdict_of(result, root)
    assert entry.name == f"{strategy.name}/1"
    assert entry.same_choice


def test_an_invalid_verdict_on_other_symbols_is_not_preferred(result: BacktestResult, stored: Callable[..., Path]):
    strategy = result.manifest.strategy
    root = stored(strategy=strategy.name, choice="00" * 32, symbols=tuple(each.symbol for each in result.symbols))
    stored(strategy=strategy.name, choice="11" * 32, symbols=("USDJPY",))
    assert latest_verdict_of(result, root).name == f"{strategy.name}/1"


def test_the_page_has_it_before_everything_else(
    result: BacktestResult, made_verdict: Make, tmp_path: Path, read_page: Callable[[str], Any]
):
    entry = VerdictEntry("waves/1", made_verdict("INVALID").facts, same_choice=True)
    path = write_report(result, tmp_path / "page.html", verdict=entry)
    text = read_page(path.read_text(encoding="utf-8")).text
    assert text.index(verdict_headline("waves", entry)) < text.index("Equity")
    # Without a look into the store, nothing is said.
    assert page_of(result).headline == ""
    assert page_of(result).blocks[0].title == "Settings"

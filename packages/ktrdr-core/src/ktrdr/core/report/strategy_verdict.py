"""What the report of a backtest says about the latest verdict on its strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr.core.names import named_market
from ktrdr.core.report.page import Block
from ktrdr.core.short_texts import first_words
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.validation.evaluation_sentences import period_in_words
from ktrdr.core.verdicts.stored_verdict import VerdictEntry, latest_verdict

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult
    from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = ["latest_verdict_of", "verdict_block", "verdict_headline"]


def latest_verdict_of(result: BacktestResult, root: Path | None = None) -> VerdictEntry:
    """Return the latest stored verdict on the strategy of a backtest, for :func:`~ktrdr.core.report.write_report`.

    Args:
        result: result of the backtest.
        root: directory of the store of verdicts; by default ``$KTRDR_HOME/verdicts``.

    Returns:
        The entry; one without a name if there is no verdict on the strategy.
    """
    strategy = result.manifest.strategy
    symbols = [each.symbol for each in result.symbols]
    return latest_verdict(strategy.name, choice_hash(strategy), root, symbols=symbols)


def verdict_headline(strategy: str, entry: VerdictEntry) -> str:
    """Return the latest verdict with its symbols, costs and form in a few sentences, or that there is none.

    Args:
        strategy: name of the strategy.
        entry: what the store of verdicts has of it.
    """
    facts = entry.facts
    if facts is None and entry.name:
        return f"The verdict {entry.name} cannot be read: {entry.problem}."
    if facts is None:
        return f"There is no verdict on {strategy} yet: `ktrdr verdict` tells whether it has an edge."
    return f"Verdict on {_version(entry)}, {_conditions(facts)}: {facts.word}. {facts.sentence}"


def verdict_block(strategy: str, entry: VerdictEntry) -> Block:
    """Return the latest verdict with its data, or that there is none.

    Args:
        strategy: name of the strategy.
        entry: what the store of verdicts has of it.
    """
    facts = entry.facts
    if facts is None:
        return Block("Verdict", entries=[("verdict", verdict_headline(strategy, entry))])
    entries = [
        ("verdict", f"{facts.word}. {facts.sentence}"),
        ("stored as", facts.verdict),
        ("on", _version(entry)),
        ("made", f"{facts.made:%Y-%m-%d %H:%M} UTC{', the quick form' if facts.quick else ''}"),
        ("costs", _costs(facts)),
        ("data", f"{named_market(', '.join(facts.symbols), facts.world)}, {facts.timeframe}"),
    ]
    if facts.evaluation is not None:
        entries.append(("tested", period_in_words(facts.evaluation.tested)))
    return Block("Verdict", entries=entries)


def _version(entry: VerdictEntry) -> str:
    return "this strategy" if entry.same_choice else "another version of this strategy, with other settings"


def _conditions(facts: VerdictFacts) -> str:
    """Return on what a verdict was made: its symbols, its costs where accounts were traded, and its form."""
    parts = [f"on {named_market(first_words(facts.symbols), facts.world)}"]
    if facts.evaluation is not None:
        parts.append(f"at {_costs(facts)}")
    if facts.quick:
        parts.append("quick form")
    return ", ".join(parts)


def _costs(facts: VerdictFacts) -> str:
    account = facts.account
    return f"commission {account['commission']:.4%} and slippage {account['slippage']:.4%} per side"

"""What the report of a backtest says about the latest verdict on its strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr.core.names import named_market
from ktrdr.core.report.page import Block
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.validation.evaluation_sentences import period_in_words
from ktrdr.core.verdicts.stored_verdict import VerdictEntry, latest_verdict

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult

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
    return latest_verdict(strategy.name, choice_hash(strategy), root)


def verdict_headline(strategy: str, entry: VerdictEntry) -> str:
    """Return the latest verdict in one or two sentences, or that there is none.

    Args:
        strategy: name of the strategy.
        entry: what the store of verdicts has of it.
    """
    facts = entry.facts
    if facts is None and entry.name:
        return f"The verdict {entry.name} cannot be read: {entry.problem}."
    if facts is None:
        return f"There is no verdict on {strategy} yet: `ktrdr verdict` tells whether it has an edge."
    which = "this strategy" if entry.same_choice else "another version of this strategy, with other settings"
    return f"Verdict on {which}: {facts.word}. {facts.sentence}"


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
        ("on", "this strategy" if entry.same_choice else "another version of this strategy, with other settings"),
        ("made", f"{facts.made:%Y-%m-%d %H:%M} UTC{', the quick form' if facts.quick else ''}"),
        ("data", f"{named_market(', '.join(facts.symbols), facts.world)}, {facts.timeframe}"),
    ]
    if facts.evaluation is not None:
        entries.append(("tested", period_in_words(facts.evaluation.tested)))
    return Block("Verdict", entries=entries)

"""Printing of a verdict for a person."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ktrdr.core.cli.output import echo_styled, print_table
from ktrdr.core.cli.trial_lines import print_trial_count

if TYPE_CHECKING:
    from ktrdr.core.validation.evaluation_result import ReserveResult
    from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = ["print_verdict"]

_COLORS = {"EDGE": "green", "NOT PROVEN": "yellow", "NONE": "red", "INVALID": "red"}
_WIDEST = 100
_CHANGE = "Why it is not EDGE, and what would change that"
_MEND = "What was found, and how to mend it"


def print_verdict(facts: VerdictFacts, files: Mapping[str, object] | None = None) -> None:
    """Print a verdict, here or on a server: the word and its sentence first, then what it rests on.

    Args:
        facts: facts of the verdict.
        files: where the verdict is stored, by a word such as ``Report``.
    """
    from ktrdr.core.verdicts.verdict_sentences import further_evidence, reason_in_words, worlds_in_words

    click.echo()
    echo_styled(f"{facts.strategy}: {facts.word}", color=_COLORS[facts.word], bold=True)
    _print_wrapped(facts.sentence)
    click.echo()
    _print_wrapped(_market(facts))
    _print_wrapped(worlds_in_words(facts))
    _print_conditions(facts)
    if facts.word == "INVALID":
        _print_checks(facts)
    _print_named(
        _MEND if facts.word == "INVALID" else _CHANGE,
        [(reason.title, reason_in_words(reason)) for reason in facts.reasons],
    )
    _print_named(
        "Further evidence: shown, and not part of the rule",
        [
            *((shown.title, shown.sentence) for shown in further_evidence(facts)),
            *(("missing", note) for note in facts.notes),
        ],
    )
    for warning in facts.warnings:
        _print_wrapped(f"Warning: {warning}.", color="yellow")
    if facts.warnings:
        click.echo()
    _print_named(
        "Questions that only you can answer",
        [(f"{number}.", question) for number, question in enumerate(facts.questions, start=1)],
    )
    _print_trials(facts)
    width = max(map(len, files or {}), default=0)
    for name, where in (files or {}).items():
        click.echo(f"{name:{width}}  {where}")


def _print_wrapped(text: str, first: str = "", rest: str = "", color: str | None = None) -> None:
    # No name and no path is broken, so that it can be copied.
    filled = textwrap.fill(
        text,
        min(shutil.get_terminal_size().columns, _WIDEST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    echo_styled(filled, color=color)


def _market(facts: VerdictFacts) -> str:
    from ktrdr.core.data.times import last_day
    from ktrdr.core.names import named_market
    from ktrdr.core.short_texts import first_words
    from ktrdr.core.validation.evaluation_sentences import market_in_words, validation_in_words

    own = facts.evaluation
    if own is None:
        return f"{named_market(first_words(facts.symbols), facts.world)}, {facts.timeframe}."
    days = f"{own.period.start:%Y-%m-%d} to {last_day(own.period.end)}"
    folds = validation_in_words(own.validation)
    return f"{own.model} on {market_in_words(own, 3)}, {days}; {folds}{_reserve(own.reserve)}."


def _reserve(reserve: ReserveResult | None) -> str:
    from ktrdr.core.data.times import last_day

    if reserve is None:
        return ""
    days = f"{reserve.period.start:%Y-%m-%d} to {last_day(reserve.period.end)}"
    return f"; reserve: {days}, {'opened' if reserve.opened else 'not opened'}"


def _print_conditions(facts: VerdictFacts) -> None:
    from ktrdr.core.verdicts.verdict_sentences import met_in_words

    if not facts.conditions:
        return
    columns = ["condition of an edge", "found", "needed", "result"]
    print_table(
        columns,
        [[each.title, each.found or "-", each.needed or "-", met_in_words(each)] for each in facts.conditions],
        right=["found", "needed"],
    )


def _print_checks(facts: VerdictFacts) -> None:
    print_table(["check", "found"], [[each.title, "nothing" if each.clean else "a fault"] for each in facts.validity])


def _print_named(heading: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print sentences under a heading, each after its name; nothing if there are none."""
    if not rows:
        return
    echo_styled(heading, bold=True)
    indent = max(len(name) for name, _ in rows) + 4
    for name, sentence in rows:
        _print_wrapped(sentence, f"  {name}".ljust(indent), " " * indent)
    click.echo()


def _print_trials(facts: VerdictFacts) -> None:
    from ktrdr.core.trials.trial_count import TrialCount

    if facts.evaluation is not None and facts.evaluation.trial_count is not None:
        print_trial_count(TrialCount.from_json(facts.evaluation.trial_count))
        click.echo()

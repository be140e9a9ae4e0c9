"""Content of the report of a verdict: the verdict, its reasons and conditions, and the evidence."""

from __future__ import annotations

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.names import named_market
from ktrdr.core.report.content import sentence
from ktrdr.core.report.origin_entries import provenance_entries, trial_entries
from ktrdr.core.report.page import Banner, Block, Card, Cell, Column, Page, Point, PointList, Table
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.report.tones import tone_of
from ktrdr.core.report.verdict_pictures import verdict_pictures
from ktrdr.core.short_texts import counted
from ktrdr.core.validation.evaluation_sentences import (
    accounts_in_words,
    median_account,
    period_in_words,
    reserve_sentence,
    validation_in_words,
)
from ktrdr.core.verdicts.deflation import LEAST_PROBABILITY
from ktrdr.core.verdicts.edge_conditions import LARGEST_P
from ktrdr.core.verdicts.figures_beside import beside, probability_beside
from ktrdr.core.verdicts.null_evidence import FAMILIES, at_least_as_good
from ktrdr.core.verdicts.verdict_parts import MOST_POINTS, Verdict
from ktrdr.core.verdicts.verdict_result import Condition, VerdictFacts, Word
from ktrdr.core.verdicts.verdict_sentences import further_evidence

__all__ = ["TONES", "verdict_cards", "verdict_content"]

TONES: dict[Word, str] = {"EDGE": "good", "NOT PROVEN": "doubt", "NONE": "bad", "INVALID": "void"}
"""Tone of the banner by verdict."""

_MOST_NAMES = 6


def verdict_content(verdict: Verdict) -> Page:
    """Return everything that the report shows of a verdict."""
    facts, curves = verdict.facts, verdict.curves
    timeline = None if curves is None else Timeline.of(curves.time, MOST_POINTS)
    invalid = facts.word == "INVALID"
    first = (_validity(facts),) if invalid else (_conditions(facts),)
    tables = () if invalid else (_shown_only(facts), _validity(facts))
    evaluation = facts.evaluation
    return Page(
        title=f"{facts.strategy}: verdict{f' {facts.verdict}' if facts.verdict else ''}",
        subtitle=_subtitle(facts),
        banner=Banner(facts.word, facts.sentence, TONES[facts.word], _form(facts)),
        description="" if verdict.strategy is None else verdict.strategy.description or "",
        warnings=[*_synthetic(facts), *(sentence(warning) for warning in facts.warnings)],
        lists=_filled(_reasons(facts)),
        first_tables=[table for table in first if table.rows],
        cards=verdict_cards(facts),
        timeline=() if timeline is None else timeline.labels,
        wide_figures=verdict_pictures(verdict, timeline),
        tables=[table for table in tables if table.rows],
        last_lists=_filled(_questions(facts), _missing(facts)),
        blocks=(
            Block("Settings", entries=_settings(facts)),
            *(() if evaluation is None else (Block("Trials", entries=trial_entries(evaluation.trial_count)),)),
            Block("Provenance", entries=_provenance(facts)),
            Block("Strategy file", text=verdict.text),
        ),
    )


def verdict_cards(facts: VerdictFacts) -> list[Card]:
    """Return the large numbers of a verdict; none if it is INVALID.

    Args:
        facts: facts of the verdict.
    """
    met = {condition.name: condition.met for condition in facts.conditions}

    def tone(name: str) -> str:
        return {True: "good", False: "bad"}.get(met.get(name), "")  # type: ignore[arg-type]

    cards = []
    for worlds in facts.nulls:
        as_good = at_least_as_good(worlds.observed, worlds.values)
        cards.append(
            Card(
                f"p against {FAMILIES[worlds.family]}",
                beside(worlds.p, LARGEST_P, "%", 1),
                tone(f"null_{worlds.family}"),
                f"{as_good:,} of {len(worlds.values):,} null worlds as good",
            )
        )
    deflation, evaluation = facts.deflation, facts.evaluation
    if deflation is not None:
        cards.append(
            Card(
                "deflated probability",
                probability_beside(deflation.probability, LEAST_PROBABILITY),
                tone("deflated_sharpe"),
                f"of {counted(deflation.trials, 'trial')}",
            )
        )
    if evaluation is not None:
        own, hold = median_account(evaluation).metrics, evaluation.buy_and_hold
        bounds = "" if deflation is None else f", 90% {deflation.low:.2f} to {deflation.high:.2f}"
        for name, label in (("sharpe", f"Sharpe ratio{bounds}"), ("total_return", "Total return, median account")):
            cards.append(
                Card(
                    label,
                    format_metric(name, own.get(name)),
                    tone_of(name, own, [hold]),
                    f"buy and hold {format_metric(name, hold.get(name))}",
                )
            )
    if facts.break_even is not None:
        cost = facts.break_even.cost
        cards.append(
            Card(
                "break-even cost per side",
                "no profit" if cost is None else f"{cost:.3%}",
                "bad" if cost is None or cost <= facts.break_even.paid else "good",
                f"paid {facts.break_even.paid:.3%}",
            )
        )
    return cards


def _subtitle(facts: VerdictFacts) -> str:
    evaluation = facts.evaluation
    parts = [_market(facts), facts.timeframe]
    if evaluation is not None:
        parts += [period_in_words(evaluation.period), counted(sum(evaluation.bars.values()), "bar")]
    return f"{', '.join(parts)}. Made {facts.made:%Y-%m-%d %H:%M} UTC."


def _market(facts: VerdictFacts) -> str:
    names = ", ".join(facts.symbols) if len(facts.symbols) <= _MOST_NAMES else f"{len(facts.symbols):,} symbols"
    return named_market(names, facts.world)


def _form(facts: VerdictFacts) -> str:
    if facts.word == "INVALID":
        return "No account was traded, and nothing was added to the ledger of trials."
    form = "The quick form" if facts.quick else "The full form"
    seeds = "" if facts.evaluation is None else f" and {counted(len(facts.evaluation.seeds), 'seed')}"
    return f"{form}: {facts.worlds:,} null worlds of each family{seeds}."


def _synthetic(facts: VerdictFacts) -> list[str]:
    if not facts.world:
        return []
    return [f"The bars are synthetic: they were made by {facts.world}, and are no prices of a real market."]


def _filled(*lists: PointList) -> list[PointList]:
    return [each for each in lists if each.points]


def _reasons(facts: VerdictFacts) -> PointList:
    title = "What was found" if facts.word == "INVALID" else "Why it is not EDGE"
    return PointList(title, [_reason(reason) for reason in facts.reasons])


def _reason(reason: Condition) -> Point:
    change = f"What would change it: {reason.change.rstrip('.')}." if reason.change else ""
    return Point(sentence(reason.sentence), sentence(reason.title).rstrip("."), change)


def _conditions(facts: VerdictFacts) -> Table:
    words = {True: ("met", "good"), False: ("not met", "bad"), None: ("unknown", "bad")}
    return Table(
        "Conditions of an edge",
        (Column("condition"), Column("met"), Column("found"), Column("needed"), Column("in words")),
        [
            [
                Cell(sentence(condition.title).rstrip(".")),
                Cell(*words[condition.met]),
                Cell(condition.found or "-"),
                Cell(condition.needed or "-"),
                Cell(sentence(condition.sentence), "text"),
            ]
            for condition in facts.conditions
        ],
        "The verdict is EDGE only if every one of them is met. No setting changes them.",
    )


def _validity(facts: VerdictFacts) -> Table:
    findings = sorted(facts.validity, key=lambda finding: finding.clean)
    return Table(
        "Validity",
        (Column("check"), Column("result"), Column("in words")),
        [
            [
                Cell(sentence(finding.title).rstrip(".")),
                Cell("clean", "good") if finding.clean else Cell("found", "bad"),
                Cell(sentence(finding.sentence), "text"),
            ]
            for finding in findings
        ],
        "What would make every result worthless is looked for before any result is looked at.",
    )


def _shown_only(facts: VerdictFacts) -> Table:
    return Table(
        "Further evidence",
        (Column("evidence"), Column("value", number=True), Column("in words")),
        [
            [Cell(sentence(shown.title).rstrip(".")), Cell(shown.value or "-", "n"), Cell(shown.sentence, "text")]
            for shown in further_evidence(facts)
        ],
        "It helps to judge the strategy, and decides nothing.",
    )


def _questions(facts: VerdictFacts) -> PointList:
    note = "No data can tell. An answer that you do not like makes the verdict worth less, whatever its word."
    return PointList("Questions that only you can answer", [Point(_question(text)) for text in facts.questions], note)


def _question(text: str) -> str:
    return text if text.endswith("?") else sentence(text)


def _missing(facts: VerdictFacts) -> PointList:
    return PointList("What could not be told", [Point(sentence(note)) for note in facts.notes])


def _settings(facts: VerdictFacts) -> list[tuple[str, str]]:
    account, evaluation = facts.account, facts.evaluation
    entries = [
        ("capital", f"{account['capital']:,.2f}"),
        ("commission", f"{account['commission']:.4%} of the traded value, per side"),
        ("slippage", f"{account['slippage']:.4%} of the price, against every fill"),
    ]
    if evaluation is not None:
        entries += [
            ("null worlds", f"{facts.worlds:,} of each family{', the quick form' if facts.quick else ''}"),
            ("folds", validation_in_words(evaluation.validation)),
            ("accounts", accounts_in_words(evaluation)),
            ("model", f"{evaluation.model} of plugin {evaluation.plugin}, on {evaluation.device}"),
        ]
        if evaluation.reserve is not None:
            entries.append(("reserve", reserve_sentence(evaluation).removeprefix("Reserve, ")))
        if evaluation.evaluation:
            entries.append(("evaluation", f"{evaluation.evaluation}, which has a report of its own"))
    return entries


def _provenance(facts: VerdictFacts) -> list[tuple[str, str]]:
    hashes = {"question": facts.hash, "evidence": facts.evidence_hash, "choice of the strategy": facts.choice}
    return provenance_entries(facts.provenance, facts.data_fingerprint, facts.seconds, **hashes)

"""Pictures of the report of a verdict: one for each piece of evidence, each with a sentence on how to read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ktrdr.core.report.evaluation_charts import MOST_LINES
from ktrdr.core.report.evaluation_content import accounts_note, accounts_picture
from ktrdr.core.report.figures import Figure
from ktrdr.core.report.page import Picture
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.report.verdict_charts import (
    WorldRow,
    beside_figure,
    break_even_figure,
    deflation_figure,
    permuted_figure,
    worlds_equity_figure,
    worlds_figure,
)
from ktrdr.core.short_texts import counted
from ktrdr.core.validation.evaluation_sentences import median_account
from ktrdr.core.verdicts.edge_conditions import LARGEST_P, mark_to_beat
from ktrdr.core.verdicts.figures_beside import beside
from ktrdr.core.verdicts.null_evidence import FAMILIES
from ktrdr.core.verdicts.rule import WORTHWHILE_SHARPE
from ktrdr.core.verdicts.verdict_parts import Verdict, VerdictCurves
from ktrdr.core.verdicts.verdict_result import LinearWorlds, NullWorlds, VerdictFacts
from ktrdr.core.verdicts.verdict_sentences import LINEAR
from ktrdr.core.verdicts.world_folds import one_path

__all__ = ["null_picture", "verdict_pictures"]


def verdict_pictures(verdict: Verdict, timeline: Timeline | None) -> list[Picture]:
    """Return the pictures of a verdict: the null worlds first; none if it is INVALID.

    Args:
        verdict: the verdict.
        timeline: time axis of its curves; ``None`` without curves.
    """
    facts, curves = verdict.facts, verdict.curves
    over_time = [] if curves is None or timeline is None else list(_over_time(facts, curves, timeline))
    return [*_nulls(facts), *over_time, *_account(facts), *_linear(facts)]


def null_picture(facts: VerdictFacts) -> Figure | None:
    """Return the figure of the null worlds; ``None`` without them.

    Args:
        facts: facts of the verdict.
    """
    rows = [
        _row(f"{FAMILIES[worlds.family]}: p = {beside(worlds.p, LARGEST_P, '%', 1)}", worlds, mark_to_beat(worlds))
        for worlds in facts.nulls
    ]
    return _worlds_figure(rows)


def _row(title: str, worlds: NullWorlds | LinearWorlds, mark: float | None = None) -> WorldRow:
    """Return a row without the worlds whose training failed; the title counts them."""
    known = [value for value in worlds.values if value is not None]
    failed = len(worlds.values) - len(known)
    more = f" ({counted(failed, 'training')} failed)" if failed else ""
    return WorldRow(f"{title[:1].upper()}{title[1:]}{more}", worlds.observed, known, mark)


def _worlds_figure(rows: Sequence[WorldRow]) -> Figure | None:
    drawn = [row for row in rows if row.values]
    return worlds_figure(drawn) if drawn else None


def _nulls(facts: VerdictFacts) -> Iterator[Picture]:
    figure = null_picture(facts)
    if figure is not None:
        yield Picture(
            "nulls",
            "What the same training finds where nothing is",
            figure,
            "Grey: the same training on null worlds, copies of the bars in which no direction can be predicted; the"
            " blue mark of the real bars has to stand to the right of the dotted one, which at most"
            f" {LARGEST_P:.0%} of the worlds pass.{_folds_note(facts)}",
        )


def _folds_note(facts: VerdictFacts, drawn: str = "The blue mark is") -> str:
    """Return that what is drawn of the real bars is no result of the evaluation, if worlds have fewer folds."""
    evaluation = facts.evaluation
    if evaluation is None:
        return ""
    folds = evaluation.validation
    # Null worlds never have a reserve, which is no fold.
    if one_path(folds) == folds.model_copy(update={"reserve": 0.0}):
        return ""
    return (
        f" {drawn} from the folds of the null worlds, which are fewer than those of the evaluation, so the Sharpe"
        " ratio differs from that of the median account."
    )


def _over_time(facts: VerdictFacts, curves: VerdictCurves, timeline: Timeline) -> Iterator[Picture]:
    worlds = {f"null worlds: {name}": curves.worlds[kind] for kind, name in FAMILIES.items() if kind in curves.worlds}
    if worlds and len(curves.observed):
        most = max(len(equity) for equity in worlds.values())
        drawn = f" The first {MOST_LINES} worlds of each family are drawn." if most > MOST_LINES else ""
        yield Picture(
            "worlds",
            "Equity on the real bars and on the null worlds",
            worlds_equity_figure(timeline, curves.observed, worlds, curves.buy_and_hold),
            f"If the blue lines run inside the others, the same training earns as much by luck."
            f"{_folds_note(facts, 'The blue lines are')}{drawn}",
            time=True,
        )
    if facts.evaluation is not None and len(curves.accounts):
        yield Picture(
            "paths",
            "Equity of every path and seed" if len(curves.accounts) > 1 else "Equity",
            accounts_picture(facts.evaluation, timeline, curves.accounts, curves.buy_and_hold),
            "As multiples of the capital: the closer the thin lines run together, the less depends on luck."
            f" {accounts_note(facts.evaluation, timeline)}",
            time=True,
        )


def _account(facts: VerdictFacts) -> Iterator[Picture]:
    if facts.deflation is not None:
        yield Picture(
            "deflation",
            "Sharpe ratio beside the number of trials",
            deflation_figure(facts.deflation, WORTHWHILE_SHARPE),
            f"The blue point has to stand clearly to the right of the orange line, the best that"
            f" {facts.deflation.trials:,} {'trial' if facts.deflation.trials == 1 else 'trials'} without an edge would"
            " reach; an interval that ends to the left of the green line means NONE.",
        )
    if facts.break_even is not None:
        yield Picture(
            "break-even",
            "What costs leave",
            break_even_figure(facts.break_even),
            "Where the line crosses zero, costs take all; the further the paid cost stands to the left of that, the"
            " safer is the profit.",
        )
    if facts.permuted_entries is not None:
        yield Picture(
            "permuted",
            "The same trades at other times",
            permuted_figure(facts.permuted_entries),
            f"Grey: the same trades in {facts.permuted_entries.permutations:,} random orders; a blue mark far to the"
            " right says that the times of the entries matter.",
        )
    ratios = _ratios(facts)
    if len(ratios) > 1:
        yield Picture(
            "beside",
            "Beside simple rules",
            beside_figure(ratios),
            "The further the top bar reaches beyond the others, the more the strategy adds; where signals one bar later"
            " earn far less, orders have to be fast.",
        )


def _ratios(facts: VerdictFacts) -> dict[str, float]:
    evaluation = facts.evaluation
    if evaluation is None:
        return {}
    own = median_account(evaluation).metrics.get("sharpe")
    if own is None:
        return {}
    others = {
        "one bar later": None if facts.delay is None else facts.delay.later,
        "majority class": None if evaluation.majority is None else evaluation.majority.get("sharpe"),
        "buy and hold": evaluation.buy_and_hold.get("sharpe"),
    }
    return {"median account": own} | {name: value for name, value in others.items() if value is not None}


def _linear(facts: VerdictFacts) -> Iterator[Picture]:
    figure = _worlds_figure([_row(LINEAR[worlds.kind], worlds) for worlds in facts.linear])
    if figure is not None:
        yield Picture(
            "linear",
            "What an edge of a linear rule would give",
            figure,
            "These worlds keep the autocorrelation of the bars; a blue mark inside the grey says that a linear rule"
            f" would find the same edge, and decides nothing.{_folds_note(facts)}",
        )

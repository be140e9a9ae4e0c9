"""Queries of a ledger of trials. Their cost does not grow with the number of rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Span
from ktrdr.core.trials.trial_database import Session
from ktrdr.core.trials.trial_sql import batches, broken_row, select_in

__all__ = [
    "distinct_trials",
    "evaluated",
    "floor_of",
    "most_settings",
    "newest_of_symbol",
    "newest_returns",
    "overlapping_spans",
    "spread_of",
    "text_named",
]

# The effective number of trials is computed from the newest trials of the newest spans.
_CORRELATED, _CORRELATED_SPANS = 100, 20


def floor_of(meta: Mapping[str, str], model: str) -> int:
    """Return the number of trials that were counted for a model from before the ledger; 0 for any other model.

    It is the larger of its version and of the version it had in the store that trained it.
    """
    name, _, version = model.partition("/")
    before: dict[str, int] = json.loads(meta.get("before", "{}"))
    return max(min(before.get(name, 0), int(version or 0)), before.get(model, 0))


def overlapping_spans(session: Session, span: Span) -> dict[int, dict[str, Any]]:
    """Return the sums of every stored span that overlaps ``span``, by id."""
    names = ("opens", "closes", "evaluations", "trainings", "rated", "total", "squares")
    marks = ", ".join("?" * len(span.symbols))
    statement = (
        f"SELECT id, {', '.join(names)} FROM trial_spans WHERE id IN (SELECT span FROM trial_span_symbols"
        f" WHERE world = ? AND symbol IN ({marks}) AND opens < ? AND closes > ?) ORDER BY id"
    )
    return {
        int(number): dict(zip(names, values, strict=True))
        for number, *values in session.execute(statement, (span.world, *span.symbols, span.end, span.start))
    }


def spread_of(spans: Iterable[Mapping[str, Any]], span: Span) -> float | None:
    """Return the standard deviation of annual Sharpe ratios of trials, if all of them were as long as ``span``.

    The standard error of an annual ratio falls with the square root of the length: that of a week is seven times that
    of a year. D. H. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio" (2014), assume trials of one length. This
    correction is KTRDR's own: each ratio is multiplied by the square root of its length over that of ``span``. What
    luck makes of it then varies as on bars as long as these, and trials of the same length are as in the source.

    Args:
        spans: sums of the Sharpe ratios of stored spans, and their first open and last close in seconds.
        span: the bars of a result.

    Returns:
        The standard deviation (n - 1); ``None`` for fewer than two ratios.
    """
    length = max(span.end - span.start, 1)
    rated, totals, squares = 0, [], []
    for each in spans:
        relative = max(int(each["closes"]) - int(each["opens"]), 1) / length
        rated += int(each["rated"])
        totals.append(each["total"] * math.sqrt(relative))
        squares.append(each["squares"] * relative)
    if rated < 2:
        return None
    total = math.fsum(totals)
    return math.sqrt(max(math.fsum(squares) - total * total / rated, 0.0) / (rated - 1))


def evaluated(spans: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Return the ids of those spans on which trials have traded."""
    return [number for number, each in spans.items() if each["evaluations"]]


def distinct_trials(session: Session, spans: Mapping[int, Mapping[str, Any]]) -> int:
    """Return the number of distinct trials in these spans."""
    number = sum(int(each["evaluations"]) + int(each["trainings"]) for each in spans.values())
    if not any(each["trainings"] for each in spans.values()):
        return number
    for training, evaluation, pairs in session.execute("SELECT training_span, evaluation_span, pairs FROM trial_pairs"):
        if training in spans and evaluation in spans:
            number -= int(pairs)
    return number


def most_settings(session: Session, strategy: str) -> int | None:
    """Return the number of settings of the largest sweep that included a strategy; ``None`` if none did."""
    statement = "SELECT max(chosen_among) FROM trial_rows WHERE strategy = ?"
    ((most,),) = session.execute(statement, (strategy,))
    return None if most is None else int(most)


def newest_of_symbol(session: Session, symbol: str, below: int, limit: int) -> list[tuple[int, str]]:
    """Return number and content of the newest rows that looked at a symbol, without reading other rows.

    They are among the newest rows of the spans with the newest rows.
    """
    spans = session.execute(
        "SELECT span, newest FROM (SELECT span, (SELECT max(number) FROM trial_rows WHERE trial_rows.span = spans.span"
        " AND number < ?) AS newest FROM (SELECT DISTINCT span FROM trial_span_symbols WHERE symbol = ?) AS spans)"
        " AS found WHERE newest IS NOT NULL ORDER BY newest DESC LIMIT ?",
        (below, symbol, limit),
    )
    numbers: list[int] = []
    for span, _ in list(spans):
        statement = "SELECT number, 1 FROM trial_rows WHERE span = ? AND number < ? ORDER BY number DESC LIMIT ?"
        numbers += [int(number) for number, _ in session.execute(statement, (span, below, limit))]
    return _contents(session, sorted(numbers, reverse=True)[:limit])


def _contents(session: Session, numbers: Sequence[int]) -> list[tuple[int, str]]:
    """Return number and content of rows, in the order of their numbers."""
    found: dict[int, str] = {}
    for batch in batches(numbers):
        found |= select_in(session, "SELECT number, content FROM trial_rows WHERE number IN", batch)
    return [(number, found[number]) for number in numbers]


def newest_returns(session: Session, spans: Iterable[int]) -> list[DailyReturns]:
    """Return the daily returns of the newest trials of these spans; trials without returns are left out."""
    numbers: list[int] = []
    for span in sorted(spans)[-_CORRELATED_SPANS:]:
        rows = session.execute(
            "SELECT number, 1 FROM trial_rows WHERE span = ? AND trades = 1 AND counted = 1"
            " ORDER BY number DESC LIMIT ?",
            (span, _CORRELATED),
        )
        numbers += [int(number) for number, _ in rows]
    found = []
    for _, content in _contents(session, sorted(numbers, reverse=True)[:_CORRELATED]):
        try:
            returns = json.loads(content)["returns"]
            if returns is not None:
                found.append(DailyReturns.from_json(returns))
        except (ValueError, KeyError, TypeError, RecursionError, BadInputError):
            continue  # a broken row, which `verify` reports
    return found


def text_named(digest: str, content: str) -> str:
    """Return the hash of the strategy file that a row refers to.

    Raises:
        BadInputError: the row was changed.
    """
    try:
        if isinstance(content, str):
            return str(json.loads(content)["text"])
        raise TypeError("it is not text")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadInputError(
            f"{broken_row(digest, 'was changed')} and cannot be exported; put back a copy of the ledger"
        ) from None

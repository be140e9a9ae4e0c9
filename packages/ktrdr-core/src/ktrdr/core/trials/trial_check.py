"""Check of a ledger of trials: every row, its link to the row before, and everything derived from it."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ktrdr.core.trials.look import sharpe_of
from ktrdr.core.trials.row import TrialRow, first_link, text_hash
from ktrdr.core.trials.trial_database import Session
from ktrdr.core.trials.trial_sql import BATCH, broken_row, is_whole, read_meta, select_in

__all__ = ["Chain", "LedgerCheck"]

# Keys of the content of a row.
_FIELDS = TrialRow.model_fields.keys() - {"id", "hash"}


@dataclass(frozen=True, slots=True)
class Chain:
    """The rows of one ledger in this database. ``problem`` names the first broken row, or is empty."""

    ledger: str
    own: bool
    rows: int
    problem: str


class LedgerCheck:
    """The state of a check: what was read so far, and what is wrong with it."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._last = 0
        self._rows: Counter[str] = Counter()
        self._problems: dict[str, str] = {}
        self._links: set[str] = set()
        self._ends: set[str] = set()
        self._counted: set[str] = set()
        self._spans: dict[int, tuple[str, str, int, int]] = {}
        self._texts: set[str] = set()
        self._derived = _Derived()

    def read(self, session: Session) -> bool:
        """Read the next rows; return False if there is none."""
        statement = f"SELECT {', '.join(_Kept._fields)} FROM trial_rows WHERE number > ? ORDER BY number LIMIT ?"
        page = [_Kept(*values) for values in session.execute(statement, (self._last, BATCH))]
        rows = [_row_of(kept.content) if is_whole(kept.hash, kept.content) else None for kept in page]
        self._spans |= _places(session, {kept.span for kept in page} - self._spans.keys())
        self._texts |= _whole_texts(session, {row["text"] for row in rows if row is not None} - self._texts)
        for kept, row in zip(page, rows, strict=True):
            self._rows[kept.ledger] += 1
            self._links.add(kept.hash)
            if what := self._wrong(kept, row):
                self._problems.setdefault(kept.ledger, broken_row(kept.hash, what))
            self._counted.add(kept.trial)
            self._ends.add(kept.hash)
            if row is not None:
                self._ends.discard(row["previous"])
                if kept.counted:
                    self._derived.take_in(row, kept.span)
            self._last = kept.number
        return bool(page)

    def _wrong(self, kept: _Kept, row: Mapping[str, Any] | None) -> str:
        if row is None:
            return "was changed"
        if not _is_filed_right(kept, row, self._spans.get(kept.span)):
            return "is stored with columns that differ from its content"
        if row["previous"] != first_link(kept.ledger) and row["previous"] not in self._links:
            return "follows a row that is missing"
        if row["text"] not in self._texts:
            return "has lost its strategy file, or that was changed"
        return "" if bool(kept.counted) == (kept.trial not in self._counted) else "is counted wrongly"

    def chains(self, session: Session) -> list[Chain]:
        """Return the result per ledger, after the checks that need all rows."""
        own, problems = self._own, self._problems
        head = read_meta(session)["head"]
        if head != first_link(own) and head not in self._links:
            problems.setdefault(own, broken_row(head, "is missing"))
        elif head in self._links and head not in self._ends:
            problems.setdefault(own, broken_row(head, "is stored as the last one, but another row follows it"))
        if not problems and self._derived != _Derived.stored(session):
            problems[own] = "the numbers that the ledger of trials counts with are not those of its rows"
        if not problems and _all_span_symbols(session) != {
            (number, world, symbol, start, end)
            for number, (world, symbols, start, end) in self._spans.items()
            for symbol in json.loads(symbols)
        }:
            problems[own] = "the symbols by which the ledger of trials finds its rows are not those of its rows"
        names = sorted({own, *self._rows}, key=lambda name: (name != own, str(name)))
        return [Chain(name, name == own, self._rows[name], problems.get(name, "")) for name in names]


class _Kept(NamedTuple):
    """A row as it is stored: its content, and the columns derived from it."""

    number: int
    hash: str
    ledger: str
    trial: str
    fitted: str
    strategy: str
    trades: int
    span: int
    counted: int
    chosen_among: int | None
    content: str


def _places(session: Session, spans: set[int]) -> dict[int, tuple[str, str, int, int]]:
    """Return world, symbols, start and end of spans, by id; at most a batch of them."""
    if not spans:
        return {}
    marks = ", ".join("?" * len(spans))
    statement = f"SELECT id, world, symbols, opens, closes FROM trial_spans WHERE id IN ({marks})"
    return {
        int(number): (world, symbols, start, end)
        for number, world, symbols, start, end in session.execute(statement, sorted(spans))
    }


def _all_span_symbols(session: Session) -> set[tuple[int, str, str, int, int]]:
    return {
        (int(span), world, symbol, start, end)
        for span, world, symbol, start, end in session.execute(
            "SELECT span, world, symbol, opens, closes FROM trial_span_symbols"
        )
    }


def _whole_texts(session: Session, hashes: set[str]) -> set[str]:
    """Return those of a batch of hashes whose strategy files are stored unchanged."""
    found = select_in(session, "SELECT hash, text FROM trial_texts WHERE hash IN", sorted(hashes))
    return {digest for digest, text in found.items() if isinstance(text, str) and text_hash(text) == digest}


def _row_of(content: str) -> dict[str, Any] | None:
    """Return the fields of a row; ``None`` if it is malformed, since a changed row may have a changed hash."""
    try:
        row = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.keys() != _FIELDS or not isinstance(row["metrics"], dict):
        return None
    symbols = row["symbols"]
    words = [row["previous"], row["text"], row["fitted"], *(symbols if isinstance(symbols, list) else [None])]
    return row if all(isinstance(word, str) for word in words) else None


def _is_filed_right(kept: _Kept, row: Mapping[str, Any], span: tuple[str, str, int, int] | None) -> bool:
    place = (row["world"], json.dumps(sorted(row["symbols"])), _seconds(row["start"]), _seconds(row["end"]))
    columns = (kept.ledger, kept.trial, kept.fitted, kept.strategy, kept.chosen_among, bool(kept.trades))
    return span == place and columns == (
        *(row[name] for name in ("ledger", "trial", "fitted", "strategy", "chosen_among")),
        row["kind"] != "training",
    )


def _seconds(time: Any) -> int | None:
    try:
        return int(dt.datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


class _Derived:
    """Sums per span and pairs of trials, computed from the counted rows or read from the tables."""

    def __init__(self) -> None:
        self.sums: dict[int, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0, 0.0])
        self.pairs: Counter[tuple[int, int]] = Counter()
        self._first: dict[str, dict[bool, int]] = defaultdict(dict)

    def take_in(self, row: Mapping[str, Any], span: int) -> None:
        trades = row["kind"] != "training"
        own, sharpe = self.sums[span], sharpe_of(row["metrics"]) if trades else None
        own[0 if trades else 1] += 1
        if sharpe is not None:
            own[2] += 1
            own[3] += sharpe
            own[4] += sharpe * sharpe
        first = self._first[row["fitted"]]
        if trades not in first:
            first[trades] = span
            if len(first) == 2:
                self.pairs[first[False], first[True]] += 1

    @classmethod
    def stored(cls, session: Session) -> _Derived:
        found = cls()
        for span, *own in session.execute("SELECT id, evaluations, trainings, rated, total, squares FROM trial_spans"):
            if any(own):
                found.sums[int(span)] = [float(value) for value in own]
        for training, evaluation, pairs in session.execute(
            "SELECT training_span, evaluation_span, pairs FROM trial_pairs"
        ):
            found.pairs[int(training), int(evaluation)] = int(pairs)
        return found

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Derived)
            and self.pairs == other.pairs
            and self.sums.keys() == other.sums.keys()
            and all(
                math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-6)
                for span, own in self.sums.items()
                for one, two in zip(own, other.sums[span], strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

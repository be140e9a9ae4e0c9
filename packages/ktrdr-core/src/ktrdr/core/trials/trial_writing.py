"""Writing of rows of a ledger of trials, and of the values derived from them."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ktrdr.core.trials.look import Look, Span, sharpe_of
from ktrdr.core.trials.row import TrialRow, content_of, first_link, hash_of, text_hash
from ktrdr.core.trials.trial_database import Session, TrialDatabase
from ktrdr.core.trials.trial_sql import batches, broken_row, is_whole, read_meta, select_in, write_meta
from ktrdr.core.trials.trial_tables import SCHEMA_VERSION, TABLES

__all__ = [
    "Entry",
    "entry_of_row",
    "known_hashes",
    "make_tables",
    "record_looks",
    "text_of",
    "write_entries",
    "write_texts",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to be written, and the values derived from it."""

    hash: str
    content: str
    ledger: str
    trial: str
    fitted: str
    strategy: str
    trades: bool
    chosen_among: int | None
    span: Span
    sharpe: float | None


def make_tables(
    session: Session, database: TrialDatabase, take_in: Callable[[], Iterable[Look]], versions: Mapping[str, int]
) -> None:
    """Create the tables of a new ledger, and record the looks that were taken before."""
    for statement in TABLES:
        session.execute(statement.format(integer=database.integer, key=database.key))
    ledger = secrets.token_hex(6)
    for name, value in {
        "id": ledger,
        "schema": str(SCHEMA_VERSION),
        "created": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "head": first_link(ledger),
    }.items():
        write_meta(session, name, value)
    looks = list(take_in())
    record_looks(session, ledger, looks)
    before = dict(versions)
    for look in looks:
        name, _, version = look.model.partition("/")
        before[name] = max(before.get(name, 0), int(version or 0))
    write_meta(session, "before", json.dumps(before))


def record_looks(session: Session, ledger: str, looks: Sequence[Look]) -> None:
    """Append a row to the chain of ``ledger`` for each look that is new, or was part of a smaller sweep before."""
    meta = read_meta(session)
    head, now = meta["head"], dt.datetime.now(dt.UTC)
    _look_at_head(session, ledger, head)
    for batch in batches(looks):
        trials = [look.trial for look in batch]
        known = {
            trial: int(most)
            for trial, most in select_in(
                session,
                "SELECT trial, max(coalesce(chosen_among, 0)) FROM trial_rows WHERE trial IN",
                sorted(set(trials)),
                " GROUP BY trial",
            ).items()
        }
        entries = []
        for trial, look in zip(trials, batch, strict=True):
            if trial in known and known[trial] >= (look.chosen_among or 0):
                continue
            known[trial] = look.chosen_among or 0
            content = content_of(look, ledger=ledger, time=now, previous=head)
            head = hash_of(content)
            entries.append(
                Entry(
                    head, content, ledger, trial, look.fitted, look.strategy, look.kind != "training",
                    look.chosen_among, look.span, look.sharpe,
                )
            )  # fmt: skip
        write_texts(session, {text_hash(look.text): look.text for look in batch})
        write_entries(session, entries)
    write_meta(session, "head", head)


def _look_at_head(session: Session, ledger: str, head: str) -> None:
    """Mark the ledger as broken if its last row is missing or was changed."""
    if head == first_link(ledger):
        return
    found = [content for (content,) in session.execute("SELECT content FROM trial_rows WHERE hash = ?", (head,))]
    if not found or not is_whole(head, found[0]):
        write_meta(session, "broken", broken_row(head, "is missing" if not found else "was changed"))


def entry_of_row(row: TrialRow, content: str) -> Entry:
    """Return the entry of a row that another ledger recorded."""
    return Entry(
        hash=row.hash,
        content=content,
        ledger=row.ledger,
        trial=row.trial,
        fitted=row.fitted,
        strategy=row.strategy,
        trades=row.kind != "training",
        chosen_among=row.chosen_among,
        span=row.span,
        sharpe=None if row.kind == "training" else sharpe_of(row.metrics),
    )


def text_of(entry: Entry) -> str:
    """Return the hash of the strategy file of an entry."""
    return str(json.loads(entry.content)["text"])


def write_texts(session: Session, texts: Mapping[str, str]) -> None:
    """Store strategy files by their hashes; known ones are not written again."""
    session.execute_many(
        "INSERT INTO trial_texts (hash, text) VALUES (?, ?) ON CONFLICT DO NOTHING", sorted(texts.items())
    )


def write_entries(session: Session, entries: Sequence[Entry]) -> None:
    """Write rows and the values derived from them: which rows are counted, sums per span, pairs."""
    known = set(
        select_in(session, "SELECT trial, 1 FROM trial_rows WHERE counted = 1 AND trial IN", _each(entries, "trial"))
    )
    partners = _partners(session, _each(entries, "fitted"))
    spans: dict[Span, int] = {}
    sums: dict[int, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0, 0.0])
    pairs: Counter[tuple[int, int]] = Counter()
    rows = []
    for entry in entries:
        if entry.span not in spans:
            spans[entry.span] = _span_id(session, entry.span)
        span = spans[entry.span]
        counted = entry.trial not in known
        if counted:
            known.add(entry.trial)
            own = sums[span]
            own[0 if entry.trades else 1] += 1
            if entry.sharpe is not None:
                own[2] += 1
                own[3] += entry.sharpe
                own[4] += entry.sharpe * entry.sharpe
            of_fitted = partners[entry.fitted]
            if entry.trades not in of_fitted:
                of_fitted[entry.trades] = span
                if len(of_fitted) == 2:
                    pairs[of_fitted[False], of_fitted[True]] += 1
        rows.append(
            (
                entry.hash, entry.ledger, entry.trial, entry.fitted, entry.strategy, int(entry.trades), span,
                int(counted), entry.chosen_among, entry.content,
            )
        )  # fmt: skip
    session.execute_many(
        "INSERT INTO trial_rows"
        " (hash, ledger, trial, fitted, strategy, trades, span, counted, chosen_among, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    session.execute_many(
        "UPDATE trial_spans SET evaluations = evaluations + ?, trainings = trainings + ?, rated = rated + ?,"
        " total = total + ?, squares = squares + ? WHERE id = ?",
        [(*own, span) for span, own in sums.items()],
    )
    session.execute_many(
        "INSERT INTO trial_pairs (training_span, evaluation_span, pairs) VALUES (?, ?, ?)"
        " ON CONFLICT (training_span, evaluation_span) DO UPDATE SET pairs = trial_pairs.pairs + excluded.pairs",
        [(*place, number) for place, number in pairs.items()],
    )


def _partners(session: Session, fitted: Sequence[str]) -> dict[str, dict[bool, int]]:
    """Return the span of the first training and of the first evaluation of each choice of a model, by ``trades``."""
    found: dict[str, dict[bool, int]] = defaultdict(dict)
    marks = ", ".join("?" * len(fitted))
    if fitted:
        statement = (
            "SELECT fitted, trades, span FROM trial_rows WHERE number IN (SELECT min(number) FROM trial_rows"
            f" WHERE counted = 1 AND fitted IN ({marks}) GROUP BY fitted, trades)"
        )
        for choice, trades, span in session.execute(statement, fitted):
            found[choice][bool(trades)] = int(span)
    return found


def _span_id(session: Session, span: Span) -> int:
    symbols = json.dumps(sorted(span.symbols))
    place = (span.world, symbols, span.start, span.end)
    statement = "SELECT id FROM trial_spans WHERE world = ? AND symbols = ? AND opens = ? AND closes = ?"
    found = list(session.execute(statement, place))
    if not found:
        session.execute("INSERT INTO trial_spans (world, symbols, opens, closes) VALUES (?, ?, ?, ?)", place)
        found = list(session.execute(statement, place))
        session.execute_many(
            "INSERT INTO trial_span_symbols (world, symbol, opens, closes, span) VALUES (?, ?, ?, ?, ?)",
            [(span.world, symbol, span.start, span.end, found[0][0]) for symbol in sorted(set(span.symbols))],
        )
    return int(found[0][0])


def known_hashes(session: Session, hashes: Sequence[str]) -> set[str]:
    """Return those of a batch of hashes that are stored."""
    return set(select_in(session, "SELECT hash, 1 FROM trial_rows WHERE hash IN", hashes))


def _each(entries: Sequence[Entry], name: str) -> list[str]:
    return sorted({getattr(entry, name) for entry in entries})

"""The ledger of trials: append-only, each row chained to the one before, counted by the bars that were looked at.

Rows are texts, and the hash of a row is taken of its text. Whatever else the tables hold is derived from these texts:
by what a row is found, and per span of bars the number of trials and the sums of their Sharpe ratios, so that the count
for a result takes no longer with a million rows than with one.

A trial is counted once, however many rows it has, and in whichever ledgers. A training and the first evaluation of the
same choice of a model are one trial: such a pair is counted once where both looked at bars of the result.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.trials.count import TrialCount, effective_trials, mean_correlation
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span, sharpe_of
from ktrdr.core.trials.row import TrialRow, content_of, first_link, hash_of, text_hash
from ktrdr.core.trials.trial_database import Session, TrialDatabase, TrialStoreError
from ktrdr.core.trials.trial_tables import SCHEMA_VERSION, TABLES

__all__ = ["Chain", "Listed", "TrialLedger"]

_BATCH = 500
# More than any row has; what every database holds.
_LARGEST_NUMBER = 2**62
# What the effective number is told from: the newest trials, of the spans looked at last.
_CORRELATED, _CORRELATED_SPANS = 100, 20
# What the content of a row has.
_FIELDS = TrialRow.model_fields.keys() - {"id", "hash"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A row in a list. ``number`` is its place in this database, by which a list goes on."""

    number: int
    row: TrialRow


@dataclass(frozen=True, slots=True)
class Chain:
    """One ledger's rows here. ``problem`` names the first row that is broken, or is empty."""

    ledger: str
    own: bool
    rows: int
    problem: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row that is to be written, and what is derived from it."""

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


class TrialLedger:
    """A ledger, and copies of others, in one database. Safe for any number of processes.

    Args:
        database: that holds it; the tables are made where there are none.
        take_in: gives the looks that were taken before there was a ledger, when it is made.
        versions: gives the highest version of each model that was stored then.

    Raises:
        TrialStoreError: the database cannot be used.
        BadInputError: it was made by a newer KTRDR.
    """

    def __init__(
        self,
        database: TrialDatabase,
        take_in: Callable[[], Iterable[Look]] = tuple,
        versions: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._database = database
        with database.reading() as session:
            made = _meta(session) if database.has(session, "trial_meta") else None
        if made is None:
            with database.writing() as session:
                if not database.has(session, "trial_meta"):
                    _make(session, database, take_in, versions())
                made = _meta(session)
        if not {"id", "schema", "head"} <= made.keys() or not made["schema"].isdecimal():
            raise TrialStoreError(
                f"the ledger of trials {database.place} has lost what says whose it is; put back a copy of it, or move"
                " it away: a new ledger then begins, which knows only the models and runs that are stored here"
            )
        if int(made["schema"]) > SCHEMA_VERSION:
            raise BadInputError(
                f"the ledger of trials {database.place} was made by a newer KTRDR (its format is {made['schema']}, this"
                f" one reads {SCHEMA_VERSION}); update KTRDR"
            )
        self.id = made["id"]
        """Twelve hexadecimal digits."""

    # Writing.

    def record(self, looks: Sequence[Look]) -> None:
        """Append a row for each look that is not known yet; all of them, or none.

        A look that was taken before (the same choice, on the same bars) is known: it adds nothing.

        Raises:
            TrialStoreError: that cannot be done; the results must not be shown.
        """
        with self._database.writing() as session:
            _record(session, self.id, looks)

    def judge(self, looks: Sequence[Look], *, model: str = "") -> TrialCount:
        """Record looks at the same bars, and return what is known then of the trials that looked at them.

        Args:
            looks: one at least; all cells of a sweep, say.
            model: see :meth:`count`.

        Raises:
            TrialStoreError: they cannot be recorded; the results must not be shown.
        """
        self.record(looks)
        return self.count(looks[0].span, strategy=looks[0].strategy, model=model)

    def add(self, rows: Iterable[tuple[str, str]], texts: Mapping[str, str]) -> int:
        """Add rows of other ledgers, in their order, and return how many were not known.

        Args:
            rows: hash and content of each.
            texts: strategy files of the rows, by hash.

        Raises:
            BadInputError: a row is not what its hash says, or the row before it is missing; nothing is added.
        """
        added = 0
        with self._database.writing() as session:
            head = before = _meta(session)["head"]
            for batch in _batches(rows):
                known = _known_hashes(session, [given for given, _ in batch])
                entries = []
                for given, content in batch:
                    if given in known and hash_of(content) == given:
                        continue
                    row = TrialRow.read(content)
                    if row.hash != given:
                        raise BadInputError(
                            f"row {given[:16]} is not what it was when it was written; export it anew from a ledger"
                            " that `ktrdr trials verify` accepts"
                        )
                    if given in known:
                        continue
                    known.add(given)
                    if row.text not in texts:
                        raise BadInputError(f"the strategy of row {row.id} is missing; export it anew")
                    if row.previous != first_link(row.ledger) and row.previous not in known:
                        known |= _known_hashes(session, [row.previous])
                        if row.previous not in known:
                            raise BadInputError(
                                f"the row before {row.id} in ledger {row.ledger} is missing; export the whole ledger"
                                " anew"
                            )
                    if row.returns is not None:
                        DailyReturns.from_json(row.returns)
                    if row.ledger == self.id and row.previous == head:
                        # This is an older copy of the ledger that wrote the row: go on where that stopped.
                        head = row.hash
                    entries.append(_entry_of_row(row, content))
                _write_texts(session, {row_text: texts[row_text] for row_text in {_text_of(e) for e in entries}})
                _write(session, entries)
                added += len(entries)
            if head != before:
                _set_meta(session, "head", head)
        return added

    # Counting.

    def count(self, span: Span, *, strategy: str = "", model: str = "") -> TrialCount:
        """Return what is known of the trials that looked at bars of ``span``.

        Args:
            span: the bars of a result; its own trial has been recorded.
            strategy: hash of its strategy, to tell whether that was a cell of a sweep.
            model: ``name/version`` that it is of. For a model from before the ledger no fewer are counted than its
                version, which is what was counted then.
        """
        with self._database.reading() as session:
            meta = _meta(session)
            spans = _overlapping(session, span)
            known = _distinct(session, spans)
            known = max(known, _before(meta, model))
            rated = sum(each["rated"] for each in spans.values())
            total = math.fsum(each["total"] for each in spans.values())
            squares = math.fsum(each["squares"] for each in spans.values())
            spread = None
            if rated > 1:
                spread = math.sqrt(max(squares - total * total / rated, 0.0) / (rated - 1))
            evaluated = [number for number, each in spans.items() if each["evaluations"]]
            correlation = mean_correlation(_newest_returns(session, evaluated))
            found = next(
                iter(session.execute("SELECT max(chosen_among) FROM trial_rows WHERE strategy = ?", (strategy,)))
            )[0]
        return TrialCount(
            known=known,
            ledger=self.id,
            spread=spread,
            effective=None if correlation is None or known < 2 else effective_trials(known, correlation),
            chosen_among=None if found is None else int(found),
            broken=meta.get("broken", ""),
        )

    # Reading.

    def rows(self) -> int:
        """Return how many rows there are, of all ledgers here."""
        with self._database.reading() as session:
            return int(next(iter(session.execute("SELECT count(*) FROM trial_rows")))[0])

    def broken(self) -> str:
        """Return what :meth:`verify`, or the last recording, has found wrong, in one sentence; empty for nothing."""
        with self._database.reading() as session:
            return _meta(session).get("broken", "")

    def page(self, *, symbol: str | None = None, before: int | None = None, limit: int = 20) -> list[Listed]:
        """Return rows, those written last first, a page of them.

        A row that cannot be read is left out, and :meth:`broken` names it from then on.

        Args:
            symbol: only those that looked at its bars.
            before: only those with a smaller number: the last one of the page before.
            limit: how many at most.
        """
        below = _LARGEST_NUMBER if before is None else before
        with self._database.reading() as session:
            if symbol is None:
                statement = "SELECT number, content FROM trial_rows WHERE number < ? ORDER BY number DESC LIMIT ?"
                found = [(int(number), content) for number, content in session.execute(statement, (below, limit))]
            else:
                found = _newest_of(session, symbol, below, limit)
        listed = []
        for number, content in found:
            try:
                listed.append(Listed(number, TrialRow.read(content)))
            except BadInputError:
                self._remember_unreadable(number)
        return listed

    def _remember_unreadable(self, number: int) -> None:
        with self._database.writing() as session:
            if not _meta(session).get("broken"):
                for (digest,) in session.execute("SELECT hash FROM trial_rows WHERE number = ?", (number,)):
                    _set_meta(session, "broken", _broken(digest, "was changed"))

    def get(self, row_id: str) -> tuple[TrialRow, str]:
        """Return a row, by its id or by as much of it as tells it from others, and the text of its strategy.

        Raises:
            NotFoundError: there is none, or more than one.
        """
        wanted = row_id.lower()
        if not 4 <= len(wanted) <= 64 or not set(wanted) <= set("0123456789abcdef"):
            raise NotFoundError(f"{row_id!r} is no id of a trial; `ktrdr trials list` shows them")
        with self._database.reading() as session:
            # A hash ends with a digit up to f: what begins with it lies between it and it with a g.
            found = [
                content
                for (content,) in session.execute(
                    "SELECT content FROM trial_rows WHERE hash >= ? AND hash < ? LIMIT 2", (wanted, f"{wanted}g")
                )
            ]
            if not found:
                raise NotFoundError(f"there is no trial {row_id} in this ledger; `ktrdr trials list` shows them")
            if len(found) > 1:
                raise NotFoundError(f"several trials begin with {row_id}; give more digits")
            row = TrialRow.read(found[0])
            texts = [text for (text,) in session.execute("SELECT text FROM trial_texts WHERE hash = ?", (row.text,))]
        return row, texts[0] if texts else ""

    def export(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield hash and content of every row, in the order of writing, and its strategy's text with the first row
        that has it."""
        told: set[str] = set()
        last = 0
        while True:
            with self._database.reading() as session:
                page = [
                    (int(number), digest, content)
                    for number, digest, content in session.execute(
                        "SELECT number, hash, content FROM trial_rows WHERE number > ? ORDER BY number LIMIT ?",
                        (last, _BATCH),
                    )
                ]
                named = [_text_named(digest, content) for _, digest, content in page]
                texts = _select_in(
                    session, "SELECT hash, text FROM trial_texts WHERE hash IN", sorted(set(named) - told)
                )
            if not page:
                return
            for (number, digest, content), text_id in zip(page, named, strict=True):
                yield digest, content, texts.get(text_id) if text_id not in told else None
                told.add(text_id)
                last = number

    def verify(self) -> list[Chain]:
        """Check every row, its place in its chain, and what is derived from it; remember what is found.

        Other commands go on with a ledger that is broken, and say so: see
        :attr:`ktrdr.core.trials.count.TrialCount.broken`.
        """
        check, more = _Check(self.id), True
        # A page at a time, so that others record meanwhile; what they have added is read when nobody can.
        while more:
            with self._database.reading() as session:
                more = check.read(session)
        with self._database.writing() as session:
            while check.read(session):
                pass
            chains = check.chains(session)
            problem = next((chain.problem for chain in chains if chain.problem), "")
            _set_meta(session, "broken", problem)
        return chains


# Parts.


def _make(
    session: Session, database: TrialDatabase, take_in: Callable[[], Iterable[Look]], versions: Mapping[str, int]
) -> None:
    for statement in TABLES:
        session.execute(statement.format(integer=database.integer, key=database.key))
    ledger = secrets.token_hex(6)
    for name, value in {
        "id": ledger,
        "schema": str(SCHEMA_VERSION),
        "created": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "head": first_link(ledger),
    }.items():
        _set_meta(session, name, value)
    looks = list(take_in())
    _record(session, ledger, looks)
    before = dict(versions)
    for look in looks:
        name, _, version = look.model.partition("/")
        before[name] = max(before.get(name, 0), int(version or 0))
    _set_meta(session, "before", json.dumps(before))


def _before(meta: Mapping[str, str], model: str) -> int:
    name, _, version = model.partition("/")
    return min(json.loads(meta.get("before", "{}")).get(name, 0), int(version or 0))


def _meta(session: Session) -> dict[str, str]:
    return dict(session.execute("SELECT name, value FROM trial_meta"))  # type: ignore[arg-type]


def _set_meta(session: Session, name: str, value: str) -> None:
    session.execute(
        "INSERT INTO trial_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _record(session: Session, ledger: str, looks: Sequence[Look]) -> None:
    meta = _meta(session)
    head, now = meta["head"], dt.datetime.now(dt.UTC)
    _look_at_head(session, ledger, head)
    for batch in _batches(looks):
        trials = [look.trial for look in batch]
        known = {
            trial: int(most)
            for trial, most in _select_in(
                session,
                "SELECT trial, max(coalesce(chosen_among, 0)) FROM trial_rows WHERE trial IN",
                sorted(set(trials)),
                " GROUP BY trial",
            ).items()
        }
        entries = []
        for trial, look in zip(trials, batch, strict=True):
            # Known, and as one among no fewer.
            if trial in known and known[trial] >= (look.chosen_among or 0):
                continue
            known[trial] = look.chosen_among or 0
            content = content_of(look, ledger=ledger, time=now, previous=head)
            head = hash_of(content)
            entries.append(
                _Entry(
                    head, content, ledger, trial, look.fitted, look.strategy, look.kind != "training",
                    look.chosen_among, look.span, look.sharpe,
                )
            )  # fmt: skip
        _write_texts(session, {text_hash(look.text): look.text for look in batch})
        _write(session, entries)
    _set_meta(session, "head", head)


def _look_at_head(session: Session, ledger: str, head: str) -> None:
    """Remember that the chain is broken where the row that the next one follows is not what it was."""
    if head == first_link(ledger):
        return
    found = [content for (content,) in session.execute("SELECT content FROM trial_rows WHERE hash = ?", (head,))]
    if not found or not _is_whole(head, found[0]):
        _set_meta(session, "broken", _broken(head, "is missing" if not found else "was changed"))


def _broken(digest: str, what: str) -> str:
    return f"row {digest[:16]} of the ledger of trials {what}"


def _entry_of_row(row: TrialRow, content: str) -> _Entry:
    span = Span(row.symbols, int(row.start.timestamp()), int(row.end.timestamp()), row.world)
    return _Entry(
        hash=row.hash,
        content=content,
        ledger=row.ledger,
        trial=row.trial,
        fitted=row.fitted,
        strategy=row.strategy,
        trades=row.kind != "training",
        chosen_among=row.chosen_among,
        span=span,
        sharpe=None if row.kind == "training" else sharpe_of(row.metrics),
    )


def _text_of(entry: _Entry) -> str:
    return str(json.loads(entry.content)["text"])


def _text_named(digest: str, content: str) -> str:
    try:
        if isinstance(content, str):
            return str(json.loads(content)["text"])
        raise TypeError("it is no text")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadInputError(
            f"{_broken(digest, 'was changed')} and cannot be exported; put back a copy of the ledger"
        ) from None


def _write_texts(session: Session, texts: Mapping[str, str]) -> None:
    session.execute_many(
        "INSERT INTO trial_texts (hash, text) VALUES (?, ?) ON CONFLICT DO NOTHING", sorted(texts.items())
    )


def _write(session: Session, entries: Sequence[_Entry]) -> None:
    """Write rows and what is derived from them: whether they count, sums per span, pairs."""
    known = set(
        _select_in(session, "SELECT trial, 1 FROM trial_rows WHERE counted = 1 AND trial IN", _each(entries, "trial"))
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


def _overlapping(session: Session, span: Span) -> dict[int, dict[str, Any]]:
    """Return the sums of every span that has a bar of ``span``, by id."""
    names = ("evaluations", "trainings", "rated", "total", "squares")
    marks = ", ".join("?" * len(span.symbols))
    statement = (
        f"SELECT id, {', '.join(names)} FROM trial_spans WHERE id IN (SELECT span FROM trial_span_symbols"
        f" WHERE world = ? AND symbol IN ({marks}) AND opens < ? AND closes > ?) ORDER BY id"
    )
    return {
        int(number): dict(zip(names, values, strict=True))
        for number, *values in session.execute(statement, (span.world, *span.symbols, span.end, span.start))
    }


def _distinct(session: Session, spans: Mapping[int, Mapping[str, Any]]) -> int:
    """Return the number of distinct trials in these spans."""
    number = sum(int(each["evaluations"]) + int(each["trainings"]) for each in spans.values())
    if not any(each["trainings"] for each in spans.values()):
        return number
    for training, evaluation, pairs in session.execute("SELECT training_span, evaluation_span, pairs FROM trial_pairs"):
        if training in spans and evaluation in spans:
            number -= int(pairs)
    return number


def _newest_of(session: Session, symbol: str, below: int, limit: int) -> list[tuple[int, str]]:
    """Return number and content of the newest rows that looked at a symbol; no row is touched that is not among them.

    They are in the spans whose newest rows are newest, and of each span among its own newest.
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
    for batch in _batches(numbers):
        found |= _select_in(session, "SELECT number, content FROM trial_rows WHERE number IN", batch)
    return [(number, found[number]) for number in numbers]


def _newest_returns(session: Session, spans: Iterable[int]) -> list[DailyReturns]:
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
            continue  # a broken row: `verify` says so
    return found


def _known_hashes(session: Session, hashes: Sequence[str]) -> set[str]:
    return set(_select_in(session, "SELECT hash, 1 FROM trial_rows WHERE hash IN", hashes))


def _each(entries: Sequence[_Entry], name: str) -> list[str]:
    return sorted({getattr(entry, name) for entry in entries})


def _select_in(session: Session, statement: str, values: Sequence[Any], rest: str = "") -> dict[Any, Any]:
    """Return ``{first column: second}`` of a statement that ends with ``IN``; at most a batch of values."""
    if not values:
        return {}
    marks = ", ".join("?" * len(values))
    return dict(session.execute(f"{statement} ({marks}){rest}", values))  # type: ignore[arg-type]


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Check:
    """What is known of the rows that were read so far, and what is wrong with them."""

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
        """Read the next rows; return False where there are none."""
        statement = f"SELECT {', '.join(_Kept._fields)} FROM trial_rows WHERE number > ? ORDER BY number LIMIT ?"
        page = [_Kept(*values) for values in session.execute(statement, (self._last, _BATCH))]
        rows = [_row_of(kept.content) if _is_whole(kept.hash, kept.content) else None for kept in page]
        self._spans |= _places(session, {kept.span for kept in page} - self._spans.keys())
        self._texts |= _whole_texts(session, {row["text"] for row in rows if row is not None} - self._texts)
        for kept, row in zip(page, rows, strict=True):
            self._rows[kept.ledger] += 1
            self._links.add(kept.hash)
            if what := self._wrong(kept, row):
                self._problems.setdefault(kept.ledger, _broken(kept.hash, what))
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
            return "is filed under what it is not"
        if row["previous"] != first_link(kept.ledger) and row["previous"] not in self._links:
            return "follows a row that is missing"
        if row["text"] not in self._texts:
            return "has lost its strategy file, or that was changed"
        return "" if bool(kept.counted) == (kept.trial not in self._counted) else "is counted wrongly"

    def chains(self, session: Session) -> list[Chain]:
        """Return what was found, after everything that hangs on all rows has been looked at."""
        own, problems = self._own, self._problems
        head = _meta(session)["head"]
        if head != first_link(own) and head not in self._links:
            problems.setdefault(own, _broken(head, "is missing"))
        elif head in self._links and head not in self._ends:
            problems.setdefault(own, _broken(head, "is said to be the last one, and another follows it"))
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
    """A row as it is stored: its content, and by what it is found."""

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
    """Return those of a batch of hashes whose strategy files are what they were."""
    found = _select_in(session, "SELECT hash, text FROM trial_texts WHERE hash IN", sorted(hashes))
    return {digest for digest, text in found.items() if isinstance(text, str) and text_hash(text) == digest}


def _is_whole(digest: str, content: Any) -> bool:
    # SQLite keeps bytes where there should be a text.
    return isinstance(content, str) and hash_of(content) == digest


def _row_of(content: str) -> dict[str, Any] | None:
    """Return the fields of a row, ``None`` where it is none: whoever changes a row may change its hash as well."""
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
    """Sums per span and pairs, as counted rows come to them or as they are stored."""

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

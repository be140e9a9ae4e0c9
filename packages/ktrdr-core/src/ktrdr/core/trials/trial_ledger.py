"""The ledger of trials: an append-only table of looks, in which each row has the hash of the row before.

A row is a text, and its hash is the hash of this text. All other columns and tables are derived from the texts: the
columns that rows are found by and, per span of bars, the number of trials and the sums of their Sharpe ratios. Counting
the trials for a result therefore takes the same time with a million rows as with one.

A trial is counted once, however many rows and ledgers have it. A training and the first evaluation of the same model
are one trial if both looked at bars of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span
from ktrdr.core.trials.row import TrialRow, first_link, hash_of
from ktrdr.core.trials.trial_check import Chain, LedgerCheck
from ktrdr.core.trials.trial_count import TrialCount, effective_trials, mean_correlation
from ktrdr.core.trials.trial_database import TrialDatabase, TrialStoreError
from ktrdr.core.trials.trial_queries import (
    distinct_trials,
    evaluated,
    floor_of,
    most_settings,
    newest_of_symbol,
    newest_returns,
    overlapping_spans,
    spread_of,
    text_named,
)
from ktrdr.core.trials.trial_sql import BATCH, batches, broken_row, read_meta, select_in, write_meta
from ktrdr.core.trials.trial_tables import SCHEMA_VERSION
from ktrdr.core.trials.trial_writing import (
    entry_of_row,
    known_hashes,
    make_tables,
    record_looks,
    text_of,
    write_entries,
    write_texts,
)

__all__ = ["Listed", "TrialLedger"]

# Larger than the number of any row, and within the integers of every database.
_LARGEST_NUMBER = 2**62


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a list. ``number`` is its number in this database; the next page starts below it."""

    number: int
    row: TrialRow


class TrialLedger:
    """A ledger, and copies of rows of other ledgers, in one database. Any number of processes may use it at once.

    Args:
        database: database of the ledger; missing tables are created.
        take_in: called when the tables are created; returns the looks that were taken before.
        versions: called when the tables are created; returns the highest version of each stored model by name, and by
            ``name/version`` the version of the origin of an imported model.

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
            made = read_meta(session) if database.has(session, "trial_meta") else None
        if made is None:
            with database.writing() as session:
                if not database.has(session, "trial_meta"):
                    make_tables(session, database, take_in, versions())
                made = read_meta(session)
        if not {"id", "schema", "head"} <= made.keys() or not made["schema"].isdecimal():
            raise TrialStoreError(
                f"the ledger of trials {database.place} has lost its id, format or last row; put back a copy of it, or"
                " move it away: a new ledger then begins, which knows only the models and runs that are stored here"
            )
        if int(made["schema"]) > SCHEMA_VERSION:
            raise BadInputError(
                f"the ledger of trials {database.place} was made by a newer KTRDR (its format is {made['schema']}, this"
                f" one reads {SCHEMA_VERSION}); update KTRDR"
            )
        self.id = made["id"]
        """Id of the ledger: twelve hexadecimal digits."""

    # Writing.

    def record(self, looks: Sequence[Look]) -> None:
        """Append a row for each new look, in one transaction.

        A look that was recorded before (the same choice on the same bars) adds no row.

        Raises:
            TrialStoreError: the rows cannot be written; the results must not be shown.
        """
        with self._database.writing() as session:
            record_looks(session, self.id, looks)

    def judge(self, looks: Sequence[Look], *, model: str = "") -> TrialCount:
        """Record looks at the same bars, and return the count of the trials that looked at these bars.

        Args:
            looks: at least one look, such as all cells of a sweep.
            model: see :meth:`count`.

        Raises:
            TrialStoreError: the looks cannot be recorded; the results must not be shown.
        """
        self.record(looks)
        first = looks[0]
        return self.count(first.span, strategy=first.strategy, model=model, reserve=first.reserve)

    def add(self, rows: Iterable[tuple[str, str]], texts: Mapping[str, str]) -> int:
        """Add rows of other ledgers, in their order, and return the number of new rows.

        Args:
            rows: hash and content of each row.
            texts: strategy files of the rows, by hash.

        Raises:
            BadInputError: the content of a row does not match its hash, or the row before it is missing; nothing is
                added.
        """
        added = 0
        with self._database.writing() as session:
            head = before = read_meta(session)["head"]
            for batch in batches(rows):
                known = known_hashes(session, [given for given, _ in batch])
                entries = []
                for given, content in batch:
                    if given in known and hash_of(content) == given:
                        continue
                    row = TrialRow.read(content)
                    if row.hash != given:
                        raise BadInputError(
                            f"row {given[:16]} was changed after it was written; export it again from a ledger that"
                            " `ktrdr trials verify` accepts"
                        )
                    if given in known:
                        continue
                    known.add(given)
                    if row.text not in texts:
                        raise BadInputError(f"the strategy of row {row.id} is missing; export it again")
                    if row.previous != first_link(row.ledger) and row.previous not in known:
                        known |= known_hashes(session, [row.previous])
                        if row.previous not in known:
                            raise BadInputError(
                                f"the row before {row.id} in ledger {row.ledger} is missing; export the whole ledger"
                                " again"
                            )
                    if row.returns is not None:
                        DailyReturns.from_json(row.returns)
                    if row.ledger == self.id and row.previous == head:
                        # This is an older copy of the ledger that wrote the row: continue its chain.
                        head = row.hash
                    entries.append(entry_of_row(row, content))
                write_texts(session, {row_text: texts[row_text] for row_text in {text_of(e) for e in entries}})
                write_entries(session, entries)
                added += len(entries)
            if head != before:
                write_meta(session, "head", head)
        return added

    # Counting.

    def count(self, span: Span, *, strategy: str = "", model: str = "", reserve: Span | None = None) -> TrialCount:
        """Return the count of the trials that looked at any bar of ``span``.

        The spread of their Sharpe ratios is that of trials as long as ``span``, see
        :func:`~ktrdr.core.trials.trial_queries.spread_of`.

        Args:
            span: the bars of a result; its own trial has been recorded.
            strategy: hash of the strategy of the result, for ``chosen_among``.
            model: ``name/version`` of the model of the result. For a model from before the ledger at least as many
                trials are counted as its version, which was the count at that time.
            reserve: the reserve that the result has opened, if any; the trials that looked at it are counted too.
        """
        with self._database.reading() as session:
            meta = read_meta(session)
            spans = overlapping_spans(session, span)
            known = distinct_trials(session, spans)
            known = max(known, floor_of(meta, model))
            spread = spread_of(spans.values(), span)
            correlation = mean_correlation(newest_returns(session, evaluated(spans)))
            chosen_among = most_settings(session, strategy)
            opened = None if reserve is None else distinct_trials(session, overlapping_spans(session, reserve))
        return TrialCount(
            known=known,
            ledger=self.id,
            spread=spread,
            effective=None if correlation is None or known < 2 else effective_trials(known, correlation),
            chosen_among=chosen_among,
            broken=meta.get("broken", ""),
            reserve_opened=opened,
        )

    def returns(self, span: Span) -> list[DailyReturns]:
        """Return the daily returns of the newest trials that looked at any bar of ``span``, the newest first.

        At most 100, which are read without reading other rows. Trials without returns, and rows that cannot be read,
        are left out.

        Args:
            span: the bars of a result.
        """
        with self._database.reading() as session:
            return newest_returns(session, evaluated(overlapping_spans(session, span)))

    def chosen_among(self, strategy: str) -> int | None:
        """Return the number of settings of the largest sweep that included a strategy; ``None`` if none did.

        Args:
            strategy: hash of the strategy.
        """
        with self._database.reading() as session:
            return most_settings(session, strategy)

    # Reading.

    def rows(self) -> int:
        """Return the number of rows, including those of other ledgers."""
        with self._database.reading() as session:
            return int(next(iter(session.execute("SELECT count(*) FROM trial_rows")))[0])

    def broken(self) -> str:
        """Return the damage that :meth:`verify` or a later read found, in one sentence; empty if there is none."""
        with self._database.reading() as session:
            return read_meta(session).get("broken", "")

    def warnings(self) -> tuple[str, ...]:
        """Return one sentence if the ledger is known to be damaged, else nothing."""
        problem = self.broken()
        return (f"{problem}; `ktrdr trials verify` shows more",) if problem else ()

    def page(self, *, symbol: str | None = None, before: int | None = None, limit: int = 20) -> list[Listed]:
        """Return a page of rows, newest first.

        A row that cannot be read is left out, and :meth:`broken` names it from then on.

        Args:
            symbol: to return only rows that looked at bars of this symbol.
            before: to return only rows with a smaller number: the last number of the previous page.
            limit: largest number of rows.
        """
        below = _LARGEST_NUMBER if before is None else before
        with self._database.reading() as session:
            if symbol is None:
                statement = "SELECT number, content FROM trial_rows WHERE number < ? ORDER BY number DESC LIMIT ?"
                found = [(int(number), content) for number, content in session.execute(statement, (below, limit))]
            else:
                found = newest_of_symbol(session, symbol, below, limit)
        listed = []
        for number, content in found:
            try:
                listed.append(Listed(number, TrialRow.read(content)))
            except BadInputError:
                self._remember_unreadable(number)
        return listed

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that any row looked at, sorted."""
        with self._database.reading() as session:
            found = session.execute("SELECT symbol, 1 FROM trial_span_symbols GROUP BY symbol ORDER BY symbol")
            return tuple(str(symbol) for symbol, _ in found)

    def _remember_unreadable(self, number: int) -> None:
        with self._database.writing() as session:
            if not read_meta(session).get("broken"):
                for (digest,) in session.execute("SELECT hash FROM trial_rows WHERE number = ?", (number,)):
                    write_meta(session, "broken", broken_row(digest, "was changed"))

    def get(self, row_id: str) -> tuple[TrialRow, str]:
        """Return a row and the text of its strategy.

        Args:
            row_id: id or hash of the row, or the first digits of it (at least 4), if no other row begins with them.

        Raises:
            NotFoundError: there is no such row, or there are several.
        """
        wanted = row_id.lower()
        if not 4 <= len(wanted) <= 64 or not set(wanted) <= set("0123456789abcdef"):
            raise NotFoundError(f"{row_id!r} is not the id of a trial; `ktrdr trials list` shows them")
        with self._database.reading() as session:
            # Digits go up to f, so hashes with this prefix sort between the prefix and the prefix with a g.
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
        """Yield hash, content and strategy text of every row, in the order of writing.

        The text comes with the first row that refers to it; it is ``None`` for later rows.
        """
        told: set[str] = set()
        last = 0
        while True:
            with self._database.reading() as session:
                page = [
                    (int(number), digest, content)
                    for number, digest, content in session.execute(
                        "SELECT number, hash, content FROM trial_rows WHERE number > ? ORDER BY number LIMIT ?",
                        (last, BATCH),
                    )
                ]
                named = [text_named(digest, content) for _, digest, content in page]
                texts = select_in(
                    session, "SELECT hash, text FROM trial_texts WHERE hash IN", sorted(set(named) - told)
                )
            if not page:
                return
            for (number, digest, content), text_id in zip(page, named, strict=True):
                yield digest, content, texts.get(text_id) if text_id not in told else None
                told.add(text_id)
                last = number

    def verify(self) -> list[Chain]:
        """Check every row, its link to the row before, and everything derived from it; store what is found.

        Other functions continue to work with a broken ledger and report it: see
        :attr:`ktrdr.core.trials.trial_count.TrialCount.broken`.
        """
        check, more = LedgerCheck(self.id), True
        # Page by page, so that others can record meanwhile; the rows they add are read under the write lock.
        while more:
            with self._database.reading() as session:
                more = check.read(session)
        with self._database.writing() as session:
            while check.read(session):
                pass
            chains = check.chains(session)
            problem = next((chain.problem for chain in chains if chain.problem), "")
            write_meta(session, "broken", problem)
        return chains

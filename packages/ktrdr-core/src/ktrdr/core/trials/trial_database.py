"""Where a ledger of trials is kept: a SQLite file, or another database that speaks the same SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ktrdr.core.errors import StoreError, one_line
from ktrdr.core.home import home_directory

__all__ = ["TRIALS_FILE", "SQLiteDatabase", "Session", "TrialDatabase", "TrialStoreError", "default_database"]

TRIALS_FILE = "trials.sqlite"
"""The ledger of trials below ``KTRDR_HOME``."""

_SECONDS_TO_WAIT = 60.0
_KIB_OF_PAGES = 131_072


class TrialStoreError(StoreError):
    """The ledger of trials cannot be read or written."""


class Session(Protocol):
    """A transaction. Statements have ``?`` where parameters go, and no other question mark."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Iterable[Sequence[Any]]:
        """Return the rows that a statement gives."""
        ...

    def execute_many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Execute a statement once for each of ``parameters``."""
        ...


class TrialDatabase(Protocol):
    """A database that any number of processes use at once."""

    place: str
    """For messages."""

    integer: str
    """Type of a 64-bit integer."""

    key: str
    """Type of a primary key that the database numbers itself, ascending in the order of writing."""

    def has(self, session: Session, table: str) -> bool:
        """Return True if there is such a table."""
        ...

    def reading(self) -> AbstractContextManager[Session]:
        """Return a context with a session that sees one state of the database."""
        ...

    def writing(self) -> AbstractContextManager[Session]:
        """Return a context with a session that no other writer overlaps; all of it is written, or nothing."""
        ...


class SQLiteDatabase:
    """A SQLite file.

    Its journal is not the write-ahead log, which only processes of one machine can share: a home may lie on a network
    file system. A writer that is killed leaves a journal behind, and whoever comes next rolls back what it had begun.
    """

    integer = "INTEGER"
    key = "INTEGER PRIMARY KEY AUTOINCREMENT"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)

    def has(self, session: Session, table: str) -> bool:
        """See :class:`TrialDatabase`."""
        return bool(list(session.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """See :class:`TrialDatabase`."""
        with self._session("BEGIN", "cannot be read") as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """See :class:`TrialDatabase`."""
        with self._session("BEGIN IMMEDIATE", "cannot be written, so the result is not shown") as session:
            yield session

    @contextmanager
    def _session(self, begin: str, outcome: str) -> Iterator[Session]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_SECONDS_TO_WAIT, isolation_level=None)
            try:
                # A byte that was changed makes no text, and shall be found where it is read.
                connection.text_factory = partial(str, encoding="utf-8", errors="replace")
                connection.execute("PRAGMA synchronous=FULL")
                # Hashes lie anywhere in their indexes: taking in many rows changes the same pages over and over.
                connection.execute(f"PRAGMA cache_size={-_KIB_OF_PAGES}")
                connection.execute(begin)
                yield _SQLiteSession(connection)
                connection.execute("COMMIT")
            finally:
                # What is not committed is rolled back.
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise TrialStoreError(f"the ledger of trials {self.place} {outcome}: {_reason(error)}") from error


def default_database() -> SQLiteDatabase:
    """Return the file below ``KTRDR_HOME``, which need not be there yet."""
    return SQLiteDatabase(home_directory() / TRIALS_FILE)


class _SQLiteSession:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Iterable[Sequence[Any]]:
        return self._connection.execute(statement, parameters)

    def execute_many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(statement, parameters)


def _reason(error: sqlite3.Error | OSError) -> str:
    told = one_line(error)
    match error:
        case sqlite3.OperationalError() if "locked" in told:
            return f"another process has held it for {_SECONDS_TO_WAIT:.0f} s; try again"
        case sqlite3.OperationalError() if "full" in told:
            return "the disk is full; free some space and try again"
        case sqlite3.OperationalError() | OSError():
            return f"{told}; make the file and its directory writable for this user"
        case _:
            return (
                f"{told}; put back a copy of it, or move it away: a new ledger then begins, which knows only the models"
                " and runs that are stored here"
            )

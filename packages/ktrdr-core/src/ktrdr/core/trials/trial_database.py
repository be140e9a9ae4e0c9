"""The database of a ledger of trials: a SQLite file, or another database with the same SQL."""

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
"""Name of the file of the ledger of trials in ``KTRDR_HOME``."""

_SECONDS_TO_WAIT = 60.0
_KIB_OF_PAGES = 131_072


class TrialStoreError(StoreError):
    """The ledger of trials cannot be read or written."""


class Session(Protocol):
    """A transaction. In statements ``?`` stands for a parameter, and for nothing else."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Iterable[Sequence[Any]]:
        """Execute a statement and return its rows."""
        ...

    def execute_many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Execute a statement once for each of ``parameters``."""
        ...


class TrialDatabase(Protocol):
    """A database that any number of processes may use at once."""

    place: str
    """Name of the database in messages."""

    integer: str
    """SQL type of a 64-bit integer."""

    key: str
    """SQL type of a primary key that the database assigns, ascending in the order of writing."""

    def has(self, session: Session, table: str) -> bool:
        """Return True if there is such a table."""
        ...

    def reading(self) -> AbstractContextManager[Session]:
        """Return a context with a session that reads a consistent state of the database."""
        ...

    def writing(self) -> AbstractContextManager[Session]:
        """Return a context with an exclusive write transaction, which is rolled back if it fails."""
        ...


class SQLiteDatabase:
    """A SQLite file.

    It uses a rollback journal, not a write-ahead log, which only processes of one machine can share: a home may be on a
    network file system. If a writer is killed, the next process rolls back its transaction with the journal.
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
                # A changed byte may not be UTF-8; it is found where the row is read.
                connection.text_factory = partial(str, encoding="utf-8", errors="replace")
                connection.execute("PRAGMA synchronous=FULL")
                # Hashes are spread over their indexes: writing many rows changes the same pages again and again.
                connection.execute(f"PRAGMA cache_size={-_KIB_OF_PAGES}")
                connection.execute(begin)
                yield _SQLiteSession(connection)
                connection.execute("COMMIT")
            finally:
                # Closing rolls back what is not committed.
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise TrialStoreError(f"the ledger of trials {self.place} {outcome}: {_reason(error)}") from error


def default_database() -> SQLiteDatabase:
    """Return the database file in ``KTRDR_HOME``, which need not exist."""
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

"""The ledger's database: connections, transactions and the migration of its tables."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Protocol

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, Executable, Result, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ktrdr.api.ledger.postgresql import NO_DRIVER
from ktrdr.api.ledger.records import LedgerDamagedError, LedgerUnavailableError
from ktrdr.core.errors import BadInputError, KtrdrError, one_line

__all__ = ["Database", "open_database", "prepare_database"]

_WRITERS_LOCK = 7_466_772
"""Key of the advisory lock of writers. The number is arbitrary, but must be the same in every process."""

_SECONDS_TO_OPEN = 1.0


class Reading(Protocol):
    """A connection for reading."""

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None, /) -> Result[Any]:
        """Return the result of ``statement``."""
        ...


@dataclass(frozen=True, slots=True)
class Database:
    """The connections of the ledger: an engine to write and one to read.

    On SQLite a write transaction takes the lock when it begins, so that it cannot fail half-way for another writer.
    Queries run in the thread of the event loop: one takes a fraction of the time that a change of threads takes.
    """

    writer: AsyncEngine
    reader: AsyncEngine | Engine
    proof: Callable[[], str] | None = None
    """Returns a statement that finds a row only while this process may write: see
    :class:`~ktrdr.api.ledger.one_server.PostgreSQLHold`."""

    _abandoned: set[asyncio.Task[None]] = field(default_factory=set)
    """Connections whose opening was cancelled: each is closed as soon as it is open."""

    async def migrate(self) -> None:
        """Create or upgrade the tables; several processes may do so at once.

        Raises ``BadInputError`` if the database cannot be reached, or was made by a newer version of KTRDR.
        """
        try:
            async with self.writing() as connection:
                await connection.run_sync(_upgrade)
        except CommandError as error:
            raise BadInputError(f"the ledger was made by a newer ktrdr-api ({error}); update this one") from None
        except (DBAPIError, LedgerUnavailableError) as error:
            place = self.writer.url.render_as_string(hide_password=True)
            reason = one_line(error.orig if isinstance(error, DBAPIError) and error.orig else error)
            raise BadInputError(f"the ledger at {place} cannot be used: {reason}; see KTRDR_API_DATABASE") from None

    @asynccontextmanager
    async def writing(self, *, may_conflict: bool = False) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction that overlaps no other write transaction, of this or another process.

        Events therefore become visible in the order of their numbers, and a listener that has read one has missed none
        before it. SQLite has one writer anyway; PostgreSQL could commit transactions in another order than it has
        numbered their events.

        Args:
            may_conflict: the caller handles a violated constraint, SQLAlchemy's ``IntegrityError``. Otherwise a
                violation means that rows contradict each other, and that the ledger is damaged.

        Raises:
            LedgerUnavailableError: the database cannot be reached or is too busy.
            LedgerDamagedError: rows or tables of the ledger cannot be understood.
        """
        with _unavailable(may_conflict), _damaged():
            async with AsyncExitStack() as stack:
                connection = await self._open_writer()
                stack.push_async_exit(connection)
                await stack.enter_async_context(connection.begin())
                if connection.dialect.name == "postgresql":
                    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
                if self.proof is not None:
                    # Checked under the writers' lock: a server that takes the ledger over writes only afterwards.
                    found = await connection.exec_driver_sql(self.proof())
                    if found.first() is None:
                        raise LedgerUnavailableError("this server does not have the lock on its ledger just now")
                yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """Yield a connection for one query; a second query may see later writes. Raises as :meth:`writing`."""
        with _unavailable(), _damaged():
            if isinstance(self.reader, AsyncEngine):
                async with self.reader.connect() as connection:
                    yield connection
            else:
                with self.reader.connect() as direct:
                    yield _Direct(direct)

    async def _open_writer(self) -> AsyncConnection:
        """Return an open connection of the writer; the caller closes it.

        On SQLite the connection is opened in a task of its own, which is never cancelled. When the opening itself is
        cancelled, aiosqlite leaves the thread of the connection running and does not wait for its end; if the event
        loop closes before the thread has ended, the thread fails with "Event loop is closed".
        """
        if isinstance(self.reader, AsyncEngine):
            return await self.writer.connect()
        opening = asyncio.ensure_future(self.writer.connect().start())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            closing_it = asyncio.create_task(_close_when_open(opening), name="closing of an abandoned connection")
            self._abandoned.add(closing_it)
            closing_it.add_done_callback(self._abandoned.discard)
            raise

    async def close(self) -> None:
        """Close all connections, also those whose opening was cancelled and goes on."""
        if self._abandoned:
            _, waiting = await asyncio.wait(self._abandoned, timeout=_SECONDS_TO_OPEN)
            # To open a file takes milliseconds: these wait for a free connection, and may be cancelled.
            for closing_it in waiting:
                closing_it.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await self.writer.dispose()
        if isinstance(self.reader, Engine):
            self.reader.dispose()


async def _close_when_open(opening: asyncio.Task[AsyncConnection]) -> None:
    try:
        await asyncio.wait({opening})
    except asyncio.CancelledError:
        opening.cancel()
        raise
    if opening.exception() is None:
        await opening.result().close()


class _Direct:
    """A connection whose queries run in the calling thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None, /) -> Result[Any]:
        return self._connection.execute(statement, parameters)


def open_database(url: str, proof: Callable[[], str] | None = None) -> Database:
    """Return the database at a SQLAlchemy URL: ``sqlite:///path`` or ``postgresql://user@host/name``.

    The first use opens a connection. ``proof`` as in :class:`Database`. Raises ``BadInputError`` for other databases.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadInputError("KTRDR_API_DATABASE is not a database URL such as sqlite:////srv/ledger.sqlite") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise BadInputError(
                "KTRDR_API_DATABASE names a database in memory, which a restart would lose; name a file"
            )
        writer = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"), pool_size=1, max_overflow=0)
        reader = create_engine(parsed.set(drivername="sqlite+pysqlite"), connect_args={"check_same_thread": False})
        _prepare_sqlite(writer.sync_engine, milliseconds=10_000)
        _prepare_sqlite(reader, milliseconds=1_000)

        @event.listens_for(writer.sync_engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return Database(writer, reader, proof)
    if backend == "postgresql":
        try:
            engine = create_async_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        except (ModuleNotFoundError, NoSuchModuleError):
            raise BadInputError(NO_DRIVER) from None
        return Database(engine, engine, proof)
    raise BadInputError(f"KTRDR_API_DATABASE names {backend}; SQLite and PostgreSQL are supported")


async def prepare_database(url: str) -> None:
    """Create the database at ``url`` if it is a file, and upgrade its tables.

    Raises ``BadInputError`` if it cannot be used; see :meth:`Database.migrate`.
    """
    database = open_database(url)
    try:
        _make_file(database.writer.url)
        await database.migrate()
    finally:
        await database.close()


def _make_file(url: URL) -> None:
    """Open the file once without aiosqlite, whose thread would outlive the event loop if that fails."""
    if url.get_backend_name() != "sqlite":
        return
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except (OSError, sqlite3.Error) as error:
        raise BadInputError(f"the ledger at {url} cannot be used: {error}; see KTRDR_API_DATABASE") from None


@contextmanager
def _unavailable(may_conflict: bool = False) -> Iterator[None]:
    """Translate errors of the database, but not those of wrong statements.

    A damaged file raises the most general error of the driver, or lacks a table.
    """
    try:
        yield
    except DataError:
        raise
    except (OperationalError, InterfaceError) as error:
        raise LedgerUnavailableError(str(error.orig)) from error
    except DatabaseError as error:
        if may_conflict and isinstance(error, IntegrityError):
            raise
        raise LedgerDamagedError(str(error.orig)) from error
    except PoolTimeoutError as error:
        raise LedgerUnavailableError("all connections are in use") from error


@contextmanager
def _damaged() -> Iterator[None]:
    """Take an error of values inside a transaction for damage: there is nothing but statements and rows in it."""
    try:
        yield
    except (ValueError, TypeError, KtrdrError) as error:
        raise LedgerDamagedError(f"what is stored makes no sense: {one_line(error, named=True)}") from error


def _prepare_sqlite(engine: Engine, *, milliseconds: int) -> None:
    """Set each connection up; ``milliseconds`` to wait for a lock, which readers meet only in creation or recovery."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        # The driver must not open transactions by itself.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={milliseconds}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()


def _upgrade(connection: Connection) -> None:
    with as_file(files("ktrdr.api.ledger").joinpath("migrations")) as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

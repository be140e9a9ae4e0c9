"""Open the ledger's database and bring its tables up to date."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ktrdr.core.errors import BadInputError

__all__ = ["Database", "open_database"]


@dataclass(frozen=True, slots=True)
class Database:
    """Two ways in: on SQLite a writer that takes the lock when it begins, so that it never has to give way half-way."""

    writer: AsyncEngine
    reader: AsyncEngine

    async def migrate(self) -> None:
        """Create or upgrade the tables. Several processes may do so at once on PostgreSQL."""
        async with self.writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7466772)")
            await connection.run_sync(_upgrade)

    async def close(self) -> None:
        """Close all connections."""
        await self.writer.dispose()
        if self.reader is not self.writer:
            await self.reader.dispose()


def open_database(url: str) -> Database:
    """Return the database at a SQLAlchemy URL: ``sqlite:///path`` or ``postgresql://user@host/name``.

    Nothing is opened before it is used. Raises ``BadInputError`` for any other kind.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadInputError("KTRDR_API_DATABASE is not a database URL such as sqlite:////srv/ledger.sqlite") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        parsed = parsed.set(drivername="sqlite+aiosqlite")
        writer = create_async_engine(parsed, pool_size=1, max_overflow=0)
        reader = create_async_engine(parsed, pool_size=4, max_overflow=4)
        _prepare_sqlite(writer, "BEGIN IMMEDIATE")
        _prepare_sqlite(reader, "BEGIN")
        return Database(writer, reader)
    if backend == "postgresql":
        try:
            engine = create_async_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        except (ModuleNotFoundError, NoSuchModuleError):
            raise BadInputError(
                "PostgreSQL needs its driver: install it with `pip install 'ktrdr-api[postgresql]'`"
            ) from None
        return Database(engine, engine)
    raise BadInputError(f"KTRDR_API_DATABASE names {backend}; SQLite and PostgreSQL are supported")


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        # The driver must not open transactions by itself: see "begin".
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _upgrade(connection: Connection) -> None:
    with as_file(files("ktrdr.api.ledger").joinpath("migrations")) as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

"""Locks that allow only one server per home and per ledger.

A server that starts takes over the running operations: those that its engine does not know were lost with the previous
server, and are queued again. If the previous server were still alive, every operation would run twice.

A home, and a ledger on SQLite, are locked by a file lock, which the operating system releases when the process ends,
even if it is killed. A ledger on PostgreSQL is locked by an advisory lock of a session. The database releases it when
the connection ends, also when the database restarts: the server then takes the lock again, and every write transaction
checks first that its server has the lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ktrdr.api.settings import ApiSettings
from ktrdr.core.errors import BadInputError, one_line
from ktrdr.core.files.durable import write_atomically

if TYPE_CHECKING:
    import psycopg

    from ktrdr.api.ledger.postgresql import PostgreSQL

__all__ = ["Hold", "PostgreSQLHold", "ServerHold", "Whoever", "server_hold"]

LOCK_FILE = "server.lock"
"""Name of the lock file below ``KTRDR_HOME``; the file with ``.json`` appended names the server that has the lock."""

_SERVER_LOCK = 7_466_774
"""First half of the key of the advisory lock, the same in every server; the schema is the second half."""

_LOCK_KEY = f"{_SERVER_LOCK}, hashtext(current_schema())"
# Finds the session that has the lock: same database and key, as pg_locks shows the two halves of the key.
_IS_THE_LOCK = (
    f"locktype = 'advisory' AND granted AND objsubid = 2 AND classid::bigint = {_SERVER_LOCK}"
    " AND objid::bigint = hashtext(current_schema())::bit(32)::bigint"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_HOLDER = (
    "SELECT pid, backend_start::text, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    f" WHERE {_IS_THE_LOCK}"
)

# A host that loses its network closes no connection: both ends give it up after half a minute.
_ALIVE_HERE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
_ALIVE_THERE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}

_SECONDS_FOR_A_KILLED_SERVER = 5.0
"""How long the database may take to notice that the process at the other end was killed."""

_SECONDS_FOR_A_NAME = 1.0
_LONGEST_NAME = 63


class Whoever(NamedTuple):
    """Identity of a server, for messages; ``url`` is empty if it is not known."""

    pid: int
    host: str
    url: str

    @classmethod
    def this(cls, url: str) -> Whoever:
        """Return this process."""
        return cls(os.getpid(), socket.gethostname(), url)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f", at {self.url}" if self.url else "")


class Hold(Protocol):
    """An exclusive lock of a server."""

    def take(self) -> None:
        """Take the lock; do nothing if it is taken already. Raises ``BadInputError`` if another server has it."""

    def announce(self, url: str) -> None:
        """Publish the URL of this server, for the message of a server that is refused."""

    def keep(self) -> bool:
        """Check that this server still has the lock, and take it again if it was lost.

        Returns False while the lock cannot be taken. Raises ``BadInputError`` if another server has taken it.
        """
        ...

    def release(self) -> None:
        """Release the lock."""


class FileHold:
    """A lock on a file.

    On a network file system it excludes other machines only if the file system supports such locks: NFS version 4,
    CephFS, Lustre with ``flock``.

    Args:
        path: of the lock file. The file stays after the lock is released.
        what: what is locked, for a message.
        remedy: how a second server gets its own, for a message.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        from filelock import FileLock

        self._lock = FileLock(path, timeout=0, thread_local=False)
        self._who = path.with_name(f"{path.name}.json")
        self._what = what
        self._remedy = remedy

    def take(self) -> None:
        """See :class:`Hold`."""
        from filelock import Timeout

        if self._lock.is_locked:
            return
        try:
            self._who.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._who.unlink(missing_ok=True)
            self.announce("")
        except Timeout:
            raise _taken(self._what, self._told(), self._remedy) from None
        except OSError as error:
            raise BadInputError(
                f"{self._what} cannot be used: {self._lock.lock_file} cannot be locked ({one_line(error)}); make its"
                " directory writable, on a file system that has locks"
            ) from None

    def announce(self, url: str) -> None:
        """See :class:`Hold`. Errors of the disk are ignored: the file serves only the message of a refused server."""
        from ktrdr.core.errors import StoreError

        with contextlib.suppress(StoreError, OSError):
            write_atomically(self._who, (json.dumps(Whoever.this(url)._asdict()) + "\n").encode())

    def keep(self) -> bool:
        """See :class:`Hold`: a file lock cannot be lost."""
        return True

    def release(self) -> None:
        """See :class:`Hold`."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._who.unlink(missing_ok=True)
            self._lock.release()

    def _told(self) -> Whoever | None:
        """Return the server that has the lock. One that has just taken it needs a moment to write its name."""
        deadline = time.monotonic() + _SECONDS_FOR_A_NAME
        while True:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                told = json.loads(self._who.read_text(encoding="utf-8"))
                return Whoever(int(told["pid"]), str(told["host"]), str(told["url"]))
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)


class _Holder(NamedTuple):
    """A session that has the lock; ``pid`` is its process in the database, ``None`` if the session has just ended."""

    pid: int | None
    since: str
    name: str | None


class PostgreSQLHold:
    """An advisory lock of a separate session, in the schema of the ledger.

    It does not work through a pooler that shares one session among clients (PgBouncer's transaction mode).
    """

    def __init__(self, database: PostgreSQL) -> None:
        self._database = database
        self._what = f"the ledger at {database.place}"
        self._remedy = "name another database in KTRDR_API_DATABASE"
        self._url = ""
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self._newest: tuple[int, str] | None = None
        # `keep` and `release` are called from different threads.
        self._alone = threading.Lock()
        self._given_back = False
        self.backend: int | None = None
        """Process of the database that serves the session; ``None`` while there is no session."""

    @property
    def proof(self) -> str:
        """A statement that finds a row only while this server has the lock; any session may execute it."""
        return f"SELECT 1 FROM pg_locks WHERE {_IS_THE_LOCK} AND pid = {self.backend or 0}"

    def take(self) -> None:
        """See :class:`Hold`. Also raises ``BadInputError`` if the database cannot be reached."""
        import psycopg

        if self._session is not None:
            return
        self._given_back = False
        deadline = time.monotonic() + _SECONDS_FOR_A_KILLED_SERVER
        try:
            while (holder := self._try()) is not None:
                if time.monotonic() > deadline:
                    raise _taken(self._what, _named(holder), self._remedy)
                time.sleep(0.2)
        except psycopg.Error as error:
            raise BadInputError(f"{self._what} cannot be used: {one_line(error)}; see KTRDR_API_DATABASE") from None

    def announce(self, url: str) -> None:
        """See :class:`Hold`."""
        import psycopg

        self._url = url
        if self._session is not None:
            with contextlib.suppress(psycopg.Error):
                self._session.execute("SELECT set_config('application_name', %s, false)", (_name(url),))

    def keep(self) -> bool:
        """See :class:`Hold`."""
        import psycopg

        with self._alone:
            if self._given_back:
                return False
            if self._session is not None:
                try:
                    self._session.execute("SELECT 1")
                except psycopg.Error:
                    self._drop()
                else:
                    return True
            try:
                holder = self._try()
            except psycopg.Error:
                return False
            if holder is None:
                return True
            # Not another server: our own session before the connection broke, or one that has just ended.
            if holder.pid is None or (holder.pid, holder.since) == self._newest:
                return False
            raise _taken(self._what, _named(holder), self._remedy)

    def release(self) -> None:
        """See :class:`Hold`."""
        with self._alone:
            self._given_back = True
            self._drop()

    def _try(self) -> _Holder | None:
        """Take the lock in a new session, and return ``None``; or return the session that has it."""
        session = self._database.connect(autocommit=True, application_name=_name(self._url), **_ALIVE_HERE)
        try:
            for name, value in _ALIVE_THERE.items():
                session.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
            found = session.execute(_HOLDER.encode()).fetchone()
            if found is not None and self._newest == (found[0], found[1]):
                # Our own earlier session: the database has not noticed yet that its connection broke.
                session.execute("SELECT pg_terminate_backend(%s)", (found[0],))
            given = session.execute(f"SELECT pg_try_advisory_lock({_LOCK_KEY})".encode()).fetchone()
            if given is None or not given[0]:
                session.close()
                return _Holder(*(found or (None, "", "")))
            mine = session.execute(
                "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            ).fetchone()
            assert mine is not None
        except BaseException:
            session.close()
            raise
        self._session, self._newest, self.backend = session, (mine[0], mine[1]), mine[0]
        return None

    def _drop(self) -> None:
        session, self._session, self.backend = self._session, None, None
        if session is not None:
            session.close()


class ServerHold:
    """All locks of a server, taken and released together."""

    def __init__(self, holds: list[FileHold | PostgreSQLHold]) -> None:
        self._holds = holds

    @property
    def session(self) -> PostgreSQLHold | None:
        """The lock that can be lost while the server runs, if there is one."""
        return next((hold for hold in self._holds if isinstance(hold, PostgreSQLHold)), None)

    def take(self) -> None:
        """See :class:`Hold`; if one lock cannot be taken, those taken before are released."""
        try:
            for hold in self._holds:
                hold.take()
        except BaseException:
            self.release()
            raise

    def announce(self, url: str) -> None:
        """See :class:`Hold`."""
        for hold in self._holds:
            hold.announce(url)

    def keep(self) -> bool:
        """See :class:`Hold`."""
        return all(hold.keep() for hold in self._holds)

    def release(self) -> None:
        """See :class:`Hold`."""
        for hold in reversed(self._holds):
            hold.release()


def server_hold(settings: ApiSettings, home: Path) -> ServerHold:
    """Return the locks that a server with these settings needs; they are not taken yet.

    Raises:
        BadInputError: the URL of the database is not valid, or its driver is not installed.
    """
    from ktrdr.api.ledger.database import open_database

    # `open_database` checks the URL.
    url = open_database(settings.database_url()).writer.url
    holds: list[FileHold | PostgreSQLHold] = [
        FileHold(home / LOCK_FILE, f"the home {home}", "give this one another KTRDR_HOME")
    ]
    if url.get_backend_name() == "sqlite":
        # Symbolic links are resolved: two servers with different paths to one file need the same lock.
        file = Path(str(url.database)).resolve()
        lock = file.with_name(f"{file.name}.lock")
        holds.append(FileHold(lock, f"the ledger {file}", "name another file in KTRDR_API_DATABASE"))
    else:
        from ktrdr.api.ledger.postgresql import PostgreSQL

        holds.append(PostgreSQLHold(PostgreSQL(settings.database_url())))
    return ServerHold(holds)


def _taken(what: str, who: Whoever | None, remedy: str) -> BadInputError:
    told = "another server, whose process is not known yet" if who is None else f"another server: {who}"
    instead = f"use that one (`--server {who.url}`), or stop it first" if who and who.url else "stop that one first"
    return BadInputError(f"{what} is in use by {told}; {instead}, or {remedy}")


def _name(url: str) -> str:
    """Return the application name of this server in the database, shortened to the length that the database allows."""
    who = Whoever.this(url)
    url = url if len(url) <= _LONGEST_NAME - 30 else ""
    room = _LONGEST_NAME - len(f"ktrdr {who.pid}  {url}")
    return f"ktrdr {who.pid} {who.host[:room]} {url}"


def _named(holder: _Holder) -> Whoever | None:
    """Return the server of a session. The database may hide the name of a session of another user."""
    parts = (holder.name or "").split(" ")
    if len(parts) == 4 and parts[0] == "ktrdr" and parts[1].isdigit():
        return Whoever(int(parts[1]), parts[2], parts[3])
    return None if holder.pid is None else Whoever(holder.pid, "the database's side of its session", "")

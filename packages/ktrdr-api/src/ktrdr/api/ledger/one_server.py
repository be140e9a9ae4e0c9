"""One home and one ledger have one server: what refuses a second one.

A server that starts takes over what runs: whatever the ledger calls running and its own engine does not know was lost
with its predecessor, and is queued again. Beside a predecessor that is alive it would run everything twice.

A home, and a ledger on SQLite, are held by a lock on a file, which the system takes away from a process that ends,
however it ends. A ledger on PostgreSQL is held by an advisory lock of a session. The database takes that away when the
connection ends, also when it ends for the database's own reasons: the lock is then taken again, and whoever cannot show
in a transaction that it has the lock writes nothing in it.
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
"""Below ``KTRDR_HOME``; beside it, with ``.json``, who has it."""

_SERVER_LOCK = 7_466_774
"""Any number, as long as every server takes the same one. The schema is the second half of the key."""

_LOCK_KEY = f"{_SERVER_LOCK}, hashtext(current_schema())"
# A session that has it: of the same database and key, in the form in which the view of locks shows the two halves.
_IS_THE_LOCK = (
    f"locktype = 'advisory' AND granted AND objsubid = 2 AND classid::bigint = {_SERVER_LOCK}"
    " AND objid::bigint = hashtext(current_schema())::bit(32)::bigint"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_HOLDER = (
    "SELECT pid, backend_start::text, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    f" WHERE {_IS_THE_LOCK}"
)

# A host that vanishes says no farewell: both ends then give the connection up after half a minute.
_ALIVE_HERE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
_ALIVE_THERE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}

_SECONDS_FOR_A_FAREWELL = 5.0
"""A database learns a moment later that the process at the other end was killed."""

_SECONDS_FOR_A_NAME = 1.0
_LONGEST_NAME = 63


class Whoever(NamedTuple):
    """A server, for a sentence; ``url`` is empty where it is not known."""

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
    """What one server has and no other."""

    def take(self) -> None:
        """Take it; once it is taken this does nothing. Raises ``BadInputError`` if another server has it."""

    def announce(self, url: str) -> None:
        """Say where this server answers, for who is refused."""

    def keep(self) -> bool:
        """Look whether it is still ours, and take it again if it went; return False while that cannot be done.

        Raises ``BadInputError`` if another server has taken it meanwhile.
        """
        ...

    def release(self) -> None:
        """Give it back."""


class FileHold:
    """A lock on a file.

    On a network file system the lock holds between machines where that file system has such locks: NFS version 4,
    CephFS, Lustre with ``flock``.

    Args:
        path: of the lock. It stays when the lock has gone.
        what: is held, for a message.
        remedy: how a second server gets one of its own, for a message.
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
        """See :class:`Hold`. What is written serves a message only: a disk that is full does not matter."""
        from ktrdr.core.errors import StoreError

        with contextlib.suppress(StoreError, OSError):
            write_atomically(self._who, (json.dumps(Whoever.this(url)._asdict()) + "\n").encode())

    def keep(self) -> bool:
        """See :class:`Hold`: nobody takes a lock on a file away."""
        return True

    def release(self) -> None:
        """See :class:`Hold`."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._who.unlink(missing_ok=True)
            self._lock.release()

    def _told(self) -> Whoever | None:
        """Return who has it. Who has just taken it is given a moment to say so."""
        deadline = time.monotonic() + _SECONDS_FOR_A_NAME
        while True:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                told = json.loads(self._who.read_text(encoding="utf-8"))
                return Whoever(int(told["pid"]), str(told["host"]), str(told["url"]))
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)


class _Holder(NamedTuple):
    """A session that has the lock; ``pid`` is that of its process of the database, ``None`` where it has just gone."""

    pid: int | None
    since: str
    name: str | None


class PostgreSQLHold:
    """An advisory lock of a session of its own, in the schema the ledger is in.

    A pooler that hands one session to several clients in turn (PgBouncer's transaction mode) has no such locks.
    """

    def __init__(self, database: PostgreSQL) -> None:
        self._database = database
        self._what = f"the ledger at {database.place}"
        self._remedy = "name another database in KTRDR_API_DATABASE"
        self._url = ""
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self._newest: tuple[int, str] | None = None
        # Looked at from a thread of its own, given back from another.
        self._alone = threading.Lock()
        self._given_back = False
        self.backend: int | None = None
        """Process of the database that serves the session; ``None`` while it is known to have gone."""

    @property
    def proof(self) -> str:
        """A statement that gives a row as long as this server has the lock, in whichever session it is executed."""
        return f"SELECT 1 FROM pg_locks WHERE {_IS_THE_LOCK} AND pid = {self.backend or 0}"

    def take(self) -> None:
        """See :class:`Hold`. Raises ``BadInputError`` if the database cannot be reached, too."""
        import psycopg

        if self._session is not None:
            return
        self._given_back = False
        deadline = time.monotonic() + _SECONDS_FOR_A_FAREWELL
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
            # Our own session of before the connection broke, or one that has gone since we looked, is nobody.
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
                # It is of this process, and the database has not noticed that the connection broke.
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
    """Everything that a server holds, taken as one."""

    def __init__(self, holds: list[FileHold | PostgreSQLHold]) -> None:
        self._holds = holds

    @property
    def session(self) -> PostgreSQLHold | None:
        """The one that can be lost while the server runs, if there is one."""
        return next((hold for hold in self._holds if isinstance(hold, PostgreSQLHold)), None)

    def take(self) -> None:
        """See :class:`Hold`; what was taken is given back if the rest is another's."""
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
    """Return what a server with these settings must hold; nothing is taken yet.

    Raises:
        BadInputError: the database's URL is none, or its driver is not installed.
    """
    from ktrdr.api.ledger.database import open_database

    # What is wrong with the URL is said by whoever knows what may be.
    url = open_database(settings.database_url()).writer.url
    holds: list[FileHold | PostgreSQLHold] = [
        FileHold(home / LOCK_FILE, f"the home {home}", "give this one another KTRDR_HOME")
    ]
    if url.get_backend_name() == "sqlite":
        # By its real name, or two servers would reach one file by two.
        file = Path(str(url.database)).resolve()
        lock = file.with_name(f"{file.name}.lock")
        holds.append(FileHold(lock, f"the ledger {file}", "name another file in KTRDR_API_DATABASE"))
    else:
        from ktrdr.api.ledger.postgresql import PostgreSQL

        holds.append(PostgreSQLHold(PostgreSQL(settings.database_url())))
    return ServerHold(holds)


def _taken(what: str, who: Whoever | None, remedy: str) -> BadInputError:
    told = "another server, which has not said yet who it is" if who is None else f"another server: {who}"
    instead = f"use that one (`--server {who.url}`), or stop it first" if who and who.url else "stop that one first"
    return BadInputError(f"{what} is in use by {told}; {instead}, or {remedy}")


def _name(url: str) -> str:
    """Return what the database shows of this server; it takes so many characters and no more."""
    who = Whoever.this(url)
    url = url if len(url) <= _LONGEST_NAME - 30 else ""
    room = _LONGEST_NAME - len(f"ktrdr {who.pid}  {url}")
    return f"ktrdr {who.pid} {who.host[:room]} {url}"


def _named(holder: _Holder) -> Whoever | None:
    """Return who that is. The database may keep the name of another user's session to itself."""
    parts = (holder.name or "").split(" ")
    if len(parts) == 4 and parts[0] == "ktrdr" and parts[1].isdigit():
        return Whoever(int(parts[1]), parts[2], parts[3])
    return None if holder.pid is None else Whoever(holder.pid, "the database's side of its session", "")

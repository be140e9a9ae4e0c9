"""One home and one ledger have one server: a second one is refused, and a dead one refuses nobody."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import httpx2
import pytest

from ktrdr.api import services
from ktrdr.api.ledger.database import open_database, prepare_database
from ktrdr.api.ledger.ledger import Ledger
from ktrdr.api.ledger.one_server import server_hold
from ktrdr.api.ledger.records import LedgerUnavailableError
from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.api.settings import ApiSettings
from ktrdr.core.errors import BadInputError

HOLDING = """
import sys, time
from pathlib import Path
from ktrdr.api.ledger.one_server import server_hold
from ktrdr.api.settings import load_settings
hold = server_hold(load_settings(), Path(sys.argv[1]))
hold.take()
hold.announce("http://127.0.0.1:7777")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holding(tmp_path):
    """Return a function that starts another process which has a hold, and returns it."""
    started = []

    def start(home, **environ):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(home)],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(30)


@pytest.fixture
def hold():
    """Return a function: settings and home to a hold, which is given back in the end."""
    made = []

    def make(home, **settings):
        made.append(server_hold(ApiSettings(**settings), home))
        return made[-1]

    yield make
    for each in made:
        each.release()


def ktrdr(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "ktrdr.core.cli.main", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def start(server):
    answer = httpx2.post(f"{server.url}/trainings", json={"strategy_text": EXAMPLE})
    return answer.json()["id"]


@pytest.mark.parametrize(
    ("kind", "suffix", "what"),
    [("sqlite", "", "the home "), ("sqlite", "-2", "the ledger "), ("postgresql", "-2", "the l")],
)
def test_a_second_server_is_refused_and_touches_nothing(
    engine_double, new_database, monkeypatch, Server, eventually, kind, suffix, what
):
    """On the same home, at the address of the first; and with a home of its own, on the same ledger."""
    monkeypatch.setenv("KTRDR_API_DATABASE", new_database(kind))
    engine = engine_double()
    with Server(engine) as first:
        operation = start(first)
        attempt = eventually(lambda: engine.submitted, len)[0]
        engine.tell("started", attempt, "tcp://w")
        before = httpx2.get(f"{first.url}/operations/{operation}").json()
        refused = ktrdr("serve", "--port", str(first.port), KTRDR_HOME=os.environ["KTRDR_HOME"] + suffix)
        assert refused.returncode == 2, refused.stderr
        assert refused.stderr.startswith(f"Error: {what}"), refused.stderr
        who = f"process {os.getpid()} on {socket.gethostname()}, at http://127.0.0.1:{first.port};"
        assert f"another server: {who}" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert httpx2.get(f"{first.url}/operations/{operation}").json() == before
        engine.tell("completed", attempt, {"model": "x/1"})
        assert httpx2.get(f"{first.url}/operations/{operation}").json()["state"] == "completed"
    # Once it has stopped, its place is free.
    with Server(engine_double(capabilities=None)) as second:
        assert httpx2.get(f"{second.url}/operations/{operation}").json()["state"] == "completed"


def test_one_that_others_start_is_refused_too(holding, home):
    holding(home)
    code = "import uvicorn; uvicorn.run('ktrdr.api.main:app', port=0, log_level='error')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "is in use by another server: process" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_server_refuses_nobody(holding, hold, home, database_url):
    dead = holding(home, KTRDR_API_DATABASE=database_url)
    mine = hold(home, database=database_url)
    with pytest.raises(BadInputError, match=f"process {dead.pid} on .*, at http://127.0.0.1:7777; use that one"):
        mine.take()
    dead.kill()
    dead.wait(30)
    mine.take()
    mine.take()
    assert mine.keep()


def test_one_file_by_two_names_is_one_ledger(hold, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    hold(tmp_path / "one", database=f"sqlite:///{tmp_path}/real/ledger.sqlite").take()
    with pytest.raises(BadInputError, match=r"the ledger .*/real/ledger\.sqlite is in use by another server"):
        hold(tmp_path / "two", database=f"sqlite:///{tmp_path}/link/ledger.sqlite").take()
    hold(tmp_path / "two", database=f"sqlite:///{tmp_path}/link/other.sqlite").take()


def test_who_is_refused_the_ledger_gives_the_home_back(hold, tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    hold(tmp_path / "one", database=url).take()
    with pytest.raises(BadInputError, match="the ledger"):
        hold(tmp_path / "two", database=url).take()
    hold(tmp_path / "two").take()


def test_a_home_that_cannot_be_locked_is_said_in_one_sentence(hold, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be used: .* make its directory writable"):
        hold(tmp_path / "file" / "home").take()


@pytest.mark.parametrize("told", ["", "{", "[]", '{"pid": "x", "host": 1}', '{"pid": null}'])
def test_what_the_file_beside_the_lock_says_is_taken_for_what_it_is(hold, home, told):
    hold(home).take()
    (home / "server.lock.json").write_text(told)
    with pytest.raises(BadInputError, match="another server, whose process is not known yet; stop that one first"):
        hold(home).take()


# On PostgreSQL the hold is a session, which the database may end.


@pytest.fixture
def url(new_database):
    return new_database("postgresql")


def end_sessions(url):
    """As a restart of the database does."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_hold_that_the_database_ended_is_taken_again_and_nothing_is_written_without_it(hold, home, url):
    mine = hold(home, database=url)
    mine.take()

    async def work():
        await prepare_database(url)
        database = open_database(url, lambda: mine.session.proof)
        try:
            ledger = Ledger(database)
            await ledger.create("training", {}, [])
            end_sessions(url)
            for _ in range(2):  # the first may still find the connection that was ended
                with pytest.raises(LedgerUnavailableError):
                    await ledger.create("training", {}, [])
            assert len(await ledger.page()) == 1
            while not mine.keep():
                await asyncio.sleep(0.05)
            await ledger.create("training", {}, [])
        finally:
            await database.close()

    asyncio.run(work())


@pytest.mark.parametrize("looks", [1, 3600])
def test_a_server_whose_ledger_another_has_taken_writes_nothing_and_stops(
    engine_double, hold, home, url, monkeypatch, Server, looks
):
    """The database was away for a moment, and the other was quicker."""
    monkeypatch.setenv("KTRDR_API_DATABASE", url)
    monkeypatch.setattr(services, "_SECONDS_BETWEEN_LOOKS", looks)
    with Server(engine_double(capabilities=None)) as server:
        operation = start(server)
        end_sessions(url)
        hold(home.with_name("thief"), database=url).take()
        if looks == 1:
            server.thread.join(60)
            assert not server.thread.is_alive()
            assert "is in use by another server: process" in server.server.gave_up
            return
        # It has not looked yet.
        for _ in range(2):
            assert httpx2.post(f"{server.url}/operations/{operation}/cancel").status_code == 503
        assert httpx2.get(f"{server.url}/operations/{operation}").json()["state"] == "queued"
        with pytest.raises(BadInputError, match=f"another server: process {os.getpid()} on"):
            server.app.state.hold.keep()


def test_two_schemas_of_one_database_are_two_ledgers(hold, tmp_path, url):
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA second")
    hold(tmp_path / "one", database=url).take()
    second = f"{url}?options=-csearch_path%3Dsecond"
    hold(tmp_path / "two", database=second).take()
    with pytest.raises(BadInputError, match="the ledger at postgresql"):
        hold(tmp_path / "three", database=second).take()

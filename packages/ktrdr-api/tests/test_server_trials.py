"""The ledger of trials on SQLite and on PostgreSQL: the same rows, the same counts, whoever writes at once."""

from __future__ import annotations

import math
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest

from ktrdr.api.ledger import server_trials
from ktrdr.api.ledger.server_trials import PostgreSQLDatabase, open_trials
from ktrdr.api.settings import ApiSettings
from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span
from ktrdr.core.trials.row import first_link, text_hash
from ktrdr.core.trials.trial_database import TRIALS_FILE, SQLiteDatabase, TrialStoreError, default_database
from ktrdr.core.trials.trial_ledger import TrialLedger

DAY = 86_400
SPAN = Span(("EURUSD",), 100 * DAY, 200 * DAY)


def look(number, span=SPAN, *, kind="backtest", sharpe=None, **more):
    traded = kind != "training"
    values = np.random.default_rng(number).normal(0, 0.01, 100).astype(np.float32)
    given = {
        "kind": kind,
        "strategy": f"{number:064x}",
        "text": f"name: strategy_{number} # ä €\n",
        "changes": {"risk.stop_loss.atr": number},
        "parent": None,
        "seed": 1,
        "training_data": "t",
        "data": "d",
        "timeframe": "1h",
        "span": span,
        "account": {"capital": 10_000.0} if traded else {},
        "metrics": {} if sharpe is None else {"sharpe": sharpe},
        "returns": DailyReturns(100, values) if traded else None,
        "model": f"m/{number + 1}",
    }
    return Look(**given | more)


def database_at(url):
    return (
        PostgreSQLDatabase(url)
        if url.startswith("postgresql")
        else SQLiteDatabase(Path(url.removeprefix("sqlite:///")))
    )


@pytest.fixture
def database(database_url):
    """An empty one of each kind."""
    return database_at(database_url)


def run(database, statement):
    with database.writing() as session:
        session.execute(statement)


def test_what_was_tried_is_kept_once_and_counted(database):
    ledger = TrialLedger(database)
    sharpes = [0.5, -0.25, 1.75]
    looks = [look(number, sharpe=sharpe) for number, sharpe in enumerate(sharpes)]
    ledger.record(looks)
    ledger.record(looks[1:])
    ledger.record([look(7, Span(("EURUSD",), 200 * DAY, 300 * DAY), sharpe=9.0), look(8, Span(("GBPUSD",), 0, 1))])
    assert ledger.rows() == 5
    count = ledger.count(SPAN)
    assert (count.known, count.ledger, count.broken, count.chosen_among) == (3, ledger.id, "", None)
    assert math.isclose(count.spread, stdev(sharpes))
    assert 1 < count.effective <= 3
    assert ledger.count(Span(("EURUSD", "GBPUSD"), 0, 201 * DAY)).known == 5
    assert ledger.count(Span(("EURUSD",), 0, 100 * DAY)).known == 0
    assert TrialLedger(database).id == ledger.id
    assert [chain.problem for chain in ledger.verify()] == [""]


def test_a_training_and_its_backtest_are_one_trial_where_both_looked(database):
    ledger = TrialLedger(database)
    later = Span(("EURUSD",), 200 * DAY, 300 * DAY)
    ledger.record([look(1, kind="training")])
    ledger.record([look(1, later, sharpe=1.0)])
    ledger.record([look(2, later, sharpe=2.0), look(2, kind="training")])
    assert ledger.count(SPAN).known == 2
    assert ledger.count(later).known == 2
    assert ledger.count(Span(("EURUSD",), 0, 300 * DAY)).known == 2
    assert not ledger.verify()[0].problem


def test_a_cell_of_a_larger_sweep_is_told(database):
    ledger = TrialLedger(database)
    ledger.record([look(1)])
    ledger.record([look(1, kind="sweep", chosen_among=40)])
    ledger.record([look(1, kind="sweep", chosen_among=12)])
    assert (ledger.rows(), ledger.count(SPAN).known) == (2, 1)
    assert ledger.count(SPAN, strategy=look(1).strategy).chosen_among == 40
    assert not ledger.verify()[0].problem


def test_looks_from_before_are_taken_in_once_and_floor_the_count(database):
    taken = []

    def before():
        taken.append(1)
        return [look(4, before_ledger=True)]

    ledger = TrialLedger(database, before)
    assert TrialLedger(database, before).id == ledger.id
    assert taken == [1]
    assert (ledger.count(SPAN).known, ledger.count(SPAN, model="m/5").known) == (1, 5)


def test_rows_are_listed_and_found(database):
    ledger = TrialLedger(database)
    ledger.record([look(number) for number in range(5)])
    ledger.record([look(9, Span(("GBPUSD", "EURUSD"), 0, DAY)), look(10, Span(("GBPUSD",), 0, DAY))])
    first = ledger.page(limit=3)
    rest = ledger.page(limit=10, before=first[-1].number)
    assert [each.row.model for each in first + rest] == ["m/11", "m/10", "m/5", "m/4", "m/3", "m/2", "m/1"]
    assert [each.row.model for each in ledger.page(symbol="GBPUSD")] == ["m/11", "m/10"]
    assert ledger.page(symbol="USDJPY") == []
    row, text = ledger.get(first[0].row.id)
    assert (row, text) == (first[0].row, look(10).text)
    assert ledger.get(row.hash)[0] == row
    for wrong in ("0123456789abcdef", "abc", "xyz!", "' OR 1=1"):
        with pytest.raises(NotFoundError):
            ledger.get(wrong)


def test_rows_travel_to_another_ledger_and_back(database, tmp_path):
    ledger, other = TrialLedger(database), TrialLedger(SQLiteDatabase(tmp_path / "other.sqlite"))
    ledger.record([look(1, sharpe=1.0), look(2, kind="training")])
    other.record([look(1, sharpe=1.0), look(3, sharpe=2.0), look(2, sharpe=3.0)])
    for source, target, added in ((other, ledger, 3), (ledger, other, 2), (other, ledger, 0)):
        rows = list(source.export())
        texts = {text_hash(text): text for _, _, text in rows if text is not None}
        assert target.add([(digest, content) for digest, content, _ in rows], texts) == added
    for each in (ledger, other):
        assert each.rows() == 5
        assert each.count(SPAN).known == 3
        assert math.isclose(each.count(SPAN).spread, stdev([1.0, 2.0, 3.0]))
        chains = each.verify()
        assert sorted(chain.rows for chain in chains) == [2, 3]
        assert not any(chain.problem for chain in chains)


def test_a_row_that_was_changed_on_its_way_adds_nothing(database, tmp_path):
    ledger, other = TrialLedger(database), TrialLedger(SQLiteDatabase(tmp_path / "other.sqlite"))
    other.record([look(1), look(2)])
    rows = [(digest, content) for digest, content, _ in other.export()]
    texts = {text_hash(look(number).text): look(number).text for number in (1, 2)}
    rows[1] = (rows[1][0], rows[1][1].replace('"m/3"', '"m/9"'))
    with pytest.raises(BadInputError, match="was changed after it was written"):
        ledger.add(rows, texts)
    with pytest.raises(BadInputError, match="the row before"):
        ledger.add([(digest, content) for digest, content, _ in other.export()][1:], texts)
    assert ledger.rows() == 0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE trial_rows SET content = replace(content, 'm/2', 'm/7') WHERE number = 1", "was changed"),
        ("DELETE FROM trial_rows WHERE number = 2", "is missing"),
        ("UPDATE trial_rows SET counted = 0 WHERE number = 3", "is counted wrongly"),
        ("UPDATE trial_spans SET evaluations = evaluations - 1", "are not those of its rows"),
    ],
)
def test_what_is_damaged_is_found_and_said(database, damage, told):
    ledger = TrialLedger(database)
    ledger.record([look(1), look(2), look(3)])
    run(database, damage)
    assert told in ledger.verify()[0].problem
    assert told in ledger.count(SPAN).broken
    ledger.record([look(4)])
    assert ledger.rows() >= 3


def test_what_fails_half_way_leaves_nothing(database):
    def fail():
        yield look(1)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        TrialLedger(database, fail)
    ledger = TrialLedger(database)
    with pytest.raises(ZeroDivisionError):
        _write_and_fail(database)
    assert TrialLedger(database).id == ledger.id


def _write_and_fail(database):
    with database.writing() as session:
        session.execute("DELETE FROM trial_meta")
        raise ZeroDivisionError


def test_a_newer_ledger_is_refused(database):
    TrialLedger(database)
    run(database, "UPDATE trial_meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(BadInputError, match="made by a newer KTRDR"):
        TrialLedger(database)


def _record_some(url, first):
    ledger = TrialLedger(database_at(url))
    for each in range(first, first + 8):
        ledger.record([look(each, kind="training"), look(each, sharpe=float(each))])
    # What all of them record.
    ledger.record([look(1_000)])


def test_many_threads_and_processes_record_at_once(database_url):
    """The first of them makes the ledger."""
    processes = [
        subprocess.Popen([sys.executable, __file__, database_url, str(100 * each)], stderr=subprocess.PIPE, text=True)
        for each in (1, 2, 3)
    ]
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(_record_some, database_url, 100 * each) for each in (4, 5, 6)]:
            done.result()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    ledger = TrialLedger(database_at(database_url))
    assert ledger.rows() == 6 * 8 * 2 + 1
    assert ledger.count(SPAN).known == 6 * 8 + 1
    (chain,) = ledger.verify()
    assert (chain.ledger, chain.rows, chain.problem) == (ledger.id, 97, "")
    previous = first_link(ledger.id)
    for listed in reversed(ledger.page(limit=200)):
        assert listed.row.previous == previous
        previous = listed.row.hash


# PostgreSQL alone.


def test_a_reader_sees_one_state_while_others_write(new_database):
    database = PostgreSQLDatabase(new_database("postgresql"))
    ledger = TrialLedger(database)
    ledger.record([look(1)])
    with database.reading() as session:
        assert list(session.execute("SELECT count(*) FROM trial_rows")) == [(1,)]
        ledger.record([look(2)])
        assert list(session.execute("SELECT count(*) FROM trial_rows")) == [(1,)]
    assert ledger.rows() == 2


def test_a_reader_writes_nothing(new_database):
    database = PostgreSQLDatabase(new_database("postgresql"))
    TrialLedger(database)
    with pytest.raises(TrialStoreError, match="read-only transaction"), database.reading() as session:
        session.execute("DELETE FROM trial_meta")


def test_a_writer_waits_for_another_and_not_for_ever(new_database, monkeypatch):
    database = PostgreSQLDatabase(new_database("postgresql"))
    ledger = TrialLedger(database)
    held, release = threading.Event(), threading.Event()

    def hold():
        with database.writing():
            held.set()
            release.wait(60)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert held.wait(60)
        monkeypatch.setattr(server_trials, "_SECONDS_TO_WAIT", 1)
        with pytest.raises(TrialStoreError, match=r"not shown: another process has held it for 1 s; try again$"):
            ledger.record([look(1)])
        assert ledger.rows() == 0
        release.set()
        holding.result()
    ledger.record([look(1)])
    assert ledger.rows() == 1


def test_tables_are_those_of_the_current_schema(new_database):
    url = new_database("postgresql")
    first = TrialLedger(PostgreSQLDatabase(url))
    run(PostgreSQLDatabase(url), 'CREATE SCHEMA "Other one"')
    other = PostgreSQLDatabase(f'{url}?options=-c search_path="Other\\ one",public')
    second = TrialLedger(other)
    assert second.id != first.id
    assert TrialLedger(other).id == second.id
    assert TrialLedger(PostgreSQLDatabase(url)).id == first.id


def test_a_database_that_is_not_there_is_named_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database = PostgreSQLDatabase(f"postgresql://me:s3cret@127.0.0.1:{port}/none?sslpassword=s3cret2")
    with pytest.raises(TrialStoreError) as caught:
        TrialLedger(database)
    said = str(caught.value)
    assert f"the ledger of trials at postgresql://me:***@127.0.0.1:{port}/none cannot be read: " in said
    assert said.endswith("; check that the database of KTRDR_API_DATABASE runs, and try again")
    assert "s3cret" not in said
    assert "\n" not in said


def test_what_may_not_be_written_says_who_must_allow_it(new_database):
    url = new_database("postgresql")
    place = url.partition("@")[2]
    run(PostgreSQLDatabase(url), "DO 'BEGIN CREATE ROLE reads_only LOGIN; EXCEPTION WHEN duplicate_object THEN END'")
    run(PostgreSQLDatabase(url), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(TrialStoreError, match="let the user of KTRDR_API_DATABASE make and write tables there"):
        TrialLedger(PostgreSQLDatabase(f"postgresql://reads_only@{place}"))


def test_without_the_driver_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadInputError, match=r"pip install 'ktrdr-api\[postgresql\]'"):
        PostgreSQLDatabase("postgresql://me@127.0.0.1/none")


def test_another_driver_in_the_address_is_none_of_ours(new_database):
    url = new_database("postgresql").replace("postgresql://", "postgresql+asyncpg://")
    assert TrialLedger(PostgreSQLDatabase(url)).rows() == 0


# Which one a server opens.


def test_beside_sqlite_it_is_the_file_of_the_home(home):
    trials = open_trials(ApiSettings(), home, lambda place: [look(1, operation=str(place))])
    assert (home / TRIALS_FILE).exists()
    assert TrialLedger(default_database()).id == trials.id
    assert [each.row.operation for each in trials.page()] == [str(home)]


def test_on_postgresql_the_rows_of_the_home_are_added_once(home, new_database):
    settings = ApiSettings(database=new_database("postgresql"))
    local = TrialLedger(SQLiteDatabase(home / TRIALS_FILE))
    local.record([look(1, sharpe=1.0), look(2)])
    trials = open_trials(settings, home, lambda place: [])
    assert trials.id != local.id
    assert trials.rows() == 2
    assert trials.get(local.page()[0].row.id)[1] == look(2).text
    trials.record([look(2), look(3)])
    local.record([look(4)])
    for _ in range(2):
        again = open_trials(settings, home, lambda place: pytest.fail("made before"))
        assert (again.id, again.rows(), again.count(SPAN).known) == (trials.id, 4, 4)
    assert not any(chain.problem for chain in again.verify())
    assert local.rows() == 3


def test_a_damaged_file_of_the_home_is_not_left_out_in_silence(home, new_database):
    settings = ApiSettings(database=new_database("postgresql"))
    local = TrialLedger(SQLiteDatabase(home / TRIALS_FILE))
    local.record([look(1), look(2)])
    with sqlite3.connect(home / TRIALS_FILE) as connection:
        connection.execute("UPDATE trial_rows SET content = replace(content, 'm/2', 'm/7')")
    with pytest.raises(BadInputError) as caught:
        open_trials(settings, home, lambda place: [])
    assert f"the ledger of trials {home / TRIALS_FILE} cannot be added" in str(caught.value)
    assert str(caught.value).endswith("or move it away to start without its trials")
    (home / TRIALS_FILE).rename(home / "aside")
    assert open_trials(settings, home, lambda place: []).rows() == 0


if __name__ == "__main__":
    _record_some(sys.argv[1], int(sys.argv[2]))

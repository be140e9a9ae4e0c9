"""What cannot be done is said in one sentence, with what to do."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.trials.trial_database import SQLiteDatabase, TrialStoreError
from ktrdr.core.trials.trial_ledger import TrialLedger


def said(error: pytest.ExceptionInfo[Exception], *parts: str) -> bool:
    message = str(error.value)
    return "\n" not in message and not message.endswith(".") and all(part in message for part in parts)


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrialStoreError) as error:
        TrialLedger(SQLiteDatabase(tmp_path / "file" / "below" / "trials.sqlite"))
    assert said(error, "cannot be read", "make the file and its directory writable for this user")


def test_a_directory_in_its_place(tmp_path):
    with pytest.raises(TrialStoreError) as error:
        TrialLedger(SQLiteDatabase(tmp_path))
    assert said(error, str(tmp_path), "unable to open database file; make the file and its directory writable")


@pytest.mark.parametrize("content", [b"this is no database, although it is long enough to be one" * 30, b"\0" * 5_000])
def test_a_file_that_is_no_database(place, content):
    place.write_bytes(content)
    with pytest.raises(TrialStoreError) as error:
        TrialLedger(SQLiteDatabase(place))
    assert said(error, str(place), "file is not a database; put back a copy of it, or move it away")
    assert place.read_bytes() == content


def test_a_file_that_was_cut_off(ledger, place, look):
    ledger.record([look(number) for number in range(200)])
    place.write_bytes(place.read_bytes()[:50_000])
    with pytest.raises(TrialStoreError) as error:
        ledger.record([look(999)])
    assert said(error, "cannot be written, so the result is not shown", "malformed; put back a copy of it")


def test_a_ledger_of_a_newer_schema(ledger, place, damage):
    damage("UPDATE trial_meta SET value = '2' WHERE name = 'schema'")
    with pytest.raises(BadInputError) as error:
        TrialLedger(SQLiteDatabase(place))
    assert said(error, str(place), "was made by a newer KTRDR (its format is 2, this one reads 1); update KTRDR")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trial_meta",
        "DELETE FROM trial_meta WHERE name = 'id'",
        "DELETE FROM trial_meta WHERE name = 'head'",
        "UPDATE trial_meta SET value = 'x' WHERE name = 'schema'",
    ],
)
def test_a_ledger_that_does_not_know_whose_it_is(ledger, place, damage, statement):
    damage(statement)
    with pytest.raises(TrialStoreError) as error:
        TrialLedger(SQLiteDatabase(place))
    assert said(error, str(place), "has lost its id, format or last row; put back a copy of it, or move it away")


def test_one_who_does_not_let_go(ledger, place, look, monkeypatch):
    monkeypatch.setattr("ktrdr.core.trials.trial_database._SECONDS_TO_WAIT", 0.05)
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert ledger.count(look().span).known == 0
        with pytest.raises(TrialStoreError) as error:
            ledger.record([look()])
    assert said(error, "so the result is not shown", "another process has held it", "try again")
    ledger.record([look()])


def test_a_full_disk(place, look):
    ledger = TrialLedger(SQLiteDatabase(place))
    with closing(sqlite3.connect(place)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    before = ledger.rows()
    real = sqlite3.connect

    def small(*given, **more):
        connection = real(*given, **more)
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(TrialStoreError) as error:
            ledger.record([look(number) for number in range(600)])
    assert said(error, "so the result is not shown", "the disk is full; free some space and try again")
    assert ledger.rows() == before


@pytest.fixture
def ids(ledger, look) -> list[str]:
    # Among so many, two begin with the same four digits.
    ledger.record([look(number) for number in range(2_000)])
    return [listed.row.id for listed in ledger.page(limit=2_000)]


def test_rows_are_found_by_what_tells_them_from_others(ledger, ids):
    starts = [each[:4] for each in ids]
    unique = next(each for each in ids if starts.count(each[:4]) == 1)
    for given in (unique, unique[:4], unique.upper(), ledger.get(unique)[0].hash):
        assert ledger.get(given)[0].id == unique
    shared = next(each for each in starts if starts.count(each) > 1)
    with pytest.raises(NotFoundError) as error:
        ledger.get(shared)
    assert said(error, f"several trials begin with {shared}; give more digits")


@pytest.mark.parametrize("given", ["", "abc", "x" * 16, "a" * 65, "12 34", "%%%%", "'; --", "abcd\n"])
def test_an_id_that_is_none(ledger, given):
    with pytest.raises(NotFoundError) as error:
        ledger.get(given)
    assert said(error, "is not the id of a trial; `ktrdr trials list` shows them")


def test_an_id_that_nobody_has(ledger, look):
    ledger.record([look()])
    wanted = "0" * 16 if not re.match("0", ledger.page()[0].row.id) else "f" * 16
    with pytest.raises(NotFoundError) as error:
        ledger.get(wanted)
    assert said(error, f"there is no trial {wanted} in this ledger; `ktrdr trials list` shows them")

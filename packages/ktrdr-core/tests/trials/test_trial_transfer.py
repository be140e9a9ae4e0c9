"""Ledgers travel as files: whole, once, and nothing of a file that is not what it was."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.trials.daily_returns import MOST_DAYS
from ktrdr.core.trials.look import Look, canonical_json
from ktrdr.core.trials.row import hash_of
from ktrdr.core.trials.transfer import export_trials, import_trials
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger


@pytest.fixture
def file(tmp_path: Path, ledger: TrialLedger, look) -> Path:
    """Three rows of two strategies: header, text, row, row, text, row."""
    ledger.record([look(1, kind="training"), look(1), look(2)])
    assert export_trials(ledger, tmp_path / "file") == 3
    return tmp_path / "file"


def test_there_and_back(file, ledger, other, is_clean, tmp_path):
    assert import_trials(other, file) == (3, 0)
    assert is_clean(other)
    assert list(other.export()) == list(ledger.export())
    for listed in ledger.page():
        row, text = other.get(listed.row.id)
        assert row == listed.row
        assert text in {"name: strategy 1\n", "name: strategy 2\n"}
    assert export_trials(other, tmp_path / "again") == 3
    first, *rest = file.read_text(encoding="utf-8").splitlines()
    again, *same = (tmp_path / "again").read_text(encoding="utf-8").splitlines()
    assert rest == same
    assert json.loads(first)["ledger"] == ledger.id != json.loads(again)["ledger"]


def test_seeds_travel_with_a_look_and_a_look_without_them_is_read(look):
    several = look(seed=None, seeds=(3, 4))
    told = json.loads(json.dumps(several.to_json()))
    assert Look.from_json(told).seeds == (3, 4)
    assert Look.from_json(told).trial == several.trial
    assert (
        len({look(seed=None, seeds=own).trial for own in [(3, 4), (3,), (4,), (), (5, 6)]} | {look(seed=3).trial}) == 6
    )
    del told["seeds"]
    assert Look.from_json(told).trial == look(seed=None).trial


def test_twice_is_once(file, other, is_clean):
    assert import_trials(other, file) == (3, 0)
    assert import_trials(other, file) == (0, 3)
    assert other.rows() == 3
    assert is_clean(other)


def test_an_export_into_itself_adds_nothing(file, ledger, is_clean):
    assert import_trials(ledger, file) == (0, 3)
    assert is_clean(ledger)


def test_two_of_a_team_take_in_each_other_in_turn(file, ledger, other, look, is_clean, tmp_path):
    other.record([look(2), look(3)])
    for turn in range(3):
        for one, two in ((ledger, other), (other, ledger)):
            one.record([look(f"{one.id} {turn}")])
            export_trials(one, tmp_path / f"{one.id} {turn}")
            import_trials(two, tmp_path / f"{one.id} {turn}")
            assert is_clean(two)
    # What the last one recorded is with both; 4 choices of the beginning, and one a turn of each. The training and the
    # backtest of its model are one.
    assert ledger.rows() == other.rows() == 5 + 6
    assert {each.count(look().span).known for each in (ledger, other)} == {3 + 6}


def test_a_copy_of_the_file_that_goes_its_own_way(place, ledger, look, is_clean, tmp_path):
    ledger.record([look(1), look(2)])
    shutil.copy(place, tmp_path / "copy")
    copy = TrialLedger(SQLiteDatabase(tmp_path / "copy"))
    assert copy.id == ledger.id
    ledger.record([look(3), look(4)])
    copy.record([look(5), look(3)])
    for one, two, added in ((ledger, copy, 2), (copy, ledger, 2)):
        export_trials(one, tmp_path / "file")
        assert import_trials(two, tmp_path / "file")[0] == added
        assert is_clean(two)
    for each, more in ((ledger, 6), (copy, 7)):
        each.record([look(more)])
        assert is_clean(each)
        assert each.count(look().span).known == 6


def test_an_older_copy_goes_on_where_the_newer_one_stopped(place, ledger, look, is_clean, tmp_path):
    ledger.record([look(1)])
    shutil.copy(place, tmp_path / "copy")
    ledger.record([look(2), look(3)])
    export_trials(ledger, tmp_path / "file")
    copy = TrialLedger(SQLiteDatabase(tmp_path / "copy"))
    assert import_trials(copy, tmp_path / "file") == (2, 1)
    assert is_clean(copy)
    copy.record([look(4)])
    assert is_clean(copy)
    newest, before = copy.page(limit=2)
    assert newest.row.previous == before.row.hash


def with_row(change: Callable[[dict[str, Any]], object], number: int = 2) -> Callable[[list[str]], list[str]]:
    """Return what changes the row of a line, and its hash with it."""

    def edit(lines: list[str]) -> list[str]:
        row = json.loads(json.loads(lines[number])["row"])
        content = change(row)
        if not isinstance(content, str):
            content = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hash_of(content.encode("utf-8", "replace").decode())
        return [*lines[:number], json.dumps({"hash": digest, "row": content}), *lines[number + 1 :]]

    return edit


def replaced(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line.replace(old, new) for line in lines]


def packed(content: bytes) -> dict[str, str]:
    return {"first": "2017-01-02", "float32": base64.b64encode(content).decode()}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


DEEP = "[" * 200_000
BOMB = zlib.compress(bytes(50_000_000), 9)
HOSTILE: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "empty": (lambda lines: [], "the file is empty"),
    "no header": (lambda lines: lines[1:], "is not the header of"),
    "header of a newer one": (lambda lines: ['{"ktrdr_trials": 2}', *lines[1:]], "is not the header of"),
    "header alone is a list": (lambda lines: ["[]"], "line 1: it is not a JSON map"),
    "an empty line": (lambda lines: [*lines, ""], "line 7: it is not JSON"),
    "a huge line": (lambda lines: [*lines, "x" * (17 * LONGEST_STRATEGY)], "line 7: the line is too long"),
    "cut off": (lambda lines: [*lines[:-1], lines[-1][:-20]], "line 6: it is not JSON"),
    "deep": (lambda lines: [*lines, DEEP], "line 7: it is not JSON"),
    "deep in a map": (lambda lines: [*lines, f'{{"row": {DEEP}'], "line 7: it is not JSON"),
    "a number": (lambda lines: [*lines, "5"], "line 7: it is not a JSON map"),
    "a number of many digits": (lambda lines: [*lines, "5" * 10_000], "line 7: it is not JSON"),
    "something else": (lambda lines: [*lines, '{"a": 1}'], "line 7: it is neither a row nor a strategy"),
    "a hash that is none": (lambda lines: [*lines, '{"hash": "\\ud800", "row": ""}'], "line 7: it is neither"),
    "a hash that is a list": (lambda lines: [*lines, '{"hash": [], "row": ""}'], "line 7: it is neither"),
    "a row that is a map": (lambda lines: [*lines, '{"hash": "a", "row": {}}'], "line 7: it is neither"),
    "a long row": (lambda lines: [*lines, json.dumps({"hash": "a" * 64, "row": "x" * 200_000})], "line 7: it is neit"),
    "a text that is a number": (lambda lines: [*lines, '{"text": 5}'], "line 7: the strategy is not text"),
    "a long text": (lambda lines: [*lines, json.dumps({"text": "x" * (LONGEST_STRATEGY + 1)})], "or too long"),
    "half a character": (lambda lines: [*lines, '{"text": "\\ud800"}'], "line 7: the strategy is not text"),
    "a text with a zero": (lambda lines: [*lines, '{"text": "\\u0000"}'], "line 7: the strategy is not text"),
    "another text": (replaced("strategy 1", "strategy 9"), "the strategy of row .* is missing"),
    "no texts": (lambda lines: [line for line in lines if '"text": ' not in line[:10]], "the strategy of row"),
    "a row changed": (replaced("10000.0", "20000.0"), "was changed after it was written"),
    "rows swapped": (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "the row before .* is missing"),
    "the first row missing": (lambda lines: [*lines[:2], *lines[3:]], "the row before .* is missing"),
    "a row missing": (lambda lines: [*lines[:3], *lines[4:]], "the row before .* is missing"),
    "a row in the middle forged": (with_row(lambda row: row.update(seed=5)), "the row before .* is missing"),
    "another ledger's": (with_row(lambda row: row.update(ledger="a" * 12)), "the row before .* is missing"),
}  # fmt: skip
LAST = {
    "no JSON": lambda row: "no JSON",
    "a list": lambda row: "[]",
    "deep": lambda row: DEEP[:100_000],
    "deep changes": lambda row: row["changes"].update(a=nested(50)),
    "spaces": lambda row: json.dumps(row, sort_keys=True, ensure_ascii=False),
    "a key twice": lambda row: canonical_json(row).replace('"seed":1', '"seed":1,"seed":1'),
    "NaN": lambda row: canonical_json(row).replace('"sharpe":0.5', '"sharpe":NaN'),
    "NaN of an account": lambda row: canonical_json(row).replace("10000.0", "NaN"),
    "infinite": lambda row: canonical_json(row).replace('"sharpe":0.5', '"sharpe":1e999'),
    "half a character": lambda row: canonical_json(row).replace('"world":""', '"world":"\\ud800"'),
    "a zero": lambda row: row.update(world="\0"),
    "a key too many": lambda row: row.update(more=1),
    "a key too few": lambda row: row.pop("seed"),
    "id": lambda row: row.update(id="a" * 16),
    "symbols are a text": lambda row: row.update(symbols="EURUSD"),
    "no symbols": lambda row: row.update(symbols=[]),
    "many symbols": lambda row: row.update(symbols=[str(number) for number in range(1_001)]),
    "a long symbol": lambda row: row.update(symbols=["A" * 201]),
    "kind": lambda row: row.update(kind="Robert'); DROP TABLE"),
    "trial": lambda row: row.update(trial="x"),
    "seed": lambda row: row.update(seed=[]),
    "metrics": lambda row: row.update(metrics=[1]),
    "account": lambda row: row.update(account={"capital": "much"}),
    "time is a number": lambda row: row.update(time=5),
    "time without a zone": lambda row: row.update(time="2017-01-01T00:00:00"),
    "time in another way": lambda row: row.update(start="2017-01-01 00:00:00+00:00"),
    "time that is none": lambda row: row.update(start="2017-13-01T00:00:00Z"),
    "end before start": lambda row: row.update(start=row["end"], end=row["start"]),
    "chosen among none": lambda row: row.update(chosen_among=0),
    "chosen among a text": lambda row: row.update(chosen_among="5"),
    "chosen among too many": lambda row: row.update(chosen_among=2**70),
    "returns are a list": lambda row: row.update(returns=[1]),
    "returns are no base64": lambda row: row.update(returns={"first": "2017-01-02", "float32": "?"}),
    "returns are not compressed": lambda row: row.update(returns=packed(b"1234")),
    "returns are a bomb": lambda row: row.update(returns=packed(BOMB)),
    "returns of many days": lambda row: row.update(returns=packed(zlib.compress(bytes(4 * MOST_DAYS + 4)))),
    "returns of no day": lambda row: row.update(returns=packed(zlib.compress(b""))),
    "returns are not finite": lambda row: row.update(returns=packed(zlib.compress(b"\0\0\x80\x7f"))),
}


def refused(ledger: TrialLedger, file: Path, what: str) -> None:
    before = ledger.rows()
    with pytest.raises(BadInputError, match=what) as error:
        import_trials(ledger, file)
    assert "\n" not in str(error.value)
    assert ledger.rows() == before


def edited(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_what_it_was_adds_nothing(name, file, other, look, is_clean):
    other.record([look(7)])
    edit, what = HOSTILE[name]
    lines = file.read_text(encoding="utf-8").splitlines()
    edited(file, edit(lines))
    refused(other, file, what)
    assert is_clean(other)
    # The file as it was is taken in afterwards: nothing was left behind.
    edited(file, lines)
    assert import_trials(other, file) == (3, 0)


@pytest.mark.parametrize("name", LAST)
def test_a_last_row_that_is_none_adds_nothing(name, file, other, is_clean):
    """The last, whose hash no other row has: it is refused for what it says."""
    edited(file, with_row(LAST[name], 5)(file.read_text(encoding="utf-8").splitlines()))
    refused(other, file, "a row of the ledger cannot be read|the daily returns of a trial cannot be read")
    assert is_clean(other)


@pytest.mark.parametrize("sharpe", ["a text", True, None, [1], 10**400, 1e300, {"a": 1}])
def test_a_ratio_that_is_none_is_no_ratio(sharpe, file, other, look, is_clean):
    edited(file, with_row(lambda row: row["metrics"].update(sharpe=sharpe), 5)(file.read_text("utf-8").splitlines()))
    assert import_trials(other, file) == (3, 0)
    assert is_clean(other)
    assert (other.count(look().span).known, other.count(look().span).spread) == (2, None)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"PK\x03\x04" + bytes(range(256)), bytes(100)])
def test_no_text(content, file, other):
    file.write_bytes(content)
    refused(other, file, "is not a file of trials: it is not text|line 1: it is not JSON")


def test_no_file(other, tmp_path):
    refused(other, tmp_path / "missing", "missing cannot be read: No such file")
    refused(other, tmp_path, "cannot be read: Is a directory")


def test_many_rows_are_taken_in_at_once_or_not_at_all(file, ledger, other, look, is_clean):
    """More than one batch, and the last row is broken."""
    ledger.record([look(number) for number in range(10, 1_100)])
    rows = export_trials(ledger, file)
    lines = file.read_text(encoding="utf-8").splitlines()
    edited(file, [*lines[:-1], lines[-1].replace("10000.0", "1.0")])
    refused(other, file, "was changed after it was written")
    edited(file, lines)
    assert import_trials(other, file) == (rows, 0)
    assert is_clean(other)

"""`ktrdr trials` on ledgers with rows that were recorded as those of results are."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span, digest
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.places import trials_in

DAY = 86_400
TEXT = "name: waves\nmodel: {type: mlp}\n"
Ktrdr = Callable[..., tuple[int, str, str]]


def look(choice: object, *, kind: str = "backtest", symbols: tuple[str, ...] = ("EURUSD",), **more: Any) -> Look:
    trades = kind != "training"
    given: dict[str, Any] = {
        "kind": kind,
        "strategy": digest(["strategy", choice]),
        "text": TEXT,
        "changes": {},
        "parent": None,
        "seed": 7,
        "training_data": "trained on",
        "data": "looked at",
        "timeframe": "1h",
        "span": Span(symbols, 17_440 * DAY, 17_530 * DAY),
        "account": {"capital": 10_000.0, "commission": 0.0001, "slippage": 0.0} if trades else {},
        "metrics": {"sharpe": 0.754, "trades": 7} if trades else {"test_accuracy": 0.51234},
        "returns": DailyReturns(17_440, np.array([0.5, -0.25, 0.0], dtype=np.float32)) if trades else None,
        "model": "waves/1" if trades else "",
    }
    return Look(**{**given, **more})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "home"


@pytest.fixture
def ledger(home: Path) -> TrialLedger:
    """A training, a backtest, a sweep of three cells, and a backtest of another symbol, in this order."""
    ledger = trials_in(None)
    ledger.record([look(1, kind="training")])
    ledger.record([look(1)])
    cells = [{"decisions.confidence_threshold": value, "risk.stop_loss.atr": None} for value in (0.4, 0.45, 0.5)]
    ledger.record([look(each, kind="sweep", changes=each, parent=digest(1), chosen_among=3) for each in cells])
    ledger.record([look(2, symbols=("GBPUSD",), metrics={"sharpe": None}, before_ledger=True)])
    return ledger


@pytest.fixture
def ktrdr(home: Path, capsys: pytest.CaptureFixture[str]) -> Ktrdr:
    """Run `ktrdr trials` in this process; return (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["trials", *map(str, arguments)])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return int(end.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def damage(home: Path) -> Callable[[str], None]:
    """Execute a statement on the ledger's file, as somebody who is not KTRDR."""

    def execute(statement: str) -> None:
        with closing(sqlite3.connect(home / "trials.sqlite")) as connection, connection:
            assert connection.execute(statement).rowcount == 1

    return execute


def ids(ledger: TrialLedger) -> dict[int, str]:
    return {listed.number: listed.row.id for listed in ledger.page(limit=100)}


def test_a_new_ledger_says_that_nothing_is_in_it(ktrdr: Ktrdr) -> None:
    status, out, err = ktrdr("list")
    assert (status, err) == (0, "")
    assert out.startswith(f"Ledger {trials_in(None).id} is empty; `ktrdr train`")
    listed = json.loads(ktrdr("list", "--json")[1])
    assert listed == {"ledger": trials_in(None).id, "total": 0, "items": [], "next": None}
    assert ktrdr("verify") == (0, f"Ledger {trials_in(None).id} (this one): 0 rows, ok\n", "")


def test_rows_are_listed_the_newest_first_below_what_they_have_in_common(ktrdr: Ktrdr, ledger: TrialLedger) -> None:
    status, out, err = ktrdr("list")
    assert (status, err) == (0, "")
    known = ids(ledger)
    # The times are those of the test, all of them in one minute or in two.
    lines = [line for line in out.splitlines() if line.startswith(" ")]
    assert lines == [
        f"     6  {known[6]}  backtest       -  before the ledger",
        f"     5  {known[5]}  sweep       0.75  confidence_threshold=0.5, stop_loss.atr=null",
        f"     4  {known[4]}  sweep       0.75  confidence_threshold=0.45, stop_loss.atr=null",
        f"     3  {known[3]}  sweep       0.75  confidence_threshold=0.4, stop_loss.atr=null",
        f"     2  {known[2]}  backtest    0.75",
        f"     1  {known[1]}  training       -",
    ]
    heads = [line[18:] for line in out.splitlines() if line[:2] == "20"]
    assert heads[0] == "waves/1 on GBPUSD 1h, 2017-10-01 to 2017-12-29"
    assert set(heads[1:-1]) == {"waves/1 on EURUSD 1h, 2017-10-01 to 2017-12-29"}
    assert heads[-1] == "EURUSD 1h, 2017-10-01 to 2017-12-29"
    assert out.splitlines()[-1] == f"6 rows in ledger {ledger.id}."


def test_pages_follow_one_another(ktrdr: Ktrdr, ledger: TrialLedger) -> None:
    out = ktrdr("list", "--symbol", "EURUSD", "--limit", 2)[1]
    more = "`ktrdr trials list --symbol EURUSD --before 4` shows older ones"
    assert out.splitlines()[-1] == f"6 rows in ledger {ledger.id}; {more}."
    seen: list[int] = []
    before: list[object] = []
    while True:
        page = json.loads(ktrdr("list", "--symbol", "EURUSD", "--limit", 2, "--json", *before)[1])
        assert (page["ledger"], page["total"]) == (ledger.id, 6)
        seen += [item["number"] for item in page["items"]]
        if page["next"] is None:
            break
        before = ["--before", page["next"]]
    assert seen == [5, 4, 3, 2, 1]
    assert page["items"][0]["changes"] == {}
    assert page["items"][0]["model"] == ""
    assert ktrdr("list", "--symbol", "USDJPY")[1].startswith("No row has bars of USDJPY.\n6 rows")
    assert ktrdr("list", "--before", 1)[1].startswith("No row has a number below 1.\n6 rows")
    assert len(json.loads(ktrdr("list", "--limit", 10**30, "--before", 10**30, "--json")[1])["items"]) == 6


@pytest.mark.parametrize("width", [20, 80, 100])
def test_a_line_is_no_wider_than_the_terminal(
    ktrdr: Ktrdr, ledger: TrialLedger, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    many = tuple(f"SYMBOL{number}" for number in range(40))
    changes = {"training.epochs": 3, "training_data.symbols": list(many)}
    ledger.record([look(3, kind="training", symbols=many, changes=changes, model="a_name_that_is_very_long/123")])
    lines = ktrdr("list")[1].splitlines()
    assert max(len(line) for line in lines[1:-1]) <= width
    assert lines[2].endswith("...")


@pytest.mark.parametrize("arguments", [("--limit", -1), ("--limit", 0), ("--before", -3), ("--limit", "many")])
def test_a_wrong_number_is_refused(ktrdr: Ktrdr, ledger: TrialLedger, arguments: tuple[object, ...]) -> None:
    status, out, err = ktrdr("list", *arguments)
    assert (status, out) == (2, "")
    assert f"Invalid value for '{arguments[0]}'" in err


def test_a_row_is_shown_whole_with_its_strategy_last(ktrdr: Ktrdr, ledger: TrialLedger) -> None:
    cell = ids(ledger)[3]
    status, out, err = ktrdr("show", cell)
    assert (status, err) == (0, "")
    assert out.endswith(f"\n\n{TEXT}")
    for line in (
        f"id              {cell}\n",
        f"ledger          {ledger.id} (this one)\n",
        "bars            1h, 2017-10-01 00:00 to 2017-12-29 24:00 UTC\n",
        "account         capital 10000, commission 0.0001, slippage 0\n",
        "changes         decisions.confidence_threshold=0.4, risk.stop_loss.atr=null\n",
        "chosen among    3 settings of a sweep\n",
        "metrics         sharpe 0.754, trades 7\n",
        "daily returns   3 days from 2017-10-01\n",
        "seed            7\n",
    ):
        assert line in out, line
    assert "operation" not in out
    shown = json.loads(ktrdr("show", cell[:6], "--json")[1])
    row, text = ledger.get(cell)
    assert shown == {**row.model_dump(mode="json"), "strategy_text": text}
    assert "before the ledger" in ktrdr("show", ids(ledger)[6].upper())[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [("zzzz", "'zzzz' is no id of a trial"), ("ab", "'ab' is no id of a trial"), ("", "'' is no id of a trial")],
)
def test_what_is_no_id_is_one_sentence(ktrdr: Ktrdr, ledger: TrialLedger, given: str, said: str) -> None:
    assert ktrdr("show", given) == (2, "", f"Error: {said}; `ktrdr trials list` shows them\n")


def test_an_id_that_is_not_there_is_one_sentence(ktrdr: Ktrdr, ledger: TrialLedger) -> None:
    absent = next(
        each for each in map("{:04x}".format, range(100)) if not any(i.startswith(each) for i in ids(ledger).values())
    )
    said = f"Error: there is no trial {absent} in this ledger; `ktrdr trials list` shows them\n"
    assert ktrdr("show", absent) == (2, "", said)


def test_rows_go_to_another_ledger_and_count_there_once(
    ktrdr: Ktrdr, ledger: TrialLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.jsonl"
    status, out, err = ktrdr("export", file)
    assert (status, err) == (0, "")
    assert out == f"Wrote 6 rows to {file} ({file.stat().st_size:,} bytes).\n"
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "theirs"))
    trials_in(None).record([look(1, kind="training")])
    assert ktrdr("import", file) == (0, "Added 6 rows; 0 were known.\n", "")
    theirs = trials_in(None)
    assert json.loads(ktrdr("import", file, "--json")[1]) == {"ledger": theirs.id, "added": 0, "known": 6}
    assert f"backtest       -  before the ledger, from ledger {ledger.id}\n" in ktrdr("list")[1]
    assert f"ledger          {ledger.id} (imported)\n" in ktrdr("show", ids(ledger)[2])[1]
    assert ktrdr("verify") == (
        0,
        f"Ledger {theirs.id} (this one): 1 row, ok\nLedger {ledger.id} (imported): 6 rows, ok\n",
        "",
    )
    chains = json.loads(ktrdr("verify", "--json")[1])
    assert [(chain["ledger"], chain["own"], chain["rows"], chain["state"]) for chain in chains] == [
        (theirs.id, True, 1, "ok"),
        (ledger.id, False, 6, "ok"),
    ]
    written = json.loads(ktrdr("export", tmp_path / "both.jsonl", "--json")[1])
    assert (written["ledger"], written["rows"]) == (theirs.id, 7)
    assert written["bytes"] == (tmp_path / "both.jsonl").stat().st_size


def test_an_export_takes_no_other_file_s_place(ktrdr: Ktrdr, ledger: TrialLedger, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("precious")
    said = f"Error: {file} exists; choose another file, or overwrite it with --force\n"
    assert ktrdr("export", file) == (2, "", said)
    assert file.read_text() == "precious"
    own = home / "trials.sqlite"
    assert ktrdr("export", own, "--force") == (2, "", f"Error: {own} is the ledger itself; choose another file\n")
    assert ktrdr("export", tmp_path) == (2, "", f"Error: {tmp_path} is a directory; name a file to write\n")
    absent = tmp_path / "absent"
    assert ktrdr("export", absent / "x") == (
        2,
        "",
        f"Error: there is no directory {absent} to export to\n",
    )
    assert ktrdr("export", file, "--force")[0] == 0
    assert json.loads(file.read_text().splitlines()[0])["ledger"] == ledger.id


@pytest.mark.parametrize("content", ["", "name: waves\n", "[1]\n", '{"ktrdr_trials": 999}\n', b"\xff\xfe\x00", None])
def test_what_is_no_file_of_trials_adds_nothing(
    ktrdr: Ktrdr, ledger: TrialLedger, tmp_path: Path, content: str | bytes | None
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    status, out, err = ktrdr("import", file)
    assert (status, out) == (2, "")
    assert err.startswith(f"Error: {file}")
    assert "ktrdr trials export" in err
    assert err.count("\n") == 1
    assert ledger.rows() == 6


def test_a_row_that_was_changed_is_found_and_the_other_commands_go_on(
    ktrdr: Ktrdr, ledger: TrialLedger, damage: Callable[[str], None], tmp_path: Path
) -> None:
    backtest = ids(ledger)[2]
    damage("""UPDATE trial_rows SET content = replace(content, '"sharpe":0.754', '"sharpe":9.754') WHERE number = 2""")
    status, out, err = ktrdr("show", backtest)
    assert (status, err) == (0, f"Warning: row {backtest} was changed after it was written.\n")
    assert "sharpe 9.754" in out
    status, out, err = ktrdr("verify")
    problem = f"row {backtest} of the ledger of trials was changed"
    assert (status, out) == (2, f"Ledger {ledger.id} (this one): 6 rows, broken: {problem}\n")
    assert err.startswith("Restore an undamaged copy of trials.sqlite")
    status, out, _ = ktrdr("verify", "--json")
    (chain,) = json.loads(out)
    assert (status, chain["state"], chain["problem"]) == (2, "broken", problem)
    warning = f"Warning: {problem}; `ktrdr trials verify` says more.\n"
    status, out, err = ktrdr("list", "--json")
    assert (status, err, len(json.loads(out)["items"])) == (0, warning, 6)
    status, out, err = ktrdr("show", ids(ledger)[3])
    assert (status, err) == (0, warning)
    status, out, err = ktrdr("export", tmp_path / "file")
    assert (status, err) == (0, warning)
    # What was changed is not taken in anywhere.
    damage("UPDATE trial_meta SET value = 'abcdefabcdef' WHERE name = 'id'")
    status, _, err = ktrdr("import", tmp_path / "file")
    assert status == 2
    assert f"row {backtest} is not what it was when it was written" in err


def test_a_row_that_is_gone_is_found(ktrdr: Ktrdr, ledger: TrialLedger, damage: Callable[[str], None]) -> None:
    after = ids(ledger)[3]
    damage("DELETE FROM trial_rows WHERE number = 2")
    status, out, _ = ktrdr("verify")
    assert status == 2
    assert f"row {after} of the ledger of trials follows a row that is missing" in out


def test_what_is_no_ledger_is_one_sentence(ktrdr: Ktrdr, home: Path) -> None:
    home.mkdir()
    (home / "trials.sqlite").write_text("this is no database, and it is long enough not to be taken for an empty one")
    for command in ("list", "verify"):
        status, out, err = ktrdr(command)
        assert (status, out) == (1, "")
        assert err.startswith(f"Error: the ledger of trials {home / 'trials.sqlite'} cannot be read")
        assert err.count("\n") == 1


def test_no_framework_is_imported(ledger: TrialLedger) -> None:
    code = (
        "import sys\nfrom ktrdr.core.cli.main import main\n"
        "try:\n    main(['trials', 'list', '--json'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'torch', 'sklearn', 'skops', 'pandas', 'duckdb'}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"

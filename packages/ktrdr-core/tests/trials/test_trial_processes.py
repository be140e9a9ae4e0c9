"""Any number of processes record at once, and may be killed at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ktrdr.core.trials.look import Look, Span, digest
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

BEGINNING = """
    import os, sys
    from pathlib import Path

    from ktrdr.core.trials.look import Look, Span, digest
    from ktrdr.core.trials.trial_database import SQLiteDatabase
    from ktrdr.core.trials.trial_ledger import TrialLedger

    def look(choice):
        return Look(
            kind="backtest", strategy=digest(choice), text=f"name: {choice}", changes={}, parent=None, seed=1,
            training_data="", data="", timeframe="1h", span=Span(("EURUSD",), 0, 9), account={}, metrics={"sharpe": 1},
        )

    place, name = Path(sys.argv[1]), sys.argv[2]
"""
# Its own looks, and some that all of them take; what has returned is said.
RECORDING = """
    ledger = TrialLedger(SQLiteDatabase(place))
    print("ready", flush=True)
    for number in range(int(sys.argv[3])):
        ledger.record([look(f"{name} {number} {part}") for part in range(3)] + [look(f"shared {number}")])
        print(number, flush=True)
"""
# Half of what there was before the ledger, then nothing more.
TAKING_IN = """
    def looks():
        for number in range(2_000):
            yield look(number)
            if number == 1_000 and name == "stops half way":
                print("ready", flush=True)
                sys.stdin.read()
        if name == "dies at the end":
            os.kill(os.getpid(), 9)

    TrialLedger(SQLiteDatabase(place), looks)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BEGINNING) + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def until(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdout is not None
    assert child.stdout.readline().strip() == line


def choices(ledger: TrialLedger) -> list[str]:
    return [ledger.get(listed.row.id)[1].removeprefix("name: ") for listed in ledger.page(limit=10**6)]


def test_four_at_once(place: Path, is_clean) -> None:
    children = [started(RECORDING, place, name, 12) for name in "abcd"]
    assert [child.communicate()[0].split()[-1] for child in children] == ["11"] * 4
    ledger = TrialLedger(SQLiteDatabase(place))
    assert is_clean(ledger)
    assert ledger.count(Span(("EURUSD",), 0, 9)).known == 4 * 12 * 3 + 12 == ledger.rows()
    assert {child.returncode for child in children} == {0}
    (chain,) = ledger.verify()
    assert chain.ledger == ledger.id


def kill_at(moment: float, place: Path, name: str) -> list[str]:
    """Kill a recording process so many seconds after it is ready; return what it said it had recorded."""
    child = started(RECORDING, place, name, 10_000)
    until(child, "ready")
    time.sleep(moment)
    child.send_signal(signal.SIGKILL)
    told, _ = child.communicate()
    return [f"{name} {number} {part}" for number in told.split() for part in range(3)]


def survives(times: int, place: Path) -> None:
    moments = random.Random(7)
    told: list[str] = []
    for number in range(times):
        told += kill_at(moments.uniform(0, 0.15), place, f"child {number}")
        ledger = TrialLedger(SQLiteDatabase(place))
        assert [chain.problem for chain in ledger.verify()] == [""]
        kept = choices(ledger)
        assert set(told) <= set(kept)
        assert len(set(kept)) == len(kept)
        # All of a recording, or nothing of it.
        own = [choice.rsplit(" ", 1)[0] for choice in kept if choice.startswith("child")]
        assert all(own.count(each) == 3 for each in set(own))
        ledger.record([_look(f"after {number}")])
    assert told


def _look(choice: str) -> Look:
    return Look(
        kind="backtest",
        strategy=digest(choice),
        text=f"name: {choice}",
        changes={},
        parent=None,
        seed=1,
        training_data="",
        data="",
        timeframe="1h",
        span=Span(("EURUSD",), 0, 9),
        account={},
        metrics={},
    )


def test_killed_while_it_records(place):
    survives(3, place)


@pytest.mark.slow
def test_killed_at_twenty_moments(place):
    survives(20, place)


@pytest.mark.parametrize("name", ["stops half way", "dies at the end"])
def test_killed_while_the_ledger_is_made(name, place, is_clean):
    child = started(TAKING_IN, place, name)
    if name == "stops half way":
        until(child, "ready")
        child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    # There is none, so the next one makes it.
    ledger = TrialLedger(SQLiteDatabase(place), lambda: [_look("a"), _look("b")])
    assert ledger.rows() == 2
    assert is_clean(ledger)


def test_killed_while_rows_are_being_written(place, is_clean):
    """Between two batches of one recording, when the first is in the file and what it replaces in the journal."""
    TrialLedger(SQLiteDatabase(place)).record([_look("before")])
    code = """
        from ktrdr.core.trials import trial_writing

        write, batches = trial_writing.write_entries, []

        def stopping(session, entries):
            write(session, entries)
            batches.append(entries)
            if len(batches) == 8:
                os.kill(os.getpid(), 9)

        trial_writing.write_entries = stopping
        TrialLedger(SQLiteDatabase(place)).record([look(number) for number in range(6_000)])
    """
    child = started(code, place, "writer")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert Path(f"{place}-journal").stat().st_size > 0
    ledger = TrialLedger(SQLiteDatabase(place))
    assert choices(ledger) == ["before"]
    assert is_clean(ledger)


def test_only_one_of_many_makes_the_ledger(place):
    children = [started("print(TrialLedger(SQLiteDatabase(place)).id)", place, number) for number in range(4)]
    assert len({child.communicate()[0] for child in children}) == 1
    assert {child.returncode for child in children} == {0}

"""No result without its row in the ledger of trials; and a stored result is judged by what the ledger knows today."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktrdr.core.backtesting.metrics import deflate
from ktrdr.core.backtesting.results import read_result, read_summary
from ktrdr.core.runs.run_store import find_run
from ktrdr.core.trials.look import LOOKS
from ktrdr.core.trials.trial_database import TrialStoreError, default_database
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.compare_runs import summary_by_now
from ktrdr.core.workflows.run_job import run_job

MONTH = {"start": "2017-04-01", "end": "2017-04-30"}
GRID = {"decisions.confidence_threshold": [0.335, 0.345], "risk.stop_loss.atr": [1.5, 2.5]}


class TestNotWritable:
    """What takes a look ends with one sentence: no model, no run, nothing shown."""

    @pytest.fixture(params=["a directory in its place", "no database", "no room for rows"])
    def broken(self, request, home, by_python, write_strategy):
        """A home with a model, whose ledger cannot be written any more."""
        by_python.train(write_strategy("waves"))
        path = home / "trials.sqlite"
        if request.param == "no room for rows":
            with sqlite3.connect(path) as connection:
                connection.execute(
                    "CREATE TRIGGER full BEFORE INSERT ON trial_rows BEGIN SELECT RAISE(ABORT, 'no room'); END"
                )
            connection.close()
        else:
            path.unlink()
            if request.param == "no database":
                path.write_bytes(b"something else" * 1000)
            else:
                path.mkdir()
        return home

    @pytest.fixture
    def commands(self, write_strategy):
        return {
            "train": ("train", write_strategy("other", threshold=0.4)),
            "backtest": ("backtest", "waves", "--start", "2017-04-01", "--end", "2017-04-30"),
            "sweep": ("sweep", "waves", "--set", "risk.stop_loss.atr=2,4"),
        }

    @pytest.mark.parametrize("name", ["train", "backtest", "sweep"])
    @pytest.mark.parametrize("json_wanted", [True, False], ids=["json", "text"])
    def test_one_sentence_and_nothing_else(self, broken, commands, ktrdr, tmp_path, name, json_wanted):
        status, out, err = ktrdr(*commands[name], *(["--json"] if json_wanted else []))
        assert status == 1
        assert out == ""
        (line,) = [line for line in err.splitlines() if line.startswith("Error: ")]
        assert line.startswith(f"Error: the ledger of trials {broken / 'trials.sqlite'} cannot be ")
        assert "Traceback" not in err
        assert "harpe" not in err
        assert sorted(path.name for path in (broken / "models").iterdir()) == (
            # The place of a name is made before its first model; there is none in it.
            ["waves"]
        )
        assert not (broken / "runs").exists()

    def test_a_job_of_a_worker_too(self, broken):
        for kind, data in (("backtest", {"model": "waves"}), ("sweep", {"model": "waves", "settings": GRID})):
            with pytest.raises(TrialStoreError, match="the ledger of trials"):
                run_job(kind, data)
        assert not (broken / "runs").exists()


class TestByNow:
    def test_a_run_is_compared_by_what_is_known_by_now(self, way, write_strategy, ktrdr):
        way.train(write_strategy("waves"))
        made = way.backtest("waves", **MONTH)
        assert made["metrics"]["trials"] == 1
        directory = find_run(made["run"])
        stored = {path.name: path.read_bytes() for path in directory.iterdir()}

        swept = way.sweep("waves", GRID, **MONTH)
        assert swept["trial_count"]["known"] == 5

        shown = json.loads(ktrdr("compare", made["run"], "--json")[1])[made["run"]]
        assert (shown["metrics"]["trials"], shown["trial_count"]["known"]) == (5, 5)
        expected = deflate(made["metrics"], 5, swept["trial_count"]["spread"])
        assert shown["metrics"] == expected
        assert expected["deflated_sharpe"] < made["metrics"]["deflated_sharpe"]
        assert f"{made['run']}: 5 trials known to this ledger." in ktrdr("compare", made["run"])[1]
        # Nothing is written; who trades the same again is told the same.
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == stored
        assert way.backtest("waves", **MONTH)["metrics"]["deflated_sharpe"] == expected["deflated_sharpe"]

    def test_what_was_made_elsewhere_still_counts(self, by_python, write_strategy):
        by_python.train(write_strategy("waves"))
        made = by_python.backtest("waves", trials=7, **MONTH)
        by_python.sweep("waves", GRID, **MONTH)
        now = summary_by_now(find_run(made["run"]))
        assert (now["trial_count"]["known"], now["metrics"]["trials"]) == (5, 12)

    def test_a_run_of_which_more_was_known_stays_as_it_is(self, by_python, write_strategy, ledger):
        by_python.train(write_strategy("waves"))
        by_python.sweep("waves", GRID, **MONTH)
        directory = find_run(by_python.backtest("waves", **MONTH)["run"])
        assert summary_by_now(directory, trials=ledger) == read_summary(directory)
        assert read_summary(directory)["metrics"]["trials"] == 5

    def test_a_run_from_before_the_ledger_stays_as_it_is(self, by_python, write_strategy, ktrdr):
        by_python.train(write_strategy("waves"))
        made = by_python.backtest("waves", **MONTH)
        directory = find_run(made["run"])
        for name, keys in (("result.json", ("trial_count",)), ("metrics.json", ("metrics", "sharpe_error"))):
            content = json.loads((directory / name).read_text(encoding="utf-8"))
            place = content
            for key in keys[:-1]:
                place = place[key]
            del place[keys[-1]]
            (directory / name).write_text(json.dumps(content), encoding="utf-8")
        stored = read_summary(directory)
        by_python.sweep("waves", GRID, **MONTH)
        assert summary_by_now(directory) == stored
        assert json.loads(ktrdr("compare", made["run"], "--json")[1])[made["run"]] == stored
        status, out, _ = ktrdr("compare", made["run"])
        assert (status, "known to this ledger" in out) == (0, False)
        result = read_result(directory)
        assert (result.trial_count, "sharpe_error" in result.metrics) == (None, False)


class TestJobs:
    def test_a_job_tells_of_its_looks(self, home, by_python, write_strategy):
        text = write_strategy("waves").read_text(encoding="utf-8")
        for kind, data, number in (
            ("training", {"strategy": text}, 1),
            ("backtest", {"model": "waves", **MONTH}, 1),
        ):
            result = run_job(kind, data, operation="ab12")
            assert len(result[LOOKS]) == number
            assert result[LOOKS][0]["operation"] == "ab12"
            assert json.loads(json.dumps(result, allow_nan=False)) == result
        rows = [listed.row for listed in TrialLedger(default_database()).page()]
        assert [(row.kind, row.operation) for row in rows] == [("backtest", "ab12"), ("training", "ab12")]


_KILLED = """
import json, os, sys
from pathlib import Path
from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings
from ktrdr.core.runs.run_store import store_run
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_sweep import sweep

kind, number, shown = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
month = {"start": "2017-04-01", "end": "2017-04-14"}
first = number + 1
while True:
    number += 1
    costs = {**month, "commission": number * 1e-7}
    if kind == "backtest":
        store_run(backtest("waves", BacktestSettings.model_validate({**costs, "explain": 0})))
    else:
        values = {"risk.stop_loss.atr": [1, 2, 3, 4, 5]}
        result = sweep("waves", SweepSettings.model_validate({**costs, "settings": values, "top": 1})).to_json()
        (shown / f"{number}.json").write_text(json.dumps([costs["commission"], len(result["rows"])]))
    if number == first:
        # By now everything is imported: what follows takes milliseconds.
        print("ready", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["backtest", "sweep"])
def test_a_kill_at_a_random_moment_leaves_no_result_without_its_row(kind, home, by_python, write_strategy, tmp_path):
    by_python.train(write_strategy("waves"))
    shown = tmp_path / "shown"
    shown.mkdir()
    example = Path(__file__).parents[4] / "examples" / "ktrdr-ml-example" / "src"
    environment = {**os.environ, "KTRDR_HOME": str(home), "PYTHONPATH": f"{example}{os.pathsep}{tmp_path / 'site'}"}
    moments = random.Random(1)
    results = 0
    for kill in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, kind, str(kill * 10_000), str(shown)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 1))
        assert child.poll() is None, "it ended by itself"
        child.kill()
        child.wait()
        child.stdout.close()
        assert child.returncode == -signal.SIGKILL

        ledger = TrialLedger(default_database())
        assert [chain.problem for chain in ledger.verify()] == [""]
        recorded = [listed.row for listed in ledger.page(limit=100_000)]
        costs = [row.account["commission"] for row in recorded if row.kind == kind]
        if kind == "backtest":
            # What begins with a point is what a dead writer had not finished.
            found = [path.parent for path in (home / "runs").glob("*/[0-9]*/result.json")]
            assert {read_summary(run)["settings"]["commission"] for run in found} <= set(costs)
        else:
            found = [path for path in shown.iterdir() if path.stat().st_size]
            for path in found:
                commission, cells = json.loads(path.read_text())
                assert costs.count(commission) == cells == 5
            # All cells of a sweep, or none.
            assert all(costs.count(each) == 5 for each in set(costs))
        results = len(found)
    # The first one of each child, and some that were under way.
    assert results > 25

"""The main job as a newcomer runs it: `ktrdr demo`, and the same steps one at a time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import install_sample

ROOT = Path(__file__).parents[2]
STRATEGY = ROOT / "strategies" / "neuro_mean_reversion.yaml"


def ktrdr(home, *arguments):
    """Run a command in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "ktrdr.core.cli.main", *arguments],
        env={**os.environ, "KTRDR_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return ``run(*arguments)``: what a command prints that runs in this process, on a home of its own."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def execute(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        printed = capsys.readouterr()
        assert not end.value.code, printed.err
        return printed.out

    return execute


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo with few epochs; its home, and what it said."""
    home = tmp_path_factory.mktemp("home")
    return home, ktrdr(home, "demo", "--epochs", "3", "--seed", "7")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The JSON of the same demo on a home of its own."""
    return json.loads(ktrdr(tmp_path_factory.mktemp("other"), "demo", "--epochs", "3", "--seed", "7", "--json").stdout)


def test_the_demo_says_what_it_did_and_where_everything_is(demo):
    home, answer = demo
    for word in ("Real prices: EURUSD", "SYNTHETIC", "seed 7", "buy and hold", "majority class", "In short"):
        assert word in answer.stdout
    paths = re.findall(r"^(?:Evaluation|Model|Backtest) +neuro_mean_reversion/\S+: (.+)$", answer.stdout, re.MULTILINE)
    assert len(paths) == 6
    assert all(Path(path).exists() and Path(path).is_relative_to(home) for path in paths)
    assert max(len(line) for line in answer.stdout.splitlines() if str(home) not in line) <= 80
    # Progress goes to standard error, in lines where there is no terminal.
    assert "training:" in answer.stderr


def test_the_demo_finds_what_is_there_and_says_when_nothing_is(demo, told):
    _, answer = demo
    real, known = told["real"], told["known_edge"]
    assert (real["data"]["world"], known["data"]["world"]) == ("", "mean_reversion-7")
    assert (real["edge"]["found"], known["edge"]["found"]) == (False, True)
    assert "No edge was found in EURUSD" in real["edge"]["sentence"]
    assert known["edge"]["sentence"] == (
        "The edge of synthetic MEANREV was found, and traded with profit out of sample."
    )
    assert known["backtest"]["metrics"]["total_return"] > 0
    assert known["backtest"]["metrics"]["sharpe"] >= 3
    for half in (real, known):
        # Once in its half, once at the end.
        assert answer.stdout.count(half["edge"]["sentence"]) == 2


def test_the_halves_differ_in_the_market_and_the_costs_alone(told):
    real, known = told["real"], told["known_edge"]
    assert real.keys() == known.keys()
    assert [half["data"]["symbol"] for half in (real, known)] == ["EURUSD", "MEANREV"]
    assert [half["evaluation"]["world"] for half in (real, known)] == ["", "mean_reversion-7"]
    for half in (real, known):
        evaluation = half["evaluation"]
        assert (len(evaluation["folds"]), evaluation["seeds"], evaluation["validation"]["type"]) == (
            15,
            [7, 8, 9],
            "cpcv",
        )
        assert (list(evaluation["symbols"]), evaluation["strategy"]) == (
            [half["data"]["symbol"]],
            "neuro_mean_reversion",
        )
        costs = [half["backtest"]["settings"][name] for name in ("commission", "slippage")]
        assert costs == [evaluation["account"][name] for name in ("commission", "slippage")]
        # What is traded at the end begins where the evaluation ends.
        assert evaluation["period"]["end"] <= half["backtest"]["start"]
        files = [half[name] for name in ("bundle", "trades", "equity", "evaluation_report", "report")]
        assert all(Path(path).exists() for path in files)


def test_the_demo_writes_below_its_home_and_nowhere_else(demo):
    home, _ = demo
    known = {"data", "models", "runs", "evaluations", "checkpoints", "cache", "trials.sqlite"}
    assert {path.name for path in home.iterdir()} <= known


def test_the_bundle_holds_what_it_should_and_no_pickle(demo):
    home, _ = demo
    bundles = sorted((home / "models" / "neuro_mean_reversion").glob("[0-9]*"))
    assert [bundle.name for bundle in bundles] == ["1", "2"]
    names = {path.name for path in bundles[0].iterdir()}
    assert {"manifest.json", "strategy.yaml", "normalizers.json", "history.json", "weights.safetensors"} <= names
    assert {Path(name).suffix for name in names} <= {".json", ".yaml", ".safetensors"}
    manifest = json.loads((bundles[0] / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["seed"] == 7
    assert manifest["strategy"]["training"]["epochs"] == 3
    assert manifest["data"]["end"] < "2017-10-01T01"


def test_the_backtest_is_of_the_unseen_rest_of_the_year(demo):
    home, _ = demo
    ((path,), (other,)) = (
        (home / "runs" / "neuro_mean_reversion" / run).rglob("result.json") for run in ("1-1", "2-1")
    )
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert summary["start"].startswith("2017-10-01")
    assert summary["end"].startswith("2017-12-29")
    assert json.loads(other.read_text(encoding="utf-8"))["start"].startswith("2017-10-01")


def test_the_same_seed_gives_the_same_weights_and_the_same_trades(demo, told):
    home, _ = demo
    for number, half in enumerate(("real", "known_edge"), 1):
        first = json.loads(ktrdr(home, "models", "show", f"neuro_mean_reversion/{number}", "--json").stdout)
        assert told[half]["training"]["weights_hash"] in json.dumps(first)
        trades = home / "runs" / "neuro_mean_reversion" / f"{number}-1" / "trades.parquet"
        assert Path(told[half]["trades"]).read_bytes() == trades.read_bytes()


def test_the_steps_one_at_a_time_come_to_the_same(demo, run, tmp_path):
    home, _ = demo
    install_sample(BarStore(tmp_path / "data"))
    run("validate", str(STRATEGY))
    trained = json.loads(run("train", str(STRATEGY), "--epochs", "3", "--seed", "7", "--json"))
    assert trained["model"] == "neuro_mean_reversion/1"
    costs = ("--commission", "0.00002", "--slippage", "0.00002")
    tested = json.loads(run("backtest", "neuro_mean_reversion", *costs, "--report", "--json"))
    assert Path(tested["report"]).stat().st_size > 1_000_000  # the plotting library is inside
    trades = home / "runs" / "neuro_mean_reversion" / "1-1" / "trades.parquet"
    assert (Path(tested["directory"]) / "trades.parquet").read_bytes() == trades.read_bytes()


def test_an_interrupted_demo_leaves_nothing_half_written(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ktrdr.core.cli.main", "demo", "--epochs", "500"],
        env={**os.environ, "KTRDR_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    begun = ""
    while "training:" not in begun:
        line = process.stderr.readline()
        assert line, begun
        begun += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "edge was" not in out
    stored = [path for room in ("evaluations", "models", "runs") for path in (tmp_path / room).rglob("*.json")]
    assert stored == []
    assert "Real prices: EURUSD" in out


def test_a_symbol_that_is_taken_is_refused_before_anything_is_run(tmp_path):
    taken = ("data", "synthesize", "MEANREV", "--process", "walk", "--bars", "100")
    ktrdr(tmp_path, *taken)
    before = sorted(tmp_path.rglob("*"))
    answer = subprocess.run(
        [sys.executable, "-m", "ktrdr.core.cli.main", "demo"],
        env={**os.environ, "KTRDR_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("Error: ")
    assert "MEANREV" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_strategy_in_the_package_is_the_one_in_strategies():
    from importlib.resources import files

    packaged = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    assert packaged == STRATEGY.read_text(encoding="utf-8")

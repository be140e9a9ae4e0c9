"""The main job as a newcomer runs it: `ktrdr demo`, and the same steps one at a time."""

from __future__ import annotations

import json
import os
import re
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
    return home, ktrdr(home, "demo", "--epochs", "8", "--seed", "7")


def test_the_demo_says_what_it_did_and_where_everything_is(demo):
    home, answer = demo
    for word in ("buy and hold", "majority", "Bundle", "Trades", "Equity", "Report"):
        assert word in answer.stdout
    paths = [
        Path(line.split(None, 1)[1])
        for line in answer.stdout.splitlines()
        if re.match(r"(Bundle|Trades|Equity|Report) ", line)
    ]
    assert len(paths) == 4
    assert all(path.exists() and path.is_relative_to(home) for path in paths)
    # Progress goes to standard error, in lines where there is no terminal.
    assert "training:" in answer.stderr


def test_the_demo_writes_below_its_home_and_nowhere_else(demo):
    home, _ = demo
    assert {path.name for path in home.iterdir()} <= {"data", "models", "runs", "checkpoints", "cache", "trials.sqlite"}


def test_the_bundle_holds_what_it_should_and_no_pickle(demo):
    home, _ = demo
    (bundle,) = (home / "models" / "neuro_mean_reversion").glob("[0-9]*")
    names = {path.name for path in bundle.iterdir()}
    assert {"manifest.json", "strategy.yaml", "normalizers.json", "history.json", "weights.safetensors"} <= names
    assert {Path(name).suffix for name in names} <= {".json", ".yaml", ".safetensors"}
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["seed"] == 7
    assert manifest["strategy"]["training"]["epochs"] == 8
    assert manifest["data"]["end"] < "2017-10-01T01"


def test_the_backtest_is_of_the_unseen_rest_of_the_year(demo):
    home, _ = demo
    (path,) = (home / "runs").rglob("result.json")
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert summary["start"].startswith("2017-10-01")
    assert summary["end"].startswith("2017-12-29")


def test_the_same_seed_gives_the_same_weights_and_the_same_trades(demo, run):
    home, _ = demo
    again = json.loads(run("demo", "--epochs", "8", "--seed", "7", "--json"))
    first = json.loads(ktrdr(home, "models", "show", "neuro_mean_reversion/1", "--json").stdout)
    assert again["training"]["weights_hash"] in json.dumps(first)
    (trades,) = (home / "runs").rglob("trades.parquet")
    assert Path(again["trades"]).read_bytes() == trades.read_bytes()


def test_the_steps_one_at_a_time_come_to_the_same(demo, run, tmp_path):
    home, _ = demo
    install_sample(BarStore(tmp_path / "data"))
    run("validate", str(STRATEGY))
    trained = json.loads(run("train", str(STRATEGY), "--epochs", "8", "--seed", "7", "--json"))
    assert trained["model"] == "neuro_mean_reversion/1"
    costs = ("--commission", "0.00002", "--slippage", "0.00002")
    tested = json.loads(run("backtest", "neuro_mean_reversion", *costs, "--report", "--json"))
    assert Path(tested["report"]).stat().st_size > 1_000_000  # the plotting library is inside
    (trades,) = (home / "runs").rglob("trades.parquet")
    assert (Path(tested["directory"]) / "trades.parquet").read_bytes() == trades.read_bytes()


def test_the_strategy_in_the_package_is_the_one_in_strategies():
    from importlib.resources import files

    packaged = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    assert packaged == STRATEGY.read_text(encoding="utf-8")

"""Stores, plugins and engines are put together in one place: everything else calls `ktrdr.core.workflows`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = "packages/ktrdr-core/src/ktrdr/core/workflows/"
ALLOWED = (WORKFLOWS, "packages/ktrdr-core/tests/training/")


def written_out(files):
    made = re.compile(r"^(?!\s*class )(?!.*:class:).*\bTrainingExecutor\(", re.MULTILINE)
    return sorted(name for name, text in files.items() if made.search(text) and not name.startswith(ALLOWED))


def traded_elsewhere(files):
    """Return the sources that call `run_backtest`, under whatever name, but for the workflows; tests may."""
    called = re.compile(r"^(?!\s*def run_backtest\().*\brun_backtest\b(\(| as )", re.MULTILINE)
    return sorted(
        name
        for name, text in files.items()
        if "/src/" in name and called.search(text) and not name.startswith(WORKFLOWS)
    )


@pytest.fixture(scope="module")
def files():
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("packages", "deploy", "benchmarks", "examples", "docs", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
    }


def test_a_training_is_put_together_in_the_workflow_alone(files):
    assert written_out(files) == []


def test_a_backtest_is_put_together_in_the_workflow_alone(files):
    """Which gives it the ledger of trials that everything else is counted in."""
    assert traded_elsewhere(files) == []
    assert traded_elsewhere({name.replace(WORKFLOWS, "x/src/"): text for name, text in files.items()}) == [
        "x/src/run_backtest.py"
    ]


def test_one_that_is_written_out_elsewhere_is_found():
    assert written_out({"packages/x.py": "result = TrainingExecutor(strategy).execute()\n"}) == ["packages/x.py"]
    assert written_out({"packages/x.py": "class TrainingExecutor(Base):\n"}) == []


def test_a_backtest_elsewhere_is_found():
    place = "packages/ktrdr-api/src/x.py"
    for text in (
        "result = run_backtest(bundle, trials=mine)\n",
        "from ktrdr.core.backtesting.run import run_backtest as trade\n",
        "def f():\n    return run.run_backtest(\n        bundle)\n",
    ):
        assert traded_elsewhere({place: text}) == [place]
        assert traded_elsewhere({"packages/ktrdr-api/tests/x.py": text}) == []
    assert traded_elsewhere({place: "def run_backtest(\n    bundle: Bundle,\n"}) == []
    assert traded_elsewhere({place: "from ktrdr.core.workflows.run_backtest import backtest\n"}) == []

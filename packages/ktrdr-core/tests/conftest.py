"""A real backend for tests of core, the example one, which needs numpy alone; and a ledger of trials for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

_EXAMPLE = Path(__file__).parents[3] / "examples" / "ktrdr-ml-example" / "src"


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    """A ledger of trials of the test's own: tests that shared one would count each other."""
    return TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))


@pytest.fixture
def example_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginManager]:
    """The example backend, installed as far as discovery can tell."""
    site = tmp_path / "site"
    info = site / "ktrdr_ml_example-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n", encoding="utf-8")
    monkeypatch.syspath_prepend(_EXAMPLE)
    yield PluginManager(path=[str(site)], environ={})
    for name in [name for name in sys.modules if name.split(".")[0] == "ktrdr_ml_example"]:
        del sys.modules[name]

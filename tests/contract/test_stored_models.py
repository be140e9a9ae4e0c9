"""Models that were stored under plugin contract 1.0 stay what they are: their bytes, predictions and trades.

`files/kept_*` is what training wrote then, from the shipped sample; `files/kept_*.json` says what it did.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.manifest import BUNDLE_FORMAT
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

FILES = Path(__file__).parent / "files"


@pytest.fixture(params=["kept_mlp", "kept_logistic"])
def name(request):
    return request.param


@pytest.fixture
def ref(name):
    return f"{name}/1"


@pytest.fixture
def then(name):
    return json.loads((FILES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def store(name, tmp_path):
    shutil.copytree(FILES / name, tmp_path / "models" / name)
    return ModelStore(tmp_path / "models")


@pytest.fixture
def plugins():
    return PluginManager(environ={})


def test_it_says_that_it_was_made_under_another_contract(store, ref, plugins):
    made = store.get(ref).manifest.plugin
    assert made.contract == "1.0"
    assert plugins.info(made.name).contract != made.contract


def test_it_is_verified_and_its_hashes_are_those_of_then(store, ref, then):
    bundle = store.verify(ref)
    assert bundle.manifest.weights_hash == then["weights_hash"]
    assert hashlib.sha256((bundle.directory / "manifest.json").read_bytes()).hexdigest() == then["manifest"]


def test_it_predicts_the_same_numbers(store, ref, then, plugins):
    predictor = store.get(ref).load_predictor(plugins, "cpu")
    features = np.random.default_rng(0).random((8, predictor.input_size), dtype=np.float32)
    np.testing.assert_allclose(predictor.predict(features), then["predictions"], rtol=0, atol=1e-6)


def test_it_makes_the_same_trades(store, ref, then, plugins, tmp_path):
    bars = BarStore(tmp_path / "data")
    install_sample(bars)
    settings = BacktestSettings(commission=0.00002, slippage=0.00002, device="cpu", explain=0)
    ledger = TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))
    result = run_backtest(store.get(ref), bar_store=bars, plugins=plugins, trials=ledger, settings=settings)
    assert len(result.trades["number"]) == then["trades"]
    assert result.equity["equity"][-1] == pytest.approx(then["equity"], rel=1e-9)


def test_it_is_exported_as_then_and_imported_elsewhere(store, ref, then, plugins, tmp_path):
    archive = export_bundle(store, ref, tmp_path)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == then["export"]
    elsewhere = ModelStore(tmp_path / "elsewhere")
    copy = import_bundle(elsewhere, archive).bundle
    # The copy is written in today's format.
    changes = {"schema_version": BUNDLE_FORMAT, "origin": ref}
    assert copy.manifest == store.get(ref).manifest.model_copy(update=changes)
    assert not import_bundle(elsewhere, archive).added
    copy.load_predictor(plugins, "cpu")

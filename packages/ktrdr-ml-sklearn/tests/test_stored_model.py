"""A model that was stored under plugin contract 1.0 stays what it is: its bytes, its predictions, its trades.

`files/kept_logistic` is what training wrote then, from the shipped sample; `files/kept_logistic.json` says what it did.
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
from ktrdr.core.jobs.backtest_settings import BacktestSettings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager

FILES = Path(__file__).parent / "files"
THEN = json.loads((FILES / "kept_logistic.json").read_text(encoding="utf-8"))


@pytest.fixture
def store(tmp_path):
    shutil.copytree(FILES / "kept_logistic", tmp_path / "models" / "kept_logistic")
    return ModelStore(tmp_path / "models")


@pytest.fixture
def plugins():
    return PluginManager(environ={})


def test_it_says_that_it_was_made_under_another_contract(store, plugins):
    made = store.get("kept_logistic/1").manifest.plugin.contract
    assert made == "1.0"
    assert plugins.info("sklearn").contract != made


def test_it_is_verified_and_its_hashes_are_those_of_then(store):
    bundle = store.verify("kept_logistic/1")
    assert bundle.manifest.weights_hash == THEN["weights_hash"]
    assert hashlib.sha256((bundle.directory / "manifest.json").read_bytes()).hexdigest() == THEN["manifest"]


def test_it_predicts_the_same_numbers(store, plugins):
    predictor = store.get("kept_logistic/1").load_predictor(plugins, "cpu")
    features = np.random.default_rng(0).random((8, predictor.input_size), dtype=np.float32)
    np.testing.assert_allclose(predictor.predict(features), THEN["predictions"], rtol=0, atol=1e-6)


def test_it_makes_the_same_trades(store, plugins, tmp_path):
    bars = BarStore(tmp_path / "data")
    install_sample(bars)
    settings = BacktestSettings(commission=0.00002, slippage=0.00002, device="cpu", explain=0)
    result = run_backtest(store.get("kept_logistic/1"), bar_store=bars, plugins=plugins, settings=settings)
    assert len(result.trades["number"]) == THEN["trades"]
    assert result.equity["equity"][-1] == pytest.approx(THEN["equity"], rel=1e-9)


def test_it_is_exported_as_then_and_imported_elsewhere(store, plugins, tmp_path):
    archive = store.export("kept_logistic/1", tmp_path)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == THEN["export"]
    copy = ModelStore(tmp_path / "elsewhere").import_bundle(archive)
    assert copy.manifest == store.get("kept_logistic/1").manifest
    copy.load_predictor(plugins, "cpu")

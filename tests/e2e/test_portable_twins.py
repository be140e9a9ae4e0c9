"""Every model type trades and explains the same by its portable twin as by its framework."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ktrdr.core.backtesting.explanation import explain
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.inference.portable_predictor import PortablePredictor
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.ensemble_predictor import EnsemblePredictor
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.contract import Explainable, RuleBased
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.model_twins import compare_twin
from ktrdr.core.workflows.run_backtest import backtest

SHORT = {
    "training_data": {"date_range": {"start": "2017-01-01", "end": "2017-02-28"}},
    "decisions": {"confidence_threshold": 0.34},
}
ONE_INPUT = {"nn_inputs": [{"fuzzy_set": "rsi", "timeframes": "all"}]}
NEURAL_KEYS = ("batch_size", "learning_rate", "optimizer", "weight_decay", "gradient_clip", "lr_scheduler",
               "early_stopping", "epochs")  # fmt: skip
OTHER = dict.fromkeys(NEURAL_KEYS)
# HOLD is rare and has no more weight, so that a model of three epochs trades.
UP_OR_DOWN = {"labels": {"source": "direction", "horizon": 4, "threshold": 0.0001}, "class_weights": None}
FAST = {"epochs": 3, "learning_rate": 0.01, **UP_OR_DOWN}
VALUES = {
    "decisions": {
        "replace": {"output_format": "regression", "cost_model": {"round_trip_cost": 0.0, "min_edge_multiplier": 1.0}}
    },
}
RETURNS = {"labels": {"source": "forward_return", "horizon": 6}, "class_weights": None}


def mlp(**architecture):
    return {"type": "mlp", "architecture": {"hidden_layers": [9, 5], **architecture}}


def ensemble(of, vote):
    return {"type": "ensemble", "of": of, "vote": vote, "members": {"seeds": 3}}


LSTM = {"type": "lstm", "architecture": {"sequence_length": 5, "hidden_size": 6, "num_layers": 2}}
GRU = {"type": "gru", "architecture": {"sequence_length": 4, "hidden_size": 6, "num_layers": 1}}
FOREST = {"type": "random_forest", "architecture": {"n_estimators": 12}}
BOOSTING = {"type": "gradient_boosting", "architecture": {"max_leaf_nodes": 6}}
RULES = {"type": "anfis", "architecture": {"learn_memberships": True, "learning": "gradient"}}

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "gelu")

# Model, keys of training, and sections that differ.
KINDS = {
    "the shipped strategy": (None, {}, {}),
    **{
        f"mlp {name}": (mlp(activation=name), FAST, SHORT) for name in ("relu", "tanh", "sigmoid", "leaky_relu", "gelu")
    },
    "mlp with normalization": (mlp(batch_norm=True, dropout=0.2), FAST, SHORT),
    "lstm": (LSTM, FAST, SHORT),
    "gru": (GRU, FAST, SHORT),
    "anfis": ({"type": "anfis"}, FAST, SHORT | ONE_INPUT),
    "anfis that learns memberships": (RULES, FAST, SHORT | ONE_INPUT),
    "random forest": (FOREST, OTHER, SHORT),
    "gradient boosting": (BOOSTING, OTHER | {"epochs": 5}, SHORT),
    "logistic regression": ({"type": "logistic_regression"}, OTHER | {"epochs": 20}, SHORT),
    "mlp of values": (mlp(), FAST | RETURNS, SHORT | VALUES),
    "lstm of values": (LSTM, FAST | RETURNS, SHORT | VALUES),
    "anfis of values": ({"type": "anfis"}, FAST | RETURNS, SHORT | ONE_INPUT | VALUES),
    "random forest of values": (FOREST, OTHER | RETURNS, SHORT | VALUES),
    "gradient boosting of values": (BOOSTING, OTHER | {"epochs": 5} | RETURNS, SHORT | VALUES),
    "average of networks": (ensemble(mlp(), "average"), FAST, SHORT),
    "majority of networks": (ensemble(mlp(), "majority"), FAST, SHORT),
    "average of rules": (ensemble({"type": "anfis"}, "average"), FAST, SHORT | ONE_INPUT),
    "majority of forests": (ensemble(FOREST, "majority"), OTHER, SHORT),
}


@pytest.fixture(scope="module")
def trained(variant, train_text, tmp_path_factory):
    """Return ``trained(kind)``: the bundle, trained once, and its home."""
    found = {}

    def run(kind):
        if kind not in found:
            model, training, sections = KINDS[kind]
            changes = {**sections, "training": training}
            if model is not None:
                changes["model"] = {"replace": model}
            home = tmp_path_factory.mktemp("portable")
            found[kind] = train_text(variant(**changes), home, seed=5).bundle, home
        return found[kind]

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_trades_equity_and_metrics_are_equal(kind, trained, plugins, shared_home, tmp_path):
    bundle, _ = trained(kind)
    assert bundle.manifest.portable, bundle.manifest.twin
    results = {}
    for inference in ("native", "portable"):
        results[inference] = backtest(
            bundle,
            BacktestSettings(inference=inference, explain=5),
            bar_store=BarStore(shared_home / "data"),
            plugins=plugins,
            trials=TrialLedger(SQLiteDatabase(tmp_path / f"{inference}.sqlite")),
        )
        assert results[inference].provenance["inference"] == inference
    native, portable = results["native"], results["portable"]
    assert len(native.trades["number"]) > 0
    for table in ("trades", "equity"):
        mine, theirs = getattr(portable, table), getattr(native, table)
        assert mine.keys() == theirs.keys()
        for column in theirs:
            np.testing.assert_array_equal(mine[column], theirs[column], err_msg=f"{table}.{column}")
    assert portable.metrics == native.metrics


@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_can_be_made_again_and_no_decision_differs(kind, trained, plugins):
    bundle, _ = trained(kind)
    found = compare_twin(bundle, plugins)
    assert (found.rows, found.differing) == (bundle.manifest.twin.rows, 0)
    assert found.decisions > 100
    assert found.difference == pytest.approx(bundle.manifest.twin.difference, abs=5e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_are_equal(kind, trained, plugins, shared_home):
    bundle, _ = trained(kind)
    store = BarStore(shared_home / "data")
    native, portable = (
        explain(bundle, bar_store=store, plugins=plugins, inference=inference) for inference in ("native", "portable")
    )
    assert (portable.time, portable.decision, portable.rules) == (native.time, native.decision, native.rules)
    assert list(portable.outputs.values()) == pytest.approx(list(native.outputs.values()), rel=1e-6, abs=1e-6)
    for mine, theirs in zip(portable.inputs, native.inputs, strict=True):
        assert (mine.contributions is None) == (theirs.contributions is None)
        if theirs.contributions is not None:
            assert list(mine.contributions.values()) == pytest.approx(list(theirs.contributions.values()), abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_has_the_abilities_of_its_backend(kind, trained, plugins):
    bundle, _ = trained(kind)
    native, portable = (bundle.load_predictor(plugins, "cpu", inference) for inference in ("native", "portable"))
    assert isinstance(portable, PortablePredictor | EnsemblePredictor)
    for ability in (Explainable, RuleBased):
        assert isinstance(portable, ability) == isinstance(native, ability)


_ALONE = """
import sys
for name in ("torch", "sklearn", "skops", "scipy", "safetensors"):
    sys.modules[name] = None
from pathlib import Path
from ktrdr.core.backtesting.explanation import explain
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.run_backtest import backtest

home, data = Path(sys.argv[1]), BarStore(Path(sys.argv[2]))
none = PluginManager(path=[], environ={})
for entry in ModelStore(home / "models").list():
    bundle = ModelStore(home / "models").get(entry.ref)
    trials = TrialLedger(SQLiteDatabase(home / "trials.sqlite"))
    result = backtest(bundle, BacktestSettings(), bar_store=data, plugins=none, trials=trials)
    explained = explain(bundle, bar_store=data, plugins=none)
    print(entry.ref, len(result.trades["number"]), explained.decision)
"""


def test_all_of_them_run_where_no_framework_can_be_imported(trained, shared_home, tmp_path):
    # One process for all: a start takes longer than a backtest. Plugin names tell the models apart.
    store = ModelStore(tmp_path / "models")
    for kind in KINDS:
        bundle, home = trained(kind)
        path = export_bundle(ModelStore(home / "models"), bundle.ref, tmp_path / "one.zip", overwrite=True)
        assert import_bundle(store, path).added
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, str(tmp_path), str(shared_home / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(KINDS)

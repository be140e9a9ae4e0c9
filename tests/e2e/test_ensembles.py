"""Ensembles of every backend: each member is a training alone, and all predict, explain and trade as one model."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.backtesting.explanation import explain
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.contract import Explainable, RuleBased
from ktrdr.core.workflows.run_backtest import backtest

SMALL = {
    "training_data": {"date_range": {"start": "2017-01-01", "end": "2017-02-28"}},
    "nn_inputs": [{"fuzzy_set": "rsi", "timeframes": "all"}],
}
NEURAL_KEYS = ("batch_size", "learning_rate", "optimizer", "weight_decay", "gradient_clip", "lr_scheduler",
               "early_stopping", "epochs")  # fmt: skip
NEURAL = {"epochs": 2}
OTHER = dict.fromkeys(NEURAL_KEYS)
KINDS = {
    # 13 and 7 units: stacks of networks are padded, and the padding must not reach the files.
    "mlp": ({"type": "mlp", "architecture": {"hidden_layers": [13, 7], "dropout": 0.2}}, NEURAL),
    "lstm": ({"type": "lstm", "architecture": {"sequence_length": 3, "hidden_size": 5, "num_layers": 1}}, NEURAL),
    "anfis": ({"type": "anfis"}, NEURAL),
    "random_forest": ({"type": "random_forest", "architecture": {"n_estimators": 5}}, OTHER),
    "gradient_boosting": ({"type": "gradient_boosting", "architecture": {"max_leaf_nodes": 4}}, OTHER | NEURAL),
}


@pytest.fixture(scope="module")
def trained(variant, train_text, tmp_path_factory):
    """Return ``trained(kind, vote)``: the bundle of two members, trained once, and the home of its store."""
    found = {}

    def run(kind, vote="average"):
        if (kind, vote) not in found:
            of, training = KINDS[kind]
            model = {"type": "ensemble", "of": of, "vote": vote, "members": {"seeds": 2}}
            home = tmp_path_factory.mktemp("ensemble")
            text = variant(**SMALL, training=training, model={"replace": model})
            found[kind, vote] = train_text(text, home, seed=5).bundle, home
        return found[kind, vote]

    return run


@pytest.fixture(scope="module")
def features(shared_home):
    """Return ``features(bundle)``: the matrix of a bundle on the bars of January."""

    def make(bundle):
        bars = BarStore(shared_home / "data").read("EURUSD", "1h")
        recent = {"1h": bars.between(np.datetime64("2017-01-01"), np.datetime64("2017-02-01"))}
        pipeline = FeaturePipeline(bundle.strategy, crisp=bundle.manifest.crisp)
        return pipeline.with_normalizers(bundle.normalizers()).transform(recent)

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_is_byte_for_byte_a_training_alone(variant, train_text, tmp_path, trained, kind):
    of, training = KINDS[kind]
    text = variant(**SMALL, training=training, model={"replace": of})
    manifest = trained(kind)[0].manifest
    for number, seed in enumerate((5, 6), 1):
        alone = train_text(text, tmp_path, seed=seed).bundle.manifest
        for name in ("weights.safetensors", "weights.skops", "model.json", "history.json"):
            assert manifest.files.get(f"members/0{number}/{name}") == alone.files.get(name)
        assert manifest.members[number - 1].facts == alone.facts


@pytest.mark.parametrize(("kind", "vote"), [*((kind, "average") for kind in KINDS), ("mlp", "majority")])
def test_it_predicts_by_the_contract_from_its_stored_files(plugins, trained, features, kind, vote):
    bundle, _ = trained(kind, vote)
    predictor = bundle.load_predictor(plugins, inference="native")
    values = features(bundle).values
    outputs = predictor.predict(values)
    known = ~np.isnan(outputs).any(axis=1)
    assert known.sum() > 300
    assert (np.isnan(outputs).all(axis=1) == ~known).all()
    np.testing.assert_allclose(outputs[known].sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(predictor.predict(values), outputs)
    row = int(np.flatnonzero(known)[-1])
    alone = predictor.predict(values[row - predictor.window + 1 : row + 1])[-1]
    np.testing.assert_allclose(alone, outputs[row], atol=1e-6)
    members = [
        plugins.loader(bundle.manifest.plugin.name).load(bundle.directory / place).predict(values)[known]
        for place in bundle.manifest.member_directories
    ]
    votes = members if vote == "average" else [np.eye(3)[member.argmax(axis=1)] for member in members]
    np.testing.assert_allclose(outputs[known], np.mean(votes, axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", ["mlp", "lstm", "anfis"])
def test_contributions_are_the_mean_of_those_of_the_members(plugins, trained, features, kind):
    bundle, _ = trained(kind)
    predictor = bundle.load_predictor(plugins, inference="native")
    assert isinstance(predictor, Explainable)
    values = features(bundle).values[-100:]
    shares = predictor.contributions(values)
    loader = plugins.loader("torch")
    of_members = [
        loader.load(bundle.directory / place).contributions(values) for place in bundle.manifest.member_directories
    ]
    assert shares.shape == (len(values), bundle.manifest.input_size, 3)
    np.testing.assert_allclose(shares, np.mean(of_members, axis=0), rtol=1e-9, atol=1e-12)
    missing = np.isnan(predictor.predict(values)).any(axis=1)
    assert (np.isnan(shares).any(axis=(1, 2)) == missing).all()
    assert not missing[-1]


def test_the_rules_of_all_members_are_there(plugins, trained):
    bundle, _ = trained("anfis")
    predictor = bundle.load_predictor(plugins, inference="native")
    assert isinstance(predictor, RuleBased)
    rules = predictor.rules()
    assert sum(rule.weight for rule in rules) == pytest.approx(1)
    assert [rule.weight for rule in rules] == sorted((rule.weight for rule in rules), reverse=True)
    for number in (1, 2):
        assert sum(rule.weight for rule in rules if rule.text.startswith(f"member {number}: ")) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["mlp", "random_forest"])
def test_it_moves_trades_and_explains_as_one_model(plugins, trained, shared_home, tmp_path, kind):
    bundle, home = trained(kind)
    exported = export_bundle(ModelStore(home / "models"), bundle.ref, tmp_path / "model.zip")
    moved = import_bundle(ModelStore(tmp_path / "models"), exported).bundle
    assert moved.manifest.weights_hash == bundle.manifest.weights_hash
    store = BarStore(shared_home / "data")
    result = backtest(moved, BacktestSettings(), bar_store=store, plugins=plugins)
    again = backtest(bundle, BacktestSettings(), bar_store=store, plugins=plugins)
    assert result.metrics["total_return"] == again.metrics["total_return"]
    assert result.history == ()
    explanation = explain(moved, bar_store=store, plugins=plugins)
    assert sum(explanation.outputs.values()) == pytest.approx(1)
    assert len(explanation.inputs) == moved.manifest.input_size


def test_a_regression_is_averaged(variant, train_text, tmp_path, plugins, features):
    text = variant(
        **SMALL,
        model={"replace": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 2}}},
        decisions={"replace": {"output_format": "regression", "cost_model": {"round_trip_cost": 0.0001}}},
        training={"epochs": 1, "labels": {"source": "forward_return", "horizon": 4}, "class_weights": None},
    )
    bundle = train_text(text, tmp_path).bundle
    outputs = bundle.load_predictor(plugins).predict(features(bundle).values)
    assert outputs.ndim == 1
    assert np.isfinite(outputs).sum() > 300
    assert set(bundle.manifest.members[0].metrics["test"]) == set(bundle.manifest.metrics["test"])

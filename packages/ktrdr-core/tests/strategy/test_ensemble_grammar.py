"""Ensembles in the strategy language: every rule of the section refers to the model of the members."""

from __future__ import annotations

import pytest

from ktrdr.core.errors import PluginError
from ktrdr.core.features.columns import feature_columns
from ktrdr.core.limits import MOST_ENSEMBLE_MEMBERS
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import IdleKeys, ModelType
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import EnsembleSection, ModelSection, Strategy

REGRESSION = {"decisions.output_format": "regression", "training.labels": {"source": "forward_return", "horizon": 5}}


def ensemble(of=None, **more):
    return {"type": "ensemble", "of": of or {"type": "mlp"}, "members": {"seeds": 5}, **more}


def test_an_ensemble_is_read_with_the_defaults_of_its_members_model(load, plugins):
    of = {"type": "MLP", "backend": "neural", "architecture": {"hidden_layers": [8]}}
    model = load({"model": ensemble(of, vote="Majority")}, plugins).strategy.model
    assert isinstance(model, EnsembleSection)
    assert (model.type, model.vote, model.members.seeds, model.words) == (
        "ensemble",
        "majority",
        5,
        "ensemble of 5 mlp",
    )
    assert model.learner == ModelSection(
        type="mlp",
        backend="neural",
        architecture={
            "hidden_layers": [8],
            "activation": "relu",
            "dropout": 0.0,
            "batch_norm": False,
            "output_activation": None,
        },
    )


def test_the_members_average_if_nothing_else_is_said(load, plugins):
    assert load({"model": ensemble()}, plugins).strategy.model.vote == "average"


def test_a_model_of_one_training_is_its_own_learner(load, plugins):
    model = load({}, plugins).strategy.model
    assert (model.learner, model.words) == (model, "mlp")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (ensemble(of="mlp"), "model.of: `of` must be a map, such as `of: {type: mlp}`, not `mlp`"),
        (ensemble(of={"backend": "neural"}), "model.of: `type` is required: the model type of the members"),
        (
            ensemble(of={"type": "mpl"}),
            "model.of.type: no installed plugin trains model type `mpl`, did you mean `mlp`?",
        ),
        (ensemble(of={"type": "mlp", "backend": "neurall"}), "model.of.backend: no plugin `neurall` is installed"),
        (
            ensemble(of={"type": "mlp", "hidden_layers": [3]}),
            "model.of.hidden_layers: unknown key `hidden_layers`: write",
        ),
        (ensemble(of={"type": "mlp", "members": 3}), "model.of.members: unknown key `members`"),
        (
            ensemble(of={"type": "mlp", "architecture": {"dropuot": 1}}),
            "model.of.architecture.dropuot: unknown key `dropuot`, did you mean `dropout`?",
        ),
        (
            ensemble(of={"type": "Ensemble", "of": {"type": "mlp"}, "members": {"seeds": 2}}),
            "model.of.type: an ensemble cannot have ensembles as members; write the model type of its members, such as"
            " `type: mlp`",
        ),
        (ensemble(vote="mean"), "model.vote: unknown vote `mean`; it must be one of average, majority"),
        (ensemble(vote="averge"), "model.vote: unknown vote `averge`, did you mean `average`?"),
        (ensemble(members=5), "model.members: `members` must be a map, such as `members: {seeds: 5}`, not `5`"),
        (
            ensemble(members=None),
            "model.members: `members` is required: their number, for example `members: {seeds: 5}`",
        ),
        (ensemble(members={}), "model.members: `seeds` is required"),
        (ensemble(members={"seed": 5}), "model.members.seed: unknown key `seed`, did you mean `seeds`?"),
        (ensemble(members={"seeds": 1}), "model.members.seeds: `seeds` must be at least 2, not 1"),
        (ensemble(members={"seeds": 2.5}), "model.members.seeds: `seeds` must be a whole number, not 2.5"),
        (
            ensemble(members={"seeds": MOST_ENSEMBLE_MEMBERS + 1}),
            f"model.members.seeds: `seeds` must be at most {MOST_ENSEMBLE_MEMBERS}, not {MOST_ENSEMBLE_MEMBERS + 1}",
        ),
        (
            ensemble(architecture={"dropout": 0.1}),
            "model.architecture: unknown key `architecture`: write it under `of`",
        ),
        (ensemble(seeds=5), "model.seeds: unknown key `seeds`: write `members: {seeds: 5}`"),
        (ensemble(training={"epochs": 3}), "model.training: unknown key `training`: write its keys under `training`"),
        (ensemble(voet="average"), "model.voet: unknown key `voet`, did you mean `vote`?"),
        (
            {"type": "mlp", "of": {"type": "mlp"}},
            "model.of: `of` belongs to an ensemble, and `type` is mlp; remove it, or write `type: ensemble`, and the"
            " model of its members under `of`",
        ),
        ({"type": "mlp", "vote": "average"}, "model.vote: `vote` belongs to an ensemble"),
        ({"type": "mlp", "members": {"seeds": 5}}, "model.members: `members` belongs to an ensemble"),
        ({"of": {"type": "mlp"}}, "model: `type` is required: the model type, for example `type: ensemble`"),
        (ensemble() | {"type": "ensembel"}, "trains model type `ensembel`, did you mean `ensemble`?"),
    ],
)
def test_what_is_wrong_with_an_ensemble(errors_of, plugins, model, said):
    errors = errors_of({"model": model}, plugins)
    assert said in errors[-1], errors


@pytest.mark.parametrize("name", ["ensembel", "nonsense"])
def test_an_ensemble_is_not_suggested_as_the_model_of_its_members(errors_of, plugins, name):
    assert "ensemble" in errors_of({"model": {"type": name}}, plugins)[-1].partition(f"model type `{name}`")[2]
    said = errors_of({"model": ensemble(of={"type": name})}, plugins)[-1]
    assert "ensemble" not in said.partition(f"model type `{name}`")[2]


def test_the_nested_ensemble_is_refused_without_plugins_too(errors_of):
    (error,) = errors_of({"model": ensemble(of={"type": "ensemble", "of": {"type": "mlp"}})})
    assert error.startswith("model.of.type: an ensemble cannot have ensembles as members")


def test_the_error_stands_at_the_line_and_column_of_the_key(make_text, plugins):
    text = make_text({"model": ensemble(vote="majority"), **REGRESSION})
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(text, plugins=plugins)
    (error,) = caught.value.diagnostics
    lines = text.splitlines()
    assert error.path == "model.vote"
    assert lines[error.line - 1][error.column - 1 :].startswith("vote: majority")
    assert error.message == (
        "`vote: majority` counts the classes that the members choose, and `decisions.output_format` is regression; "
        "write `vote: average`"
    )


def test_the_remedy_for_a_vote_of_values_works(load, plugins):
    assert load({"model": ensemble(vote="average"), **REGRESSION}, plugins).strategy.decisions.output_format


def test_outputs_are_those_of_the_members_model(errors_of, plugins):
    (error, *_) = errors_of({"model": ensemble({"type": "forest"}), **REGRESSION}, plugins)
    assert error.startswith("model.of.type: model type `forest` is for classification")
    of = {"type": "mlp", "architecture": {"output_activation": "softmax"}}
    (error,) = errors_of({"model": ensemble(of), **REGRESSION}, plugins)
    assert error.startswith("model.of.architecture.output_activation: `output_activation: softmax` is for class")


def test_keys_of_the_training_are_those_of_the_members_model(errors_of, load, plugins):
    (error,) = errors_of({"model": ensemble({"type": "forest"}), "training.epochs": 5}, plugins)
    assert error.startswith("training.epochs: `epochs` has no effect on model type `forest`")
    assert load({"model": ensemble(), "training.epochs": 5}, plugins).strategy.training.epochs == 5


def test_a_model_of_rules_needs_fuzzy_sets_in_an_ensemble_too(errors_of, plugins):
    of = {"type": "anfis", "architecture": {"rules": 9}}
    raw = {"nn_inputs": [{"raw_indicator": "macd", "timeframes": "all"}]}
    (error,) = errors_of({"model": ensemble(of), **raw}, plugins)
    assert error.startswith("nn_inputs: model type `anfis` builds its rules from fuzzy sets")


class RuledPlugins:
    """Stands in for the plugin manager: every type name gives a type with at most 8 rules and an idle key."""

    def backend_for(self, name, backend=None, *, of_member=False):
        return "stub", ModelType(
            "ruled",
            "made of rules",
            architecture=(Parameter("most", "int", 8, minimum=1, maximum=1000), Parameter("way", "str", "solve")),
            training_keys=frozenset({"epochs"}),
            inputs="crisp",
            rules_parameter="most",
            idle_keys=(IdleKeys(frozenset({"epochs"}), (("way", "solve"),), "write `way: walk`"),),
        )


def test_limits_on_rules_and_idle_keys_are_those_of_the_members_model(errors_of, load):
    (error,) = errors_of({"model": ensemble({"type": "ruled"})}, RuledPlugins())
    assert error.startswith("model: ruled would have 9 rules")
    of = {"type": "ruled", "architecture": {"most": 9}}
    loaded = load({"model": ensemble(of), "training.epochs": 3}, RuledPlugins())
    assert [item.path for item in loaded.warnings] == ["training.epochs"]


def test_a_missing_plugin_is_reported_at_the_members_model(make_text, no_plugins):
    text = make_text({"model": ensemble()})
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(text, plugins=no_plugins)
    assert [item.path for item in caught.value.diagnostics] == ["model.of.type"]
    loaded = load_strategy_text(text, plugins=no_plugins, plugin_may_be_missing=True)
    assert [item.path for item in loaded.warnings] == ["model.of.type"]
    assert loaded.strategy.model.learner.type == "mlp"


def test_a_dump_loads_to_an_equal_strategy(load, plugins):
    strategy = load({"model": ensemble(vote="majority")}, plugins).strategy
    assert Strategy.model_validate(strategy.model_dump(mode="json")) == strategy
    assert strategy.model_dump(mode="json")["model"]["members"] == {"seeds": 5}


def test_the_dump_of_other_models_has_no_new_key(load, plugins):
    """Hashes of choices and checkpoints are made of it, and those in ledgers and on disk must stay found."""
    assert set(load({}, plugins).strategy.model_dump(mode="json")["model"]) == {"type", "backend", "architecture"}


def test_vote_and_number_of_members_are_choices(load, plugins):
    strategies = [load({"model": model}, plugins).strategy for model in (
        {"type": "mlp"}, ensemble(), ensemble(vote="majority"), ensemble(members={"seeds": 6}),
    )]  # fmt: skip
    assert len({choice_hash(strategy) for strategy in strategies}) == 4


def test_features_do_not_depend_on_the_number_of_models(load, plugins):
    one, many = (load({"model": model}, plugins).strategy for model in ({"type": "mlp"}, ensemble()))
    assert feature_columns(one) == feature_columns(many)


def test_a_plugin_cannot_take_the_name(tmp_path, monkeypatch):
    code = """
from ktrdr.core.plugins import ModelType, PluginInfo, hookimpl

@hookimpl
def ktrdr_plugin_info():
    return PluginInfo(name="taker", version="1", contract="2.0", model_types=(ModelType("ensemble", "a forest"),))
"""
    (tmp_path / "taker_hooks.py").write_text(code, encoding="utf-8")
    info = tmp_path / "taker-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taker\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\ntaker = taker_hooks\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        PluginError, match="has a model type `ensemble`, which core makes of other model types; install"
    ):
        PluginManager(path=[str(tmp_path)], environ={}).info("taker")

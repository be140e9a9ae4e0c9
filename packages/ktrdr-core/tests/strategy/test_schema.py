"""The JSON Schema accepts what the loader accepts, and refuses the errors that a schema can express."""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.indicators import registry
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.document import plain, read_document
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.read_risk import SIZINGS
from ktrdr.core.strategy.schema import strategy_schema
from ktrdr.core.strategy.training_parameters import LR_SCHEDULERS

SAMPLE = files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml")


@pytest.fixture(scope="module")
def validator(plugins):
    schema = strategy_schema(plugins)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def accepts(validator, plugins):
    """Both must accept."""

    def check(text: str) -> bool:
        load_strategy_text(text, plugins=plugins)
        errors = [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(as_data(text))]
        assert errors == []
        return True

    return check


def as_data(text: str) -> Any:
    return plain(read_document(text).root)


def test_the_shipped_sample(accepts, validator):
    assert accepts(SAMPLE.read_text(encoding="utf-8"))
    without_plugins = jsonschema.Draft202012Validator(strategy_schema())
    assert without_plugins.is_valid(as_data(SAMPLE.read_text(encoding="utf-8")))


VALID: list[dict[str, Any]] = [
    {},
    {"name": 2024},
    {"description": None, "risk": None, "deployment": None, "version": None},
    {"version": 3.0},
    {"training_data.symbols": {"mode": "single", "list": ["EURUSD"]}},
    {"training_data.symbols": {"mode": "Multi_Symbol", "list": ["EURUSD", "NO"]}},
    {"training_data.symbols.list": None},
    {"training_data.timeframes": {"mode": "single", "timeframe": "1h"}},
    {"training_data.timeframes.base_timeframe": None},
    {"training_data.date_range": {"start": "2015-01-01", "end": None}, "training_data.history_required": 100},
    {"training_data.start_date": "2015-01-01"},
    {"indicators.macd": {"type": "MACD", "fast_period": 10, "source": "HL2"}},
    {"indicators.bb": {"type": "BollingerBands", "multiplier": 2}},
    {"fuzzy_sets.rsi.low": {"type": "Gaussian", "parameters": [10, 0.5]}},
    {"fuzzy_sets.rsi.low": {"type": "bell", "parameters": [10, 2, -50]}},
    {"fuzzy_sets.rsi.low": [1, 2, 3, 4.5]},
    {"nn_inputs.0": {"fuzzy_set": "rsi", "raw_indicator": None, "timeframes": "all", "lags": [1, 2]}},
    {
        "nn_inputs.1": {
            "raw_indicator": "macd.signal",
            "fuzzy_set": None,
            "timeframes": ["1d"],
            "normalization": "MinMax",
        }
    },
    {"fuzzy_sets": ..., "nn_inputs": [{"raw_indicator": "macd", "timeframes": "all", "normalization": None}]},
    {"model": {"type": "MLP", "backend": "neural", "architecture": {"hidden_layers": [3], "output_activation": None}}},
    {"model": {"type": "anfis", "architecture": {"rules": 3}, "training": {"epochs": 3}, "features": None}},
    {
        "model": {"type": "forest", "architecture": None},
        "training.class_weights": "Balanced",
        "training.gradient_clip": None,
    },
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 5}}},
    {"model": {"type": "mlp", "of": None}, "training.epochs": 5},
    {
        "model": {
            "type": "Ensemble",
            "of": {"type": "MLP", "backend": "neural"},
            "vote": "Majority",
            "members": {"seeds": 2},
        }
    },
    {"model": {"type": "ensemble", "of": {"type": "anfis", "architecture": {"rules": 9}}, "members": {"seeds": 64}}},
    {"model": {"type": "mlp", "of": None, "vote": None, "members": None}},
    {"model": {"type": "ensemble", "of": {"type": "forest"}, "vote": None, "members": {"seeds": 3}}},
    {"model.training": {"epochs": None, "labels": {"source": "zigzag"}}},
    {"decisions": {"output_format": None, "filters": {"volume_filter": True}}},
    {"decisions": {"filters": {"volume_filter": 1.5, "min_signal_separation": 0}, "confidence_threshold": 0}},
    {
        "decisions": {"output_format": "Regression", "cost_model": {"round_trip_cost": 0}},
        "training": {"labels": {"source": "forward_return"}, "loss": "huber", "huber_delta": 2, "method": "supervised"},
    },
    {"training.lr_scheduler": True, "training.early_stopping": True},
    {"training.lr_scheduler": False, "training.early_stopping": {"patience": 3, "monitor": "train_loss"}},
    {"training.data_split": {"train": 0.8, "validation": 0.1, "test": 0.1}},
    {"validation": {"type": "Walk_Forward", "train": "26w", "test": 100, "step": "7d", "anchored": True}},
    {"validation": {"type": "cpcv", "groups": 5, "test_groups": 1, "reserve": 0.2}},
    {"validation": {"type": "holdout", "train": 0.5, "validation": 0.25, "test": 0.25}, "training.data_split": None},
    {"training.optimizer": "sgd", "training.momentum": 0.9, "training.gradient_clip": 1, "training.seed": 1},
    {"risk": {"sizing": {"type": "risk_per_trade", "fraction": 0.01}, "stop_loss": {"atr": 2, "percent": None}}},
    {"risk": {"lot_size": 1, "max_holding_period": None, "take_profit": {"percent": 200}}},
    {"deployment": {"target_symbols": ["A"], "target_timeframes": {"mode": "single", "supported": ["1h"]}}},
    {"deployment": {"target_symbols": {"mode": "universal"}}},
    *({"training.labels": {"source": name}} for name, source in LABEL_SOURCES.items() if source.output[0] == "c"),
    *({"training.lr_scheduler": {"type": name}} for name in LR_SCHEDULERS),
    *({"indicators.extra": {"type": name}} for name in registry.indicator_names()),
]


@pytest.mark.parametrize("changes", VALID, ids=str)
def test_what_the_loader_accepts_the_schema_accepts(accepts, make_text, changes):
    assert accepts(make_text(changes))


INVALID: list[dict[str, Any]] = [
    {"name": ...},
    {"name": "a b"},
    {"name": None},
    {"version": "2.0"},
    {"nn_inputs": []},
    {"fuzzy_sets": ...},
    {"deployement": {}},
    {"date_range": {}},
    {"training_data.symbols": "EURUSD"},
    {"training_data.symbols": {"mode": "single", "list": ["A", "B"]}},
    {"training_data.symbols": {"mode": "single"}},
    {"training_data.timeframes": {"mode": "single", "timeframe": "3h"}},
    {"training_data.date_range": {"start": "01/02/2017"}},
    {"indicators.rsi_14.perod": 3},
    {"indicators.rsi_14.period": 1.5},
    {"indicators.rsi_14.period": 0},
    {"indicators.rsi_14.period": None},
    {"indicators.rsi_14.source": "x"},
    {"indicators.zz": {"type": "zigzag"}},
    {"indicators.zz": {"type": "rsii"}},
    {"indicators.zz": {}},
    {"indicators/a b": {"type": "rsi"}},
    {"fuzzy_sets.rsi": {"low": [0, 1, 2]}},
    {"fuzzy_sets.rsi": {"indicator": "rsi_14"}},
    {"fuzzy_sets.rsi.low": [0, 1]},
    {"fuzzy_sets.rsi.low": [0, 1, "x"]},
    {"fuzzy_sets.rsi.low": {"type": "gaussian", "parameters": [0, 0]}},
    {"fuzzy_sets.rsi.low": {"type": "gauss", "parameters": [0, 1]}},
    {"nn_inputs.0.timeframes": "1h"},
    {"nn_inputs.0.timeframes": ["3h"]},
    {"nn_inputs.0.normalization": "zscore"},
    {"nn_inputs.0.lags": [0]},
    {"nn_inputs.0.raw_indicator": "macd"},
    {"nn_inputs.0": {"timeframes": "all"}},
    {"nn_inputs.1.normalization": "z"},
    {"model": {}},
    {"model.architecture": {"dropuot": 1}},
    {"model.architecture": {"dropout": 1}},
    {"model.architecture": {"hidden_layers": [0]}},
    {"model.type": "anfis"},
    {"model.features": {"lookback_periods": 2}},
    {"model": {"type": "ensemble"}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}}},
    {"model": {"type": "ensemble", "members": {"seeds": 5}}},
    {"model": {"type": "ensemble", "of": "mlp", "members": {"seeds": 5}}},
    {"model": {"type": "ensemble", "of": None, "members": {"seeds": 5}}},
    {"model": {"type": "ensemble", "of": {}, "members": {"seeds": 5}}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": 5}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {}}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 1}}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 65}}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 5}, "vote": "mean"}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 5}, "architecture": {}}},
    {"model": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 5}, "training": {"epochs": 3}}},
    {"model": {"type": "ensemble", "of": {"type": "mlp", "architecture": {"dropuot": 1}}, "members": {"seeds": 5}}},
    {"model": {"type": "ensemble", "of": {"type": "anfis"}, "members": {"seeds": 5}}},
    {
        "model": {
            "type": "ensemble",
            "of": {"type": "ensemble", "of": {"type": "mlp"}, "members": {"seeds": 2}},
            "members": {"seeds": 5},
        }
    },
    {"model": {"type": "ensemble", "of": {"type": "Ensemble"}, "members": {"seeds": 5}}},
    {"model": {"type": "ensemble", "of": {"type": "forest"}, "members": {"seeds": 5}}, "training.epochs": 5},
    {"model": {"type": "mlp", "of": {"type": "mlp"}}},
    {"model": {"type": "mlp", "vote": "average"}},
    {"model": {"type": "mlp", "members": {"seeds": 5}}},
    {"model.type": "forest", "training.epochs": 5},
    {"model.type": "forest", "training.lr_scheduler": False},
    {"decisions.confidence_threshold": 1},
    {"decisions.output_format": "x"},
    {"decisions.filters": {"volume_filter": 0}},
    {"training.labels": {"source": "zigzac"}},
    {"training.labels": {"source": "zigzag", "horizon": 3}},
    {"training.labels": {}},
    {"training.epochs": 0},
    {"training.epochs": None},
    {"training.optimizer": "adamax"},
    {"training.lr_scheduler": {"factor": 0.5}},
    {"training.lr_scheduler": {"type": "cosine", "gamma": 0.5}},
    {"training.early_stopping": {"enabled": True}},
    {"training.date_range": {}},
    {"training.normalization": "zscore"},
    {"validation": {"type": "cpcv", "train": "26w"}},
    {"validation": {"type": "walk_forward", "train": "26w", "test": "1M"}},
    {"risk": {"sizing": {"type": "fixed_units"}}},
    {"risk": {"sizing": {"type": "kelly"}}},
    {"risk": {"stop_loss": {"percent": 1, "atr": 1}}},
    {"risk": {"stop_loss": {"percent": 100}}},
    {"deployment": {"target_timeframes": ["3h"]}},
    {"deployment": {"target_symbols": "A"}},
]


@pytest.mark.parametrize("changes", INVALID, ids=str)
def test_errors_that_the_schema_finds(validator, make_text, plugins, changes):
    text = make_text(changes)
    with pytest.raises(StrategyError):
        load_strategy_text(text, plugins=plugins)
    assert not validator.is_valid(as_data(text))


def test_an_error_of_the_schema_names_the_wrong_key(validator, make_text):
    (error,) = validator.iter_errors(
        as_data(make_text({"training.early_stopping": {"patience": 3}, "training.epochs": 0}))
    )
    assert (list(error.path), error.message) == (["training", "epochs"], "0 is less than the minimum of 1")


def test_an_editor_can_offer_every_word(validator):
    schema = validator.schema["properties"]
    types = schema["indicators"]["additionalProperties"]["properties"]["type"]["anyOf"][0]["enum"]
    assert set(registry.indicator_names()) <= set(types)
    assert "bollingerbands" in types
    assert schema["risk"]["properties"]["sizing"]["anyOf"][0]["properties"]["type"]["anyOf"][0]["enum"] == list(SIZINGS)
    assert schema["model"]["properties"]["type"]["anyOf"][0]["enum"] == [
        "mlp", "anfis", "forest", "ensemble",
    ]  # fmt: skip
    assert (
        schema["training"]["properties"]["epochs"]["description"] == "maximum number of passes over the training part"
    )


def properties(node: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every property at any depth, except those that repeat a key without its schema, or forbid it."""
    own = [(f"{path}.{key}", value) for key, value in node.get("properties", {}).items()]
    inner = [found for at, value in own if isinstance(value, dict) for found in properties(value, at)]
    nested = [node.get("additionalProperties"), node.get("items"), *node.get("anyOf", ())]
    nested += [rule["then"] for rule in node.get("allOf", ()) if path]
    below = [found for each in nested if isinstance(each, dict) for found in properties(each, path)]
    return [(at, value) for at, value in own if value not in (True, {"type": "null"})] + inner + below


def test_an_editor_can_say_what_every_key_is_for(validator):
    found = properties(validator.schema)
    assert len(found) > 300
    silent = [at for at, value in found if not value.get("description")]
    # What a plugin's parameters are for is the plugin's to say.
    assert [at for at in silent if not at.startswith((".model.architecture.", ".model.of.architecture."))] == []


SMALL = st.sampled_from(
    [None, True, False, 0, 1, -1, 0.5, 1e9, "x", "all", "1h", "", "NO", [], {}, [1], [1, 2, 3], ["1h"], "rsi", "none"]
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in inner for found in ((*path, key), *places(value, (*path, key)))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_the_loader_accepts_of_changed_files_the_schema_accepts(make_text, plugins, validator, data):
    """Parts of valid files put together at random, and one value replaced or removed: many are still valid."""
    changes: dict[str, Any] = {}
    for chosen in data.draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=3)):
        changes |= {key: copy.deepcopy(value) for key, value in chosen.items() if value is not ...}
    tree = yaml.safe_load(make_text(changes))
    *parents, last = data.draw(st.sampled_from(places(tree)))
    place = tree
    for part in parents:
        place = place[part]
    if data.draw(st.booleans()):
        place[last] = data.draw(SMALL)
    else:
        del place[last]
    text = yaml.safe_dump(tree)
    try:
        load_strategy_text(text, plugins=plugins)
    except StrategyError:
        return
    assert [error.message for error in validator.iter_errors(as_data(text))] == []

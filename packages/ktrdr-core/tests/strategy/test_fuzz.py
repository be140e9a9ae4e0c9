"""Any file gives a strategy or a list of errors."""

from __future__ import annotations

import copy
import json
import string
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.features.columns import feature_columns
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.document import plain, read_document, write_document
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.migration import migrate_text
from ktrdr.core.strategy.model import Strategy

TAKES_FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = st.sampled_from(
    [
        "name",
        "training_data",
        "symbols",
        "timeframes",
        "mode",
        "single",
        "list",
        "symbol",
        "timeframe",
        "indicators",
        "fuzzy_sets",
        "nn_inputs",
        "model",
        "type",
        "mlp",
        "rsi",
        "macd",
        "rsi_14",
        "fuzzy_set",
        "raw_indicator",
        "all",
        "1h",
        "lags",
        "decisions",
        "output_format",
        "regression",
        "training",
        "labels",
        "source",
        "zigzag",
        "forward_return",
        "risk",
        "sizing",
        "stop_loss",
        "percent",
        "atr",
        "deployment",
        "architecture",
        "features",
        "data",
        "<<",
        "macd.signal",
        "early_stopping",
        "lr_scheduler",
        "period",
        "indicator",
        "low",
        "normalization",
        "version",
        "feature_id",
        "params",
        "validation",
        "walk_forward",
        "cpcv",
        "train",
        "test",
        "26w",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    WORDS,
    st.text(max_size=12),
    st.sampled_from(["1e-4", "010", ".inf", "NO", "~", "2017-01-01", "9" * 400, "*a", "&a", "!!str x", "[", "{", "\t"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=8)), inner, max_size=5)
    ),
    max_leaves=25,
)


SECTIONS = ("name", "training_data", "indicators", "fuzzy_sets", "nn_inputs", "model", "decisions", "training")
SECTIONS += ("risk", "deployment", "version", "description", "data")


def outcome(text: str, plugins: Any = None) -> Strategy | None:
    """Load; a strategy must be complete, an error must say where and what."""
    try:
        strategy = load_strategy_text(text, plugins=plugins).strategy
    except StrategyError as error:
        errors = [item for item in error.diagnostics if item.severity == "error"]
        assert errors
        lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029")
        for item in error.diagnostics:
            assert 1 <= item.line <= lines + 2
            assert item.column >= 1
            assert 0 < len(item.message) <= 4000
            assert (item.message + item.path).isprintable()
            json.dumps(item.to_json()).encode()
        str(error).encode()
        return None
    assert Strategy.model_validate_json(strategy.model_dump_json()) == strategy
    assert feature_columns(strategy)
    return strategy


@TAKES_FIXTURES
@given(st.text(max_size=300))
def test_any_text(text):
    outcome(text)


@TAKES_FIXTURES
@given(st.text(alphabet="ab:- \n[]{},&*!|>'\"#%@?<0.~", max_size=120))
def test_any_text_of_what_yaml_is_made_of(text):
    outcome(text)


@TAKES_FIXTURES
@given(st.binary(max_size=200))
def test_any_bytes_that_are_text(content):
    outcome(content.decode("latin-1"))


@TAKES_FIXTURES
@given(TREES)
def test_any_tree(tree):
    outcome(yaml.safe_dump(tree, allow_unicode=True))


@TAKES_FIXTURES
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SECTIONS, TREES)))
def test_any_tree_under_the_right_keys(tree):
    outcome(yaml.safe_dump(tree, allow_unicode=True))


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += places(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            found += places(value, (*path, index))
    return found


FULL: dict[str, Any] = {
    "description": "d",
    "version": "3.0",
    "training_data/date_range": {"start": "2015-01-01", "end": "2020-12-31"},
    "training_data/history_required": 100,
    "fuzzy_sets/rsi/bell": {"type": "bell", "parameters": [10, 2, 50]},
    "nn_inputs/0/lags": [1, 2],
    "nn_inputs/1/normalization": "robust",
    "model/architecture": {"hidden_layers": [4, 2], "dropout": 0.1},
    "model/training": {"epochs": 5},
    "decisions/filters": {"min_signal_separation": 3, "volume_filter": True},
    "training/data_split": {"train": 0.7, "validation": 0.15, "test": 0.15},
    "training/lr_scheduler": {"type": "step", "step_size": 3},
    "training/early_stopping": {"patience": 3, "monitor": "val_loss"},
    "training/optimizer": "sgd",
    "training/momentum": 0.9,
    "risk": {"sizing": {"type": "fixed_units", "units": 3}, "stop_loss": {"percent": 2}, "max_holding_period": 5},
    "deployment": {"target_symbols": ["EURUSD"], "target_timeframes": {"mode": "single", "supported": ["1h"]}},
}


@pytest.fixture(scope="module")
def full(make_text) -> Any:
    return yaml.safe_load(make_text(FULL))


def mutate(data: st.DataObject, tree: Any) -> Any:
    """Replace, remove, rename or repeat one value somewhere."""
    tree = copy.deepcopy(tree)
    *parents, last = data.draw(st.sampled_from(places(tree)))
    place = tree
    for part in parents:
        place = place[part]
    match data.draw(st.sampled_from(["replace", "remove", "rename", "move"])):
        case "replace":
            place[last] = data.draw(TREES)
        case "remove":
            del place[last]
        case "rename" if isinstance(place, dict):
            place[data.draw(st.one_of(WORDS, st.text(max_size=10)))] = place.pop(last)
        case _:
            moved = place[last]
            *elsewhere, other = data.draw(st.sampled_from(places(tree)))
            place = tree
            for part in elsewhere:
                place = place[part]
            place[other] = copy.deepcopy(moved)
    return tree


def test_the_file_that_is_mutated_is_valid(full, plugins):
    assert outcome(yaml.safe_dump(full), plugins) is not None


@TAKES_FIXTURES
@given(st.data())
def test_mutations_of_a_valid_file(full, plugins, data):
    tree = full
    for _ in range(data.draw(st.integers(1, 3))):
        tree = mutate(data, tree)
        if not places(tree):
            break
    outcome(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), plugins)


@TAKES_FIXTURES
@given(st.data())
def test_mutations_of_the_text_of_a_valid_file(full, plugins, data):
    text = yaml.safe_dump(full, sort_keys=False)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 20))
        inserted = data.draw(
            st.one_of(st.text(max_size=6), st.sampled_from(["\n", "  ", ": ", "- ", "&a ", "*a", "'"]))
        )
        text = text[:start] + inserted + text[start + length :]
    outcome(text, plugins)


OLD: dict[str, Any] = {
    "name": "old",
    "version": "2.0",
    "scope": "universal",
    "training_data": {"symbols": {"mode": "single", "list": ["A"]}, "timeframes": {"mode": "single", "list": ["1h"]}},
    "indicators": [
        {"name": "rsi", "feature_id": "rsi_14", "period": 14},
        {"name": "macd", "params": {"fast_period": 5}},
    ],
    "fuzzy_sets": {"rsi_14": {"low": [0, 1, 2]}, "macd.signal": {"up": {"type": "sigmoid", "parameters": [0, 1]}}},
    "model": {"type": "mlp", "training": {"epochs": 3, "early_stopping": {"enabled": True, "patience": 2}}},
    "decisions": {"filters": {"volume_filter": False}},
    "training": {"labels": {"source": "zigzag"}, "fitness_metrics": {}},
}


@TAKES_FIXTURES
@given(st.data())
def test_migration_of_anything_gives_a_file_that_loads_or_errors(data):
    from ktrdr.core.errors import BadInputError

    tree = OLD
    for _ in range(data.draw(st.integers(0, 2))):
        tree = mutate(data, tree)
        if not places(tree):
            break
    try:
        migration = migrate_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))
    except BadInputError:
        return
    load_strategy_text(migration.text)


@TAKES_FIXTURES
@given(TREES)
def test_a_document_is_written_as_it_was_read(tree):
    root = read_document(yaml.safe_dump(tree, allow_unicode=True)).root
    if root is None:
        return
    again = read_document(write_document(root))
    assert again.problems == []
    assert plain(again.root) == plain(root)


@TAKES_FIXTURES
@given(st.text(alphabet=string.printable, max_size=30))
def test_what_a_message_quotes_stays_on_its_line(text):
    """Text in a file cannot fake further messages or send control codes to a terminal."""
    tree = {"name": text, f"x{text}": text}
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(yaml.safe_dump(tree, allow_unicode=True))
    assert len(str(caught.value).splitlines()) == 1 + len(caught.value.diagnostics)

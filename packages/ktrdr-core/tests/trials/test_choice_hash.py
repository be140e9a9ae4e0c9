"""Two strategies are one choice where nothing differs that a result could come from."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.loader import load_strategy_text

TEXT = (files("ktrdr.core") / "samples" / "neuro_mean_reversion.yaml").read_text(encoding="utf-8")
DOCUMENT = yaml.safe_load(TEXT)
Place = tuple[Any, ...]


def hash_of(document: dict[str, Any]) -> str:
    return choice_hash(load_strategy_text(yaml.safe_dump(document, sort_keys=False)).strategy)


HASH = choice_hash(load_strategy_text(TEXT).strategy)


def changed(*changes: tuple[Place, Any]) -> dict[str, Any]:
    """Return the document with values at places; what is not there is added."""
    document = copy.deepcopy(DOCUMENT)
    for place, value in changes:
        section = document
        for key in place[:-1]:
            section = section.setdefault(key, {}) if isinstance(section, dict) else section[key]
        section[place[-1]] = value
    return document


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*place, key))
    else:
        yield place, value


NO_CHOICE = {("name",), ("description",), ("version",), ("training", "seed")}
NUMBERS = [
    (place, value)
    for place, value in leaves(DOCUMENT)
    if isinstance(value, int | float) and not isinstance(value, bool) and place not in NO_CHOICE
]


def shuffled(value: Any, order: random.Random) -> Any:
    """Return the same with the keys of every map in another order."""
    if isinstance(value, list):
        return [shuffled(each, order) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: shuffled(value[key], order) for key in order.sample(sorted(value), len(value))}


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [(("name",), "another")],
        [(("description",), "of another kind")],
        [(("training", "seed"), 43)],
        [(("deployment",), {"target_symbols": ["EURUSD", "GBPUSD"], "target_timeframes": ["1h"]})],
        [(("deployment",), {"target_symbols": {"mode": "training_only"}})],
        # Defaults, written.
        [(("training", "embargo"), 0.01)],
        [
            (("training", "loss"), "cross_entropy"),
            (("training", "sample_weights"), "none"),
            (("training", "class_weights"), "none"),
        ],
        [(("training", "lr_scheduler", "threshold"), 0.0001), (("training", "lr_scheduler", "min_lr"), 0)],
        [(("decisions", "filters"), {})],
        [(("risk", "lot_size"), 0)],
        # The same, in other words.
        [(("training", "gradient_clip"), 1)],
        [(("nn_inputs", 0, "timeframes"), ["1h"])],
        [(("training_data", "date_range", "start"), "2017-01-01")],
    ],
    ids=str,
)
def test_these_are_the_same_choice(changes):
    try:
        found = hash_of(changed(*changes))
    except StrategyError as error:
        pytest.fail(str(error))
    assert found == HASH


def test_a_seed_and_a_description_that_are_left_out_are_the_same_choice():
    document = copy.deepcopy(DOCUMENT)
    del document["description"], document["training"]["seed"]
    assert hash_of(document) == HASH


@given(st.integers(0, 10**6))
def test_keys_in_another_order_are_the_same_choice(seed):
    assert hash_of(shuffled(DOCUMENT, random.Random(seed))) == HASH


@pytest.mark.parametrize(
    "changes",
    [
        [(("training_data", "symbols", "symbol"), "GBPUSD")],
        [(("training_data", "timeframes", "timeframe"), "4h")],
        [(("training_data", "date_range", "end"), "2017-09-29")],
        [(("training_data", "history_required"), 300)],
        [(("indicators", "rsi_14", "source"), "open")],
        [(("indicators", "rsi_14"), {"type": "cci", "period": 14})],
        [(("fuzzy_sets", "rsi", "indicator"), "macd_12_26_9.signal")],
        [(("nn_inputs", 1, "lags"), [2])],
        [(("nn_inputs",), DOCUMENT["nn_inputs"][::-1])],
        [(("nn_inputs",), DOCUMENT["nn_inputs"][:2])],
        [(("model", "architecture", "activation"), "relu")],
        [(("model", "architecture", "hidden_layers"), [16])],
        [(("model", "type"), "gru")],
        [(("decisions", "position_awareness"), False)],
        [(("decisions", "allow_short_from_flat"), False)],
        [(("decisions", "filters"), {"min_signal_separation": 5})],
        [(("training", "optimizer"), "sgd")],
        [(("training", "class_weights"), "balanced")],
        [(("training", "sample_weights"), "uniqueness")],
        [(("training", "early_stopping", "monitor"), "val_accuracy")],
        [(("training", "labels"), {"source": "triple_barrier"})],
        [(("training", "embargo"), 0.02)],
        [(("risk",), {})],
        [(("risk", "take_profit"), {"atr": 6})],
        [(("risk", "max_holding_period"), 10)],
    ],
    ids=str,
)
def test_these_are_other_choices(changes):
    try:
        found = hash_of(changed(*changes))
    except StrategyError as error:
        pytest.fail(str(error))
    assert found != HASH


def test_every_number_is_a_choice():
    """All but the seed: the least of a change makes another strategy."""
    hashes = {HASH}
    for place, value in NUMBERS:
        for other in (value + 1, value * 0.99, value * 1.01, value - 1):
            if other == value:
                continue
            try:
                found = hash_of(changed((place, other)))
            except StrategyError:
                continue
            assert found not in hashes, place
            hashes.add(found)
            break
        else:
            # The parts of the data must come to one, and so two of them change at once.
            assert place[:2] == ("training", "data_split"), place
    assert len(hashes) > 40


def test_parts_of_the_data_are_a_choice():
    split = {"train": 0.6, "validation": 0.2, "test": 0.2}
    assert hash_of(changed((("training", "data_split"), split))) != HASH

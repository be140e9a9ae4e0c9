"""The section `validation`: kinds, lengths, wrong values with their place, and what else must agree with it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.document import plain, read_document
from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation, WalkForwardValidation
from ktrdr.core.strategy.schema import strategy_schema

VALIDATIONS: list[tuple[Any, Any]] = [
    (None, None),
    ({"type": "cpcv"}, CpcvValidation()),
    (
        {"type": "CPCV", "groups": 10, "test_groups": 3, "reserve": 0.1},
        CpcvValidation(groups=10, test_groups=3, reserve=0.1),
    ),
    ({"type": "cpcv", "groups": 1000, "test_groups": 1}, CpcvValidation(groups=1000, test_groups=1)),
    ({"type": "holdout"}, HoldoutValidation()),
    (
        {"type": "holdout", "train": 0.6, "validation": 0, "test": 0.4},
        HoldoutValidation(train=0.6, validation=0, test=0.4),
    ),
    ({"type": "walk_forward", "train": 500, "test": 100}, WalkForwardValidation(train=500, test=100)),
    (
        {"type": "walk_forward", "train": "26w", "test": "4w", "step": "7d", "anchored": True, "reserve": 0.15},
        WalkForwardValidation(train="26w", test="4w", step="7d", anchored=True, reserve=0.15),
    ),
    (
        {"type": "walk_forward", "train": "26w", "test": 100, "step": "90d"},
        WalkForwardValidation(train="26w", test=100, step="90d"),
    ),
    (
        {"type": "walk_forward", "train": "12h", "test": "1d", "step": "24h", "reserve": 0.0},
        WalkForwardValidation(train="12h", test="1d", step="24h"),
    ),
    ({"type": "walk_forward", "train": 5, "test": 5, "step": None}, WalkForwardValidation(train=5, test=5)),
]


@pytest.mark.parametrize(("written", "read"), VALIDATIONS, ids=str)
def test_what_is_written_is_read_and_fits_the_schema(load, make_text, written, read):
    changes = {"validation": written}
    assert load(changes).strategy.validation == read
    validator = jsonschema.Draft202012Validator(strategy_schema())
    assert [error.message for error in validator.iter_errors(plain(read_document(make_text(changes)).root))] == []


def test_a_strategy_is_read_as_it_was_written_down(load):
    strategy = load({"validation": {"type": "walk_forward", "train": "26w", "test": 100, "reserve": 0.1}}).strategy
    assert type(strategy).model_validate_json(strategy.model_dump_json()) == strategy


LENGTH = "a number of bars, such as 500, or a duration of hours, days or weeks, such as 12h, 90d or 26w"
WALK = {"type": "walk_forward", "train": "26w", "test": "4w"}

WRONG: list[tuple[Any, str]] = [
    (
        "cpcv",
        "validation: `validation` must be a map, such as `validation: {type: cpcv, groups: 6, test_groups: 2}`, not",
    ),
    ({}, "validation: `type` is required: one of holdout, walk_forward, cpcv"),
    ({"type": "cpvc"}, "validation.type: unknown type `cpvc`, did you mean `cpcv`?"),
    ({"type": "kfold"}, "unknown type `kfold`; it must be one of holdout, walk_forward, cpcv"),
    ({"type": "cpcv", "gruops": 6}, "validation.gruops: unknown key `gruops`, did you mean `groups`?"),
    ({"type": "cpcv", "embargo": 0.01}, "validation.embargo: unknown key `embargo`: write it under `training`"),
    ({"type": "cpcv", "train": "26w"}, "validation.train: unknown key `train`"),
    ({"type": "cpcv", "groups": 1}, "validation.groups: `groups` must be at least 2, not 1"),
    ({"type": "cpcv", "groups": 10**30}, "validation.groups: `groups` must be at most 1000, not 1"),
    (
        {"type": "cpcv", "groups": 6, "test_groups": 6},
        "validation.test_groups: `test_groups` must be below `groups`, and 6 is not below 6; test fewer groups",
    ),
    (
        {"type": "cpcv", "groups": 2},
        "validation: `test_groups` must be below `groups`, and 2 is not below 2; test fewer groups",
    ),
    (
        {"type": "cpcv", "groups": 1000, "test_groups": 500},
        "validation.groups: 1,000 groups with 500 test groups make more than 1,000,000,000,000 folds, and",
    ),
    (
        {"type": "cpcv", "groups": 14, "test_groups": 5},
        "validation.groups: 14 groups with 5 test groups make 2,002 folds, and the limit is 1,000; use fewer groups",
    ),
    ({"type": "cpcv", "reserve": 1}, "validation.reserve: `reserve` must be below 1, not 1"),
    ({"type": "cpcv", "reserve": -0.1}, "validation.reserve: `reserve` must be at least 0, not -0.1"),
    ({"type": "cpcv", "reserve": 15}, "validation.reserve: `reserve` must be below 1, not 15"),
    (
        {"type": "holdout", "train": 0.8},
        "validation: the fractions must sum to 1, but train 0.8 + validation 0.15 + test 0.15 is 1.1",
    ),
    ({"type": "holdout", "train": 0.85, "test": 0}, "validation.test: `test` must be above 0, not 0"),
    (
        {"type": "walk_forward", "test": 5},
        "validation: `train` is required: a number of bars, or a duration such as 26w",
    ),
    ({**WALK, "train": "3M"}, f"validation.train: `train` must be {LENGTH}, not '3M'"),
    ({**WALK, "train": "0w"}, f"validation.train: `train` must be {LENGTH}, not '0w'"),
    ({**WALK, "train": "99999999w"}, f"validation.train: `train` must be {LENGTH}, not '99999999w'"),
    ({**WALK, "train": "9999w"}, "validation.train: `train` must be at most 36,500 days, not '9999w'"),
    ({**WALK, "train": "500"}, f"validation.train: `train` must be {LENGTH}, not '500'"),
    ({**WALK, "train": 0.7}, f"validation.train: `train` must be {LENGTH}, not 0.7"),
    ({**WALK, "train": True}, f"validation.train: `train` must be {LENGTH}, not True"),
    ({**WALK, "train": 0}, "validation.train: `train` must be at least 1 and at most 1,000,000,000 bars, not 0"),
    ({**WALK, "train": [26]}, "`train` must be a number of bars or a duration such as 26w, not a list"),
    ({**WALK, "train": {"weeks": 26}}, "`train` must be a number of bars or a duration such as 26w, not a map"),
    (
        {**WALK, "step": "29d"},
        "validation.step: `step: 29d` is longer than `test: 4w`, so bars are never tested; leave `step` out, or write"
        " `step: 4w`",
    ),
    ({**WALK, "test": 10, "step": 11}, "validation.step: `step: 11` is longer than `test: 10`"),
    ({**WALK, "anchored": "yes please"}, "validation.anchored: `anchored` must be true or false"),
]


@pytest.mark.parametrize(("written", "message"), WRONG, ids=str)
def test_a_wrong_value_is_named_at_its_place(errors_of, written, message):
    found = errors_of({"validation": written})
    assert any(message in error for error in found), found
    assert len(found) == 1


REFUSED_BY_SCHEMA = [
    "cpcv", {}, {"type": "kfold"}, {"type": "cpcv", "embargo": 0.01}, {"type": "cpcv", "groups": 1},
    {"type": "cpcv", "reserve": 1}, {"type": "walk_forward", "test": 5}, {**WALK, "train": "3M"}, {**WALK, "train": 0},
    {**WALK, "train": True}, {**WALK, "train": 0.7}, {**WALK, "anchored": "x"},
]  # fmt: skip


@pytest.mark.parametrize("written", REFUSED_BY_SCHEMA, ids=str)
def test_the_schema_refuses_it_too(errors_of, make_text, written):
    assert errors_of({"validation": written})
    validator = jsonschema.Draft202012Validator(strategy_schema())
    assert not validator.is_valid(plain(read_document(make_text({"validation": written})).root))


def test_the_section_and_a_data_split_exclude_each_other(errors_of, make_text):
    shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
    changes = {"validation": {"type": "cpcv"}, "training.data_split": shares}
    (error,) = errors_of(changes)
    assert error == (
        "training.data_split: `data_split` and the section `validation` both divide the data; remove `data_split`,"
        " whose fractions can be those of `validation: {type: holdout}`"
    )
    # Also where older files have it, and if the section is wrong.
    (error,) = errors_of({"validation": {"type": "cpcv"}, "model.training": {"data_split": shares}})
    assert "both divide the data" in error
    assert len(errors_of({**changes, "validation": {"type": "cpvc"}})) == 2


def test_an_empty_data_split_is_none(load):
    assert load({"validation": {"type": "cpcv"}, "training.data_split": None}).strategy.validation == CpcvValidation()


def test_early_stopping_needs_the_validation_part_of_the_section(errors_of, load):
    holdout = {"type": "holdout", "train": 0.8, "validation": 0, "test": 0.2}
    (error,) = errors_of({"validation": holdout, "training.early_stopping": True})
    assert error == (
        "training.early_stopping: `val_loss` needs a validation part, and `validation.validation` is 0; give it a"
        " share, or set `monitor: train_loss`"
    )
    load({"validation": holdout, "training.early_stopping": {"monitor": "train_loss"}})
    load({"validation": {"type": "cpcv"}, "training.early_stopping": True})


def test_advice_for_keys_of_other_programs(errors_of):
    (error,) = errors_of({"walk_forward": {"train": 5}})
    assert "write `validation: {type: walk_forward, train: 26w, test: 4w}`" in error


def test_the_choice_of_strategies_without_the_section_has_its_old_hash(load):
    """Hash of the same text by the version before the section: trials in ledgers are found by it."""
    assert choice_hash(load().strategy) == "c9735071d41e1004198ed46ad298e53c25707e92f915fd643074e1c5014d413f"


def test_the_section_is_part_of_the_choice(load):
    hashes = {choice_hash(load({"validation": written}).strategy) for written, _ in VALIDATIONS}
    # The step of a day, written as `24h`, is one of its own.
    assert len(hashes) == len(VALIDATIONS)
    assert choice_hash(load({"validation": {"type": "cpcv", "groups": 6}}).strategy) == choice_hash(
        load({"validation": {"type": "cpcv"}}).strategy
    )

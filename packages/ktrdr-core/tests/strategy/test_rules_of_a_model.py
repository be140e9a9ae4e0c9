"""Limits on the rules of a rule-based model type, checked before training."""

from __future__ import annotations

import pytest

from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import IdleKeys, ModelType, too_many_rules

RULED = ModelType(
    "ruled",
    "made of rules",
    architecture=(
        Parameter("most", "int", 8, minimum=1, maximum=1000),
        Parameter("way", "str", "solve", choices=("solve", "walk")),
        Parameter("move", "bool", False),
    ),
    training_keys=frozenset({"epochs", "learning_rate", "batch_size"}),
    inputs="crisp",
    rules_parameter="most",
    idle_keys=(
        IdleKeys(frozenset({"learning_rate"}), (("way", "solve"), ("move", False)), "write `way: walk`"),
        IdleKeys(frozenset({"batch_size"}), (("way", "solve"),), "write `way: walk`"),
    ),
)


class Plugins:
    """Stands in for the plugin manager: every type name gives this model type."""

    def backend_for(self, name, backend=None, *, of_member=False):
        return "stub", RULED


@pytest.fixture
def ruled():
    return Plugins()


def test_more_rules_than_the_model_may_have_are_refused_with_the_count(errors_of, load, ruled):
    """Two timeframes of three memberships are nine rules."""
    (error,) = errors_of({"model": {"type": "ruled"}}, ruled)
    assert error == (
        "model: ruled would have 9 rules (3 x 3 memberships of 2 fuzzy inputs), more than `most: 8`; "
        "use fewer fuzzy inputs, lags or memberships, or raise `most`"
    )
    load({"model": {"type": "ruled", "architecture": {"most": 9}}}, ruled)
    load({"model": {"type": "ruled"}, "nn_inputs.0.timeframes": ["1h"]}, ruled)


def test_each_remedy_of_the_message_works(errors_of, load, ruled):
    lags = {"model": {"type": "ruled", "architecture": {"most": 9}}, "nn_inputs.0.lags": [1, 2]}
    (error,) = errors_of(lags, ruled)
    assert "729 rules (3 x 3 x 3 x 3 x 3 x 3 memberships of 6 fuzzy inputs)" in error
    load({**lags, "model": {"type": "ruled", "architecture": {"most": 729}}}, ruled)
    load({"model": lags["model"]}, ruled)


def test_a_limit_that_cannot_be_raised_enough_is_no_remedy(errors_of, ruled):
    (error,) = errors_of({"model": {"type": "ruled"}, "nn_inputs.0.lags": [1, 2, 3]}, ruled)
    assert error.endswith("more than `most: 8`; use fewer fuzzy inputs, lags or memberships")


def test_the_message_about_very_many_rules_is_short(errors_of, ruled):
    (error,) = errors_of({"model": {"type": "ruled"}, "nn_inputs.0.lags": list(range(1, 1500))}, ruled)
    assert "more than 1,000,000,000,000,000 rules (3 x 3 x" in error
    assert " x ... memberships of 3000 fuzzy inputs)" in error
    assert len(error) < 300


def test_a_type_without_a_limit_of_rules_gets_no_message():
    assert too_many_rules(ModelType("mlp", "none"), {}, [9] * 99) == ""


def test_a_wrong_architecture_is_the_only_error(errors_of, ruled):
    (error,) = errors_of({"model": {"type": "ruled", "architecture": {"most": 0}}}, ruled)
    assert error.startswith("model.architecture.most: `most` must be at least 1")


KEYS = {"training.learning_rate": 0.1, "training.batch_size": 8, "training.epochs": 3}


@pytest.mark.parametrize(
    ("architecture", "idle"),
    [
        ({}, {"learning_rate": "`way: solve` and `move: false`", "batch_size": "`way: solve`"}),
        ({"move": True}, {"batch_size": "`way: solve`"}),
        ({"way": "walk"}, {}),
    ],
)
def test_keys_without_effect_are_warned_of_where_they_are_written(load, ruled, architecture, idle):
    changes = {"model": {"type": "ruled", "architecture": {"most": 9, **architecture}}}
    assert load(changes, ruled).warnings == ()
    found = {warning.path: warning.message for warning in load({**changes, **KEYS}, ruled).warnings}
    assert found == {
        f"training.{key}": f"`{key}` has no effect with {values}; remove it, or write `way: walk`"
        for key, values in idle.items()
    }

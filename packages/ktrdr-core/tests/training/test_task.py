"""Creation of a task: it is complete, and settings that do not fit the model type are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import crisp_columns, feature_columns
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins.contract import Device, ModelType
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import CLASSES
from ktrdr.core.training.task import create_task, window_of

CPU = Device("cpu", "cpu")
# Declarations as backends give them.
NETWORK = ModelType(
    "network",
    "a network",
    architecture=(
        Parameter("hidden_layers", "int_list", (64, 32), minimum=1),
        Parameter("dropout", "float", 0.0, minimum=0, maximum=1),
        Parameter("limit", "int", None, minimum=1),
    ),
    training_keys=frozenset({"epochs", "batch_size", "learning_rate", "loss"}),
)
RECURRENT = ModelType(
    "recurrent",
    "looks back",
    architecture=(Parameter("sequence_length", "int", 20, minimum=1),),
    training_keys=NETWORK.training_keys,
    window_parameter="sequence_length",
)
RULES = ModelType("rules", "made of rules", training_keys=NETWORK.training_keys, inputs="crisp")
CLASSIFIER = ModelType("classifier", "no values", outputs=("classification",), training_keys=NETWORK.training_keys)


@pytest.fixture
def unchecked(load):
    """Return ``unchecked(old, new, ...)``: as ``load``, without a check of `model` against a declaration."""
    return lambda *replacements: load_strategy_text(load(*replacements).text).strategy


@pytest.fixture
def strategy(unchecked):
    return unchecked()


def task_of(strategy, model_type):
    columns = crisp_columns(strategy) if model_type.inputs == "crisp" else feature_columns(strategy)
    return create_task(strategy, model_type, columns, CPU)


def test_a_task_is_complete(strategy):
    task = task_of(strategy, NETWORK)
    assert task.model_type == "network"
    assert task.architecture == {"hidden_layers": (64, 32), "dropout": 0.0, "limit": None}
    assert (task.output, task.classes) == ("classification", CLASSES)
    assert task.feature_ids == tuple(column.id for column in feature_columns(strategy))
    assert (task.seed, task.device, task.crisp_inputs) == (3, "cpu", ())
    assert window_of(task, NETWORK) == 1


def test_settings_are_the_optimisation_keys_as_backends_know_them(strategy):
    from ktrdr.core.testing.learning_problems import SETTINGS

    settings = task_of(strategy, NETWORK).settings
    assert set(settings) == set(SETTINGS)
    assert (settings["epochs"], settings["batch_size"], settings["learning_rate"]) == (6, 64, 0.5)


def test_given_architecture_takes_the_place_of_defaults_and_none_is_a_default(strategy):
    section = strategy.model.model_copy(update={"architecture": {"hidden_layers": [8], "limit": None}})
    task = task_of(strategy.model_copy(update={"model": section}), NETWORK)
    assert task.architecture == {"hidden_layers": [8], "dropout": 0.0, "limit": None}


def test_the_window_is_that_of_the_architecture(strategy):
    assert window_of(task_of(strategy, RECURRENT), RECURRENT) == 20


def test_crisp_inputs_carry_the_strategys_memberships(strategy):
    task = task_of(strategy, RULES)
    assert task.feature_ids == ("1h_rsi_value", "1h_rsi_value_lag1", "1h_roc_5_raw")
    assert [(crisp.name, crisp.column) for crisp in task.crisp_inputs] == [("1h_rsi", 0), ("1h_rsi_lag1", 1)]
    assert task.crisp_inputs[0].functions == {
        "low": ("triangular", (0, 25, 45)),
        "middle": ("triangular", (30, 50, 70)),
        "high": ("triangular", (55, 75, 100)),
    }


def test_a_fuzzy_set_that_is_read_once_keeps_its_name_in_rules(unchecked):
    strategy = unchecked(", lags: [1]", "")
    assert [crisp.name for crisp in task_of(strategy, RULES).crisp_inputs] == ["rsi"]


def test_more_rules_than_a_type_may_have_are_refused_though_the_loader_let_them_pass(strategy):
    bounded = replace(RULES, architecture=(Parameter("most", "int", 8, maximum=100),), rules_parameter="most")
    with pytest.raises(BadInputError, match=r"`model`: rules would have 9 rules \(3 x 3 memberships of 2 fuzzy inputs"):
        task_of(strategy, bounded)
    assert len(task_of(strategy, RULES).crisp_inputs) == 2


def test_rules_without_a_fuzzy_set_are_refused(unchecked):
    strategy = unchecked("  - {fuzzy_set: rsi, timeframes: all, lags: [1]}\n", "")
    with pytest.raises(BadInputError, match="builds its rules from fuzzy sets; add an item with `fuzzy_set`"):
        task_of(strategy, RULES)


@pytest.mark.parametrize(
    ("section", "change", "model_type", "message"),
    [
        ("model", {"architecture": {"hiden_layers": [8]}}, NETWORK, "did you mean `hidden_layers`"),
        (
            "model",
            {"architecture": {"dropout": 2, "limit": 0}},
            NETWORK,
            "at most 1, not 2; `limit` must be",
        ),
        (
            "training",
            {"given": ("epochs", "optimizer", "embargo")},
            NETWORK,
            "`training.optimizer` has no effect on model type `network`",
        ),
    ],
)
def test_what_the_model_type_does_not_declare_is_refused(strategy, section, change, model_type, message):
    changed = getattr(strategy, section).model_copy(update=change)
    with pytest.raises(BadInputError) as caught:
        task_of(strategy.model_copy(update={section: changed}), model_type)
    assert message in str(caught.value)


@pytest.fixture
def values(strategy):
    """The strategy, predicting returns."""
    labels = strategy.training.labels.model_copy(update={"source": "forward_return", "parameters": {"horizon": 5}})
    return strategy.model_copy(
        update={
            "decisions": strategy.decisions.model_copy(update={"output_format": "regression"}),
            "training": strategy.training.model_copy(update={"labels": labels}),
        }
    )


def test_regression_has_no_classes_and_a_loss_of_its_own(values):
    task = task_of(values, NETWORK)
    assert (task.output, task.classes, task.settings["loss"]) == ("regression", (), "mse")


def test_a_loss_for_classes_is_refused_for_values(values):
    training = values.training.model_copy(update={"given": ("loss",)})
    with pytest.raises(BadInputError, match=r"`training.loss: cross_entropy` is for classification; use mse or huber"):
        task_of(values.model_copy(update={"training": training}), NETWORK)


def test_a_model_type_without_the_output_is_refused(values):
    with pytest.raises(BadInputError, match="`classifier` has no regression"):
        task_of(values, CLASSIFIER)


def test_labels_of_the_other_kind_are_refused(values, strategy):
    with pytest.raises(BadInputError, match=r"`direction` are for classification.*use forward_return"):
        task_of(values.model_copy(update={"training": strategy.training}), NETWORK)

"""The rows of the grammar, second half: model, decisions, training, risk."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import EarlyStopping, PriceDistance

REGRESSION = {"decisions.output_format": "regression", "training.labels": {"source": "forward_return", "horizon": 5}}


def refused(errors_of, changes, said, plugins=None):
    errors = errors_of(changes, plugins)
    assert any(said in error for error in errors), errors


# --- model, without plugins


def test_without_plugins_the_architecture_is_kept_as_written(load):
    changes = {"model": {"type": "MLP", "backend": "neural", "architecture": {"anything": [1, {"a": None}]}}}
    model = load(changes).strategy.model
    assert (model.type, model.backend, model.architecture) == ("mlp", "neural", {"anything": [1, {"a": None}]})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "model: `type` is required: the model type, for example `type: mlp`"),
        ("mlp", "model: `model` must be a map, not `mlp`"),
        ({"type": ["mlp"]}, "model.type: `type` must be text, not a list"),
        ({"type": "mlp", "backend": {}}, "model.backend: `backend` must be text, not a map"),
        ({"type": "mlp", "architecture": [64]}, "model.architecture: `architecture` must be a map, such as"),
        ({"type": "mlp", "hidden_layers": [64]}, "unknown key `hidden_layers`: write it under `architecture`"),
        ({"type": "mlp", "output_activation": "softmax"}, "write it under `architecture`"),
        ({"type": "mlp", "training": [1]}, "model.training: `training` must be a map"),
        ({"type": "mlp", "optimiser": 1}, "model.optimiser: unknown key `optimiser`"),
    ],
)
def test_what_is_wrong_with_a_model(errors_of, model, said):
    refused(errors_of, {"model": model}, said)


# --- model.training and model.features of older files


def test_keys_of_older_files_are_merged_into_training(load):
    older = {"learning_rate": 0.01, "early_stopping": {"patience": 3}, "epochs": 7}
    changes = {"model.training": older, "model.features": {"batch_size": 8}, "training.epochs": 7}
    training = load(changes).strategy.training
    assert (training.learning_rate, training.batch_size, training.epochs) == (0.01, 8, 7)
    assert training.early_stopping == EarlyStopping(patience=3)
    assert training.given == ("labels", "epochs", "learning_rate", "early_stopping", "batch_size")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model.training": {"epochs": 5}, "training.epochs": 6},
            "model.training.epochs: `epochs` has another value at line",
        ),
        (
            {"model.training": {"early_stopping": {"patience": 1}}, "training.early_stopping": {"patience": 2}},
            "model.training.early_stopping: `early_stopping` has another value",
        ),
        (
            {"model.training": {"epochs": 5}, "model.features": {"epochs": 6}},
            "model.features.epochs: `epochs` has another value",
        ),
        ({"model.training": {"epochs": "x"}}, "model.training.epochs: `epochs` must be a whole number, not 'x'"),
        (
            {"model.training": {"analytics": True}},
            "model.training.analytics: unknown key `analytics`: `model.training` may only have keys of",
        ),
        ({"model.features": {"lookback_periods": 2}}, "model.features.lookback_periods: unknown key"),
    ],
)
def test_older_keys_that_conflict_or_do_not_exist(errors_of, changes, said):
    refused(errors_of, changes, said)


# --- decisions


def test_defaults_of_decisions(load):
    decisions = load({"decisions": {}}).strategy.decisions
    assert decisions.model_dump() == {
        "output_format": "classification",
        "confidence_threshold": 0.5,
        "position_awareness": True,
        "allow_short_from_flat": False,
        "filters": {"min_signal_separation": 4, "volume_filter": None},
        "cost_model": {"round_trip_cost": 0.003, "min_edge_multiplier": 1.5},
    }


@pytest.mark.parametrize(("written", "ratio"), [(True, 1.0), (False, None), (1.5, 1.5), (2, 2.0), (None, None)])
def test_volume_filter(load, written, ratio):
    assert load({"decisions.filters": {"volume_filter": written}}).strategy.decisions.filters.volume_filter == ratio


def test_every_key_of_decisions(load):
    classification = {
        "output_format": "Classification",
        "confidence_threshold": 0,
        "position_awareness": False,
        "allow_short_from_flat": True,
        "filters": {"min_signal_separation": 0},
    }
    decisions = load({"decisions": classification}).strategy.decisions
    assert (decisions.confidence_threshold, decisions.position_awareness) == (0.0, False)
    assert (decisions.allow_short_from_flat, decisions.filters.min_signal_separation) == (True, 0)
    cost_model = {"round_trip_cost": 0.001, "min_edge_multiplier": 2}
    decisions = load({**REGRESSION, "decisions.cost_model": cost_model}).strategy.decisions
    assert decisions.cost_model.model_dump() == {"round_trip_cost": 0.001, "min_edge_multiplier": 2.0}


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ({"output_format": "regresion"}, "unknown output_format `regresion`, did you mean `regression`?"),
        (
            {"confidence_threshold": 1.5},
            "decisions.confidence_threshold: `confidence_threshold` must be below 1, not 1.5",
        ),
        ({"confidence_threshold": 1}, "`confidence_threshold` must be below 1, not 1"),
        ({"confidence_threshold": -0.1}, "`confidence_threshold` must be at least 0"),
        ({"confidence_threshold": "high"}, "`confidence_threshold` must be a number, not 'high'"),
        ({"position_awareness": "yes please"}, "`position_awareness` must be true or false"),
        ({"position_awareness": 1}, "`position_awareness` must be true or false, not 1"),
        ({"filters": {"min_signal_separation": 1.5}}, "`min_signal_separation` must be a whole number"),
        ({"filters": {"min_signal_seperation": 4}}, "did you mean `min_signal_separation`?"),
        ({"filters": {"volume_filter": 0}}, "`volume_filter` must be above 0, not 0"),
        ({"filters": [1]}, "decisions.filters: `filters` must be a map"),
        ({"threshold": 0.5}, "decisions.threshold: unknown key `threshold`"),
        (
            {"cost_model": {"round_trip_cost": 0.1}},
            "`cost_model` has an effect on regression only, and `output_format` is",
        ),
        (
            {"output_format": "regression", "confidence_threshold": 0.5},
            "`confidence_threshold` has an effect on classification only",
        ),
        ({"output_format": "regression", "cost_model": {"round_trip_cost": -1}}, "must be at least 0, not -1"),
    ],
)
def test_what_is_wrong_with_decisions(errors_of, decisions, said):
    refused(errors_of, {"decisions": decisions}, said)


# --- training.labels


@pytest.mark.parametrize("source", LABEL_SOURCES)
def test_every_label_source_with_its_defaults(load, source):
    output = LABEL_SOURCES[source].output
    labels = load({"training.labels": {"source": source}, "decisions.output_format": output}).strategy.training.labels
    assert labels.source == source
    assert labels.parameters == {parameter.name: parameter.default for parameter in LABEL_SOURCES[source].parameters}


@pytest.mark.parametrize(
    "labels",
    [
        {"source": "zigzag", "zigzag_threshold": 0.02, "label_lookahead": 10},
        {
            "source": "triple_barrier",
            "pt_multiplier": 3.0,
            "sl_multiplier": 1.5,
            "max_holding_period": 5,
            "vol_span": 30,
            "vol_method": "close",
        },
        {"source": "direction", "horizon": 3, "threshold": 0.001},
    ],
)
def test_every_parameter_of_a_label_source(load, labels):
    found = load({"training.labels": labels}).strategy.training.labels
    assert {"source": found.source, **found.parameters} == labels


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {},
            "`pt_multiplier` and `sl_multiplier` are not given, and their defaults decide how many labels are BUY and"
            " how many SELL; write `pt_multiplier: 2, sl_multiplier: 1`",
        ),
        (
            {"pt_multiplier": 3},
            "`sl_multiplier` is not given, and its default decides how many labels are BUY and how many SELL; write"
            " `sl_multiplier: 1`",
        ),
        (
            {"sl_multiplier": 1},
            "`pt_multiplier` is not given, and its default decides how many labels are BUY and how many SELL; write"
            " `pt_multiplier: 2`",
        ),
    ],
)
def test_a_default_that_decides_the_classes_is_warned_of(load, given, said):
    (warning,) = load({"training.labels": {"source": "triple_barrier", **given}}).warnings
    assert (warning.path, warning.message) == ("training.labels.source", said)
    written = said.partition("write `")[2].rstrip("`")
    remedy = {name: float(value) for name, value in (each.split(": ") for each in written.split(", "))}
    assert load({"training.labels": {"source": "triple_barrier", **given, **remedy}}).warnings == ()


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[4] / "strategies").glob("*.yaml")), ids=lambda p: p.name
)
def test_shipped_strategies_set_every_decisive_label_parameter(path):
    loaded = load_strategy_text(path.read_text(encoding="utf-8"))
    assert [item.message for item in loaded.warnings if "not given" in item.message] == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (..., "training: `labels` is required: for example `labels: {source: zigzag"),
        ("zigzag", "training.labels: `labels` must be a map, such as"),
        ({}, "training.labels: `source` is required: one of zigzag, turning_points, forward_return"),
        ({"source": "zigzac"}, "training.labels.source: unknown source `zigzac`, did you mean `zigzag`?"),
        ({"source": "magic"}, "unknown source `magic`; it must be one of zigzag, turning_points"),
        ({"source": "zigzag", "threshold": 0.1}, "unknown key `threshold`, did you mean `zigzag_threshold`?"),
        ({"source": "zigzag", "zigzag_threshold": 0}, "`zigzag_threshold` must be above 0, not 0"),
        ({"source": "zigzag", "zigzag_threshold": 2}, "`zigzag_threshold` must be below 1, not 2"),
        ({"source": "zigzag", "label_lookahead": 0}, "`label_lookahead` must be at least 1, not 0"),
        ({"source": "zigzag", "horizon": 5}, "training.labels.horizon: unknown key `horizon`"),
        ({"source": "triple_barrier", "vol_method": "x"}, "`vol_method` must be one of atr, close"),
        (
            {"source": "forward_return"},
            "training.labels: `forward_return` makes values, and `decisions.output_format` is classification; "
            "set `output_format: regression`, or use another source: zigzag, turning_points, triple_barrier, direction",
        ),
    ],
)
def test_what_is_wrong_with_labels(errors_of, labels, said):
    refused(errors_of, {"training.labels": labels}, said)


def test_classes_are_no_labels_for_a_regression(errors_of):
    said = "`zigzag` makes classes, and `decisions.output_format` is regression; set `output_format: classification`"
    refused(errors_of, {"decisions.output_format": "regression"}, said)


def test_labels_are_compared_with_the_output_despite_other_errors(errors_of):
    errors = errors_of({"decisions": {"output_format": "regression", "x": 1}, "training.labels.y": 2})
    assert [error.partition(": ")[0] for error in errors] == ["decisions.x", "training.labels", "training.labels.y"]


# --- the rest of training


def test_defaults_of_training(load):
    training = load().strategy.training.model_dump(exclude={"labels"})
    assert training == {
        "data_split": {"train": 0.7, "validation": 0.15, "test": 0.15},
        "embargo": 0.01,
        "epochs": 100,
        "batch_size": 32,
        "learning_rate": 0.001,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "momentum": 0.0,
        "gradient_clip": None,
        "lr_scheduler": None,
        "early_stopping": None,
        "loss": "cross_entropy",
        "focal_gamma": 2.0,
        "huber_delta": 1.0,
        "class_weights": "none",
        "sample_weights": "none",
        "seed": 0,
        "given": ("labels",),
    }


def test_every_key_of_training(load):
    """Every key has an effect; earlier versions accepted some of them without."""
    given = {
        "method": "supervised",
        "labels": {"source": "zigzag"},
        "data_split": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "embargo": 0.05,
        "epochs": 7,
        "batch_size": 16,
        "learning_rate": 0.01,
        "optimizer": "sgd",
        "weight_decay": 0.1,
        "momentum": 0.9,
        "gradient_clip": 1.0,
        "lr_scheduler": {"type": "step", "step_size": 5, "gamma": 0.5},
        "early_stopping": {"patience": 3, "min_delta": 0.01, "monitor": "val_accuracy"},
        "loss": "focal",
        "focal_gamma": 1.5,
        "class_weights": "balanced",
        "sample_weights": "uniqueness",
        "seed": 42,
    }
    training = load({"training": given}).strategy.training
    assert training.given == tuple(given)
    dumped = training.model_dump()
    for key, value in given.items():
        if key == "lr_scheduler":
            value = {"type": "step", "parameters": {"step_size": 5, "gamma": 0.5}}
        if key not in ("method", "labels"):
            assert dumped[key] == value, key


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "AdamW"])
def test_optimizers(load, optimizer):
    assert load({"training.optimizer": optimizer}).strategy.training.optimizer == optimizer.lower()


@pytest.mark.parametrize(
    ("written", "kind", "parameters"),
    [
        (True, "reduce_on_plateau", {"factor": 0.5, "patience": 5, "threshold": 1e-4, "min_lr": 0.0}),
        ({"type": "reduce_on_plateau", "factor": 0.1, "patience": 2, "threshold": 0.1, "min_lr": 1e-6}, None, None),
        ({"type": "step", "step_size": 3, "gamma": 0.2}, None, None),
        ({"type": "exponential", "gamma": 0.9}, None, None),
        ({"type": "cosine", "min_lr": 0.0001}, None, None),
        ({"type": "cosine"}, "cosine", {"min_lr": 0.0}),
    ],
)
def test_schedulers(load, written, kind, parameters):
    found = load({"training.lr_scheduler": written}).strategy.training.lr_scheduler
    if kind is None:
        kind, parameters = written["type"], {key: value for key, value in written.items() if key != "type"}
    assert (found.type, found.parameters) == (kind, parameters)


def test_false_turns_scheduler_and_stopping_off(load):
    training = load({"training.lr_scheduler": False, "training.early_stopping": False}).strategy.training
    assert (training.lr_scheduler, training.early_stopping) == (None, None)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (True, EarlyStopping(patience=10, min_delta=0.0, monitor="val_loss")),
        ({}, EarlyStopping()),
        ({"patience": 3}, EarlyStopping(patience=3)),
        ({"min_delta": 0.1, "monitor": "train_loss"}, EarlyStopping(min_delta=0.1, monitor="train_loss")),
    ],
)
def test_early_stopping(load, written, expected):
    assert load({"training.early_stopping": written}).strategy.training.early_stopping == expected


def test_the_loss_of_a_regression(load):
    assert load(REGRESSION).strategy.training.loss == "mse"
    huber = load({**REGRESSION, "training.loss": "huber", "training.huber_delta": 0.5}).strategy.training
    assert (huber.loss, huber.huber_delta) == ("huber", 0.5)
    assert load({**REGRESSION, "training.class_weights": "none"}).strategy.training.class_weights == "none"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "reinforcement"}, "unknown method `reinforcement`; it must be one of supervised"),
        ({"epochs": 0}, "training.epochs: `epochs` must be at least 1, not 0"),
        ({"epochs": None}, "training.epochs: `epochs` has no value; give one or leave the key out"),
        ({"epochs": 1.5}, "`epochs` must be a whole number, not 1.5"),
        ({"batch_size": "32"}, "`batch_size` must be a whole number, not '32'"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0, not 0"),
        ({"learning_rate": "1e-x"}, "`learning_rate` must be a number, not '1e-x'"),
        ({"optimizer": "adamax"}, "`optimizer` must be one of adam, adamw, sgd, rmsprop, not 'adamax', did you mean"),
        ({"optimizer": {"type": "adam"}}, "training.optimizer: `optimizer` must be text"),
        ({"weight_decay": -1}, "`weight_decay` must be at least 0, not -1"),
        ({"gradient_clip": 0}, "`gradient_clip` must be above 0, not 0"),
        ({"momentum": 1}, "`momentum` must be below 1, not 1"),
        ({"momentum": 0.9}, "`momentum` has an effect on the optimizers sgd and rmsprop, not on adam"),
        ({"embargo": 0.5}, "`embargo` must be below 0.5, not 0.5"),
        ({"seed": -1}, "`seed` must be at least 0, not -1"),
        ({"seed": 2**32}, "`seed` must be at most 4.29497e+09"),
        ({"loss": "mse"}, "training.loss: `loss: mse` is not for classification; use cross_entropy or focal"),
        (
            {"loss": "crossentropy"},
            "`loss` must be one of cross_entropy, focal, huber, mse, not 'crossentropy', did you",
        ),
        ({"focal_gamma": 2.0}, "`focal_gamma` has an effect on `loss: focal` only, and the loss is cross_entropy"),
        ({"huber_delta": 2.0}, "`huber_delta` has an effect on `loss: huber` only, and the loss is cross_entropy"),
        ({"class_weights": "auto"}, "`class_weights` must be one of balanced, none"),
        ({"class_weights": {"BUY": 2}}, "training.class_weights: `class_weights` must be text"),
        ({"sample_weights": "x"}, "`sample_weights` must be one of uniqueness, none"),
        (
            {"data_split": {"train": 0.8}},
            "the fractions must sum to 1, but train 0.8 + validation 0.15 + test 0.15 is 1.1",
        ),
        ({"data_split": {"train": 70, "validation": 15, "test": 15}}, "`train` must be at most 1, not 70"),
        ({"data_split": {"train": 0, "validation": 0.5, "test": 0.5}}, "`train` must be above 0, not 0"),
        (
            {"data_split": {"train": 0.7, "val": 0.15, "test": 0.15}},
            "training.data_split.val: unknown key `val`, did you",
        ),
        ({"data_split": [0.7, 0.15, 0.15]}, "training.data_split: `data_split` must be a map"),
        ({"lr_scheduler": "cosine"}, "`lr_scheduler` must be true or a map such as `{type: cosine}`, not `cosine`"),
        ({"lr_scheduler": {"factor": 0.5}}, "`type` is required: one of step, exponential, cosine, reduce_on_plateau"),
        ({"lr_scheduler": {"type": "steps"}}, "unknown type `steps`, did you mean `step`?"),
        ({"lr_scheduler": {"type": "cosine", "gamma": 0.5}}, "training.lr_scheduler.gamma: unknown key `gamma`"),
        ({"lr_scheduler": {"type": "step", "gamma": 1.5}}, "`gamma` must be at most 1, not 1.5"),
        ({"lr_scheduler": {"type": "reduce_on_plateau", "factor": 1}}, "`factor` must be below 1, not 1"),
        ({"early_stopping": 10}, "`early_stopping` must be true or a map such as `{patience: 10}`, not `10`"),
        ({"early_stopping": {"patience": 0}}, "training.early_stopping.patience: `patience` must be at least 1, not 0"),
        ({"early_stopping": {"enabled": True}}, "unknown key `enabled`: a map turns it on"),
        ({"early_stopping": {"monitor": "loss"}}, "`monitor` must be one of val_loss, val_accuracy, train_loss"),
        ({"early_stopping": {"pateince": 3}}, "unknown key `pateince`, did you mean `patience`?"),
        (
            {"early_stopping": True, "data_split": {"train": 0.8, "validation": 0, "test": 0.2}},
            "`val_loss` needs a validation part, and `data_split.validation` is 0; give it a share, or set",
        ),
        ({"date_range": {}}, "training.date_range: unknown key `date_range`: dates belong under `training_data`"),
        (
            {"normalization": "zscore"},
            "unknown key `normalization`: write it in each raw input, under `nn_inputs`",
        ),
        ({"zigzag_threshold": 0.1}, "unknown key `zigzag_threshold`: write it under `labels`"),
        ({"dropout": 0.1}, "unknown key `dropout`: write it under `model.architecture`"),
        ({"earlystopping": True}, "unknown key `earlystopping`, did you mean `early_stopping`?"),
        (
            {"fitness_metrics": {}},
            "unknown key `fitness_metrics`: the best epoch is chosen by `early_stopping.monitor`",
        ),
    ],
)
def test_what_is_wrong_with_training(errors_of, changes, said):
    refused(errors_of, {f"training.{key}": value for key, value in changes.items()}, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "cross_entropy"}, "`loss: cross_entropy` is not for regression; use mse or huber"),
        ({"huber_delta": 1.0}, "`huber_delta` has an effect on `loss: huber` only, and the loss is mse"),
        ({"class_weights": "balanced"}, "a regression has no classes to weight; remove `class_weights`"),
        ({"early_stopping": {"monitor": "val_accuracy"}}, "a regression has no accuracy; monitor `val_loss` or"),
    ],
)
def test_keys_without_effect_on_a_regression_are_refused(errors_of, changes, said):
    refused(errors_of, REGRESSION | {f"training.{key}": value for key, value in changes.items()}, said)


# --- risk


@pytest.mark.parametrize(
    ("sizing", "value", "window"),
    [
        ({"type": "fixed_fraction", "fraction": 0.5}, 0.5, 20),
        ({"type": "fixed_fraction"}, 0.25, 20),
        ({"type": "fixed_units", "units": 1000}, 1000.0, 20),
        ({"type": "fixed_cash", "cash": 2500.5}, 2500.5, 20),
        ({"type": "volatility_target", "volatility": 0.1}, 0.1, 20),
        ({"type": "volatility_target", "volatility": 0.1, "window": 60}, 0.1, 60),
    ],
)
def test_sizing(load, sizing, value, window):
    found = load({"risk": {"sizing": sizing}}).strategy.risk.sizing
    assert (found.type, found.value, found.window) == (sizing["type"], value, window)


@pytest.mark.parametrize("key", ["stop_loss", "take_profit", "trailing_stop"])
def test_a_share_in_the_place_of_a_percentage_is_warned_of(load, key):
    """Other keys are fractions, so 0.03 percent may have been meant as 3 %."""
    for given, meant in ((0.03, "3"), (0.0999, "9.99"), (0.005, "0.5")):
        (warning,) = load({"risk": {key: {"percent": given}}}).warnings
        assert warning.path == f"risk.{key}.percent"
        assert warning.message == (
            f"`percent: {given}` is {given} % of the price; for {meant} % write `percent: {meant}`"
        )
        # The remedy, followed to the letter, is what was meant, and is not warned of if it is a usual distance.
        assert load({"risk": {key: {"percent": float(meant)}}}).warnings == ()
    assert load({"risk": {key: {"percent": 0.1}}}).warnings == ()
    assert load({"risk": {key: {"atr": 0.03}}}).warnings == ()


def test_every_key_of_risk(load):
    given = {
        "sizing": {"type": "risk_per_trade", "fraction": 0.01},
        "lot_size": 100,
        "stop_loss": {"percent": 2},
        "take_profit": {"atr": 6},
        "trailing_stop": {"atr": 3},
        "max_holding_period": 48,
    }
    risk = load({"risk": given}).strategy.risk
    assert (risk.sizing.type, risk.sizing.value, risk.lot_size) == ("risk_per_trade", 0.01, 100.0)
    assert risk.stop_loss == PriceDistance(kind="percent", value=2.0)
    assert risk.take_profit == PriceDistance(kind="atr", value=6.0)
    assert risk.trailing_stop == PriceDistance(kind="atr", value=3.0)
    assert risk.max_holding_period == 48


@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ({"sizing": "fixed_fraction"}, "risk.sizing: `sizing` must be a map, such as `sizing: {type: fixed_fraction"),
        ({"sizing": {"fraction": 0.5}}, "risk.sizing: `type` is required: one of fixed_fraction, fixed_units"),
        ({"sizing": {"type": "kelly"}}, "unknown type `kelly`; it must be one of fixed_fraction"),
        ({"sizing": {"type": "fixed_fraction", "fraction": 1.5}}, "`fraction` must be at most 1, not 1.5"),
        ({"sizing": {"type": "fixed_fraction", "fraction": 0}}, "`fraction` must be above 0, not 0"),
        ({"sizing": {"type": "fixed_units"}}, "risk.sizing: `units` is required for `fixed_units`"),
        ({"sizing": {"type": "fixed_units", "fraction": 1}}, "risk.sizing.fraction: unknown key `fraction`"),
        (
            {"sizing": {"type": "risk_per_trade", "fraction": 0.01}},
            "`risk_per_trade` sizes a position by its stop; add `stop_loss` or `trailing_stop` under `risk`",
        ),
        ({"lot_size": -1}, "`lot_size` must be at least 0, not -1"),
        ({"stop_loss": 0.02}, "risk.stop_loss: `stop_loss` must be a map, such as `stop_loss: {percent: 2}`"),
        ({"stop_loss": {}}, "`stop_loss` must have either `percent` or `atr`"),
        ({"stop_loss": {"percent": 1, "atr": 1}}, "`stop_loss` must have either `percent` or `atr`, not both"),
        ({"stop_loss": {"percent": 0}}, "`percent` must be above 0, not 0"),
        ({"stop_loss": {"percent": 100}}, "`percent` must be below 100, not 100"),
        ({"take_profit": {"atr": -1}}, "`atr` must be above 0, not -1"),
        ({"take_profit": {"pct": 1}}, "risk.take_profit.pct: unknown key `pct`"),
        ({"max_holding_period": 0}, "`max_holding_period` must be at least 1, not 0"),
        ({"position_size": 0.1}, "unknown key `position_size`: write `sizing: {type: fixed_fraction, fraction: 0.25}`"),
    ],
)
def test_what_is_wrong_with_risk(errors_of, risk, said):
    refused(errors_of, {"risk": risk}, said)


# --- with plugins


def test_the_architecture_is_completed_from_the_declaration(load, plugins):
    model = load({"model": {"type": "MLP", "architecture": {"dropout": 0}}}, plugins).strategy.model
    expected = {"hidden_layers": [64, 32], "activation": "relu", "dropout": 0.0, "batch_norm": False}
    assert model.architecture == expected | {"output_activation": None}
    assert list(model.architecture) == ["hidden_layers", "activation", "dropout", "batch_norm", "output_activation"]


def test_every_training_key_is_accepted_by_a_type_that_uses_it(load, plugins):
    changes = {
        "training.epochs": 3,
        "training.optimizer": "adamw",
        "training.gradient_clip": 1,
        "training.lr_scheduler": True,
        "training.early_stopping": True,
        "training.weight_decay": 0.1,
        "model.architecture": {"output_activation": "softmax"},
    }
    assert load(changes, plugins).warnings == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.type": "mpl"}, "model.type: no installed plugin trains model type `mpl`, did you mean `mlp`?"),
        ({"model.type": "lstm"}, "model.type: model type `lstm` needs plugin `torch`: plugin `torch` is not installed"),
        ({"model.backend": "torch"}, "model.backend: plugin `torch` is not installed; install it with `pip install"),
        ({"model.backend": "nural"}, "model.backend: no plugin `nural` is installed, did you mean `neural`?"),
        (
            {"model": {"type": "x", "backend": "neural"}},
            "plugin `neural` has no model type `x`; it offers mlp, anfis, forest",
        ),
        ({"model.architecture": {"dropuot": 0.1}}, "model.architecture.dropuot: unknown key `dropuot`, did you mean"),
        ({"model.architecture": {"dropout": 1}}, "model.architecture.dropout: `dropout` must be below 1, not 1"),
        ({"model.architecture": {"hidden_layers": 64}}, "`hidden_layers` must be a list of whole numbers, not 64"),
        ({"model.architecture": {"hidden_layers": [64, 0]}}, "`hidden_layers` must be at least 1, not 0"),
        ({"model.architecture": {"activation": "swish"}}, "`activation` must be one of relu, tanh, not 'swish'"),
        ({"model.type": "anfis"}, "model: `rules` is required"),
        (
            {"model": {"type": "forest", "architecture": {"n": 1}}},
            "unknown key `n`; model type `forest` has no parameters",
        ),
        (
            {"model.type": "forest", "training.epochs": 5},
            "training.epochs: `epochs` has no effect on model type `forest`",
        ),
        ({"model": {"type": "forest", "training": {"epochs": 5}}}, "model.training.epochs: `epochs` has no effect on"),
        (
            {"model.type": "forest", "training.early_stopping": True},
            "`early_stopping` has no effect on model type `forest`",
        ),
        ({"model.type": "forest", "training.lr_scheduler": True}, "which uses class_weights; remove it"),
        ({**REGRESSION, "model.type": "forest"}, "model.type: model type `forest` is for classification, and"),
        (
            {**REGRESSION, "model.architecture": {"output_activation": "softmax"}},
            "`output_activation: softmax` is for classification, and `decisions.output_format` is regression",
        ),
        (
            {
                "model": {"type": "anfis", "architecture": {"rules": 3}},
                "nn_inputs": [{"raw_indicator": "macd", "timeframes": "all"}],
            },
            "nn_inputs: model type `anfis` builds its rules from fuzzy sets; add an input with `fuzzy_set`",
        ),
    ],
)
def test_what_does_not_fit_the_plugin(errors_of, plugins, changes, said):
    refused(errors_of, changes, said, plugins)


def test_keys_with_their_effect_in_core_are_fine_for_every_type(load, plugins):
    changes = {
        "model.type": "forest",
        "training.seed": 3,
        "training.embargo": 0.0,
        "training.sample_weights": "uniqueness",
        "training.data_split": {"train": 0.8, "validation": 0.1, "test": 0.1},
        "training.method": "supervised",
        "training.class_weights": "balanced",
    }
    assert load(changes, plugins).strategy.model.architecture == {}


def test_a_missing_plugin_is_a_warning_if_the_caller_allows_it(make_text, no_plugins, errors_of):
    from ktrdr.core.strategy.loader import load_strategy_text

    loaded = load_strategy_text(make_text(), plugins=no_plugins, plugin_may_be_missing=True)
    (warning,) = loaded.warnings
    assert warning.path == "model.type"
    assert "`pip install ktrdr-ml-torch`; without it, `model` and `training` are only partly checked" in warning.message
    (error,) = errors_of({}, no_plugins)
    assert error.startswith("model.type: model type `mlp` needs plugin `torch`")


def test_an_unknown_type_is_an_error_even_if_a_plugin_may_be_missing(make_text, no_plugins):
    from ktrdr.core.strategy.diagnostics import StrategyError
    from ktrdr.core.strategy.loader import load_strategy_text

    with pytest.raises(StrategyError, match="no installed plugin trains model type `mpl`"):
        load_strategy_text(make_text({"model.type": "mpl"}), plugins=no_plugins, plugin_may_be_missing=True)

"""Random populations for tests of ML backends, reproducible by their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ktrdr.core.limits import POPULATION_MEMORY
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import CrispInput, ModelType, Resources, Split, TrainingData, TrainingTask
from ktrdr.core.strategy.training_parameters import LR_SCHEDULERS
from ktrdr.core.testing.learning_problems import SETTINGS, default_architecture, other_value

__all__ = ["CHOICES", "NEVER", "DrawnMember", "Population", "draw_population"]

NEVER = -1
"""Value of :attr:`DrawnMember.cancelled_at` of a member that is not cancelled."""

# Widths that are no multiples of the 8 or 16 values of a register, and one that is.
_WIDTHS = (7, 13, 50, 8)
# Numbers of members: the first populations have those of the quick tests, the others are small, one in 20 is large.
_FIRST_SIZES, _LARGE, _SMALL = (5, 1, 64, 2, 7, 3), 64, 8
_MOST_ROWS = 260
_CLASSES = ("SELL", "HOLD", "BUY")
_DIVERGENT = 1e30
_SCHEDULERS = tuple(
    {"type": name, "parameters": {each.name: 1 if each.kind == "int" else each.default for each in parameters}}
    for name, parameters in LR_SCHEDULERS.items()
)

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "epochs": (1, 2, 2, 3, 6),
    "batch_size": (37, 37, 8, 32, 1000),
    "learning_rate": (0.001, 0.01, 0.1),
    "optimizer": ("adam", "adamw", "sgd", "rmsprop"),
    "weight_decay": (0.0, 0.0, 0.01, 0.3),
    "momentum": (0.0, 0.9),
    "gradient_clip": (None, 1.0, 0.01),
    "lr_scheduler": (None, *_SCHEDULERS),
    "early_stopping": (
        None,
        {"patience": 1, "min_delta": 0.0, "monitor": "val_loss"},
        {"patience": 2, "min_delta": 0.01, "monitor": "train_loss"},
        {"patience": 1, "min_delta": 0.5, "monitor": "val_loss"},
        {"patience": 1, "min_delta": 0.0, "monitor": "val_accuracy"},
    ),
    "loss": ("cross_entropy", "focal", "mse", "huber"),
    "focal_gamma": (2.0, 0.5),
    "huber_delta": (1.0, 0.003),
    "class_weights": ("none", "balanced"),
}
"""Values that the settings of random members are drawn from, by key of ``training``."""

_OF_OUTPUT = {"classification": ("cross_entropy", "focal"), "regression": ("mse", "huber")}


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMember:
    """A member of a random population.

    Attributes:
        task, data: of the member.
        cancelled_at: number of the question at which its own cancellation says yes, 0 for before the start, or
            :data:`NEVER`.
    """

    task: TrainingTask
    data: TrainingData
    cancelled_at: int = NEVER


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A random population.

    Attributes:
        number: that it was drawn by.
        members: of one architecture.
        resources: to train it with.
    """

    number: int
    members: tuple[DrawnMember, ...]
    resources: Resources


def draw_population(
    model_type: ModelType,
    number: int,
    *,
    size: int | None = None,
    architecture: Mapping[str, Any] | None = None,
    alternatives: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
    unlucky: bool = True,
) -> Population:
    """Return population ``number`` of a model type, always the same one.

    Its members share an architecture. They differ in seed, samples, weights of samples, all settings that the type
    declares, and the parameters in which members may differ. Most of them share a matrix of features. Arrays are not
    writeable.

    Args:
        model_type: of the members.
        number: what everything is drawn by.
        size: number of members; drawn if it is ``None``.
        architecture: parameters that are not drawn.
        alternatives: further parameters, of which one map is drawn.
        settings: settings that replace the defaults of those that are not drawn.
        unlucky: whether some members are cancelled, have a learning rate at which they diverge, or samples of one
            class.
    """
    random = np.random.default_rng([18, number])
    if size is None:
        large = number % 20 == 0
        size = _FIRST_SIZES[number] if number < len(_FIRST_SIZES) else _LARGE if large else int(random.integers(1, 9))
    output = model_type.outputs[number % len(model_type.outputs)]
    fixed = {**(architecture or {}), **(_pick(random, alternatives) if alternatives else {})}
    complete = _draw_architecture(model_type, fixed, random)
    window = complete[model_type.window_parameter] if model_type.window_parameter else 1
    columns = int(random.integers(1, 4)) if model_type.inputs == "crisp" else int(_pick(random, (*_WIDTHS, 1)))
    classes = _CLASSES[: int(random.integers(2, 4))] if output == "classification" else ()
    base = TrainingTask(
        model_type=model_type.name,
        architecture=complete,
        output=output,
        classes=classes,
        feature_ids=tuple(f"1h_set{column}_value" for column in range(columns)),
        settings={**SETTINGS, "loss": _OF_OUTPUT[output][0], **(settings or {})},
        crisp_inputs=_crisp_inputs(columns, random) if model_type.inputs == "crisp" else (),
    )
    # In half of the populations all members have the same batches, epochs and optimizer, as those of one strategy do.
    together = bool(random.random() < 0.5)
    base = replace(base, settings=_draw_settings(model_type, base, random))
    shared = _draw_features(columns, window, random)
    drawn = tuple(
        _draw_member(model_type, base, shared, window, random, together=together, unlucky=unlucky) for _ in range(size)
    )
    cores = int(random.integers(1, 4))
    return Population(number, drawn, Resources(memory=POPULATION_MEMORY // int(random.integers(1, 4)), cores=cores))


def _pick(random: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(random.integers(len(values)))]


def _draw_architecture(model_type: ModelType, fixed: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
    drawn = {
        parameter.name: value
        for parameter in model_type.architecture
        if (value := _draw_value(parameter, random)) is not None
    }
    return {**default_architecture(model_type), **drawn, **fixed}


def _draw_value(parameter: Parameter, random: np.random.Generator) -> Any:
    """Return a value, or ``None`` for the default."""
    if parameter.kind == "int_list":
        low, high = parameter.minimum or 0, parameter.maximum or max(_WIDTHS)
        widths = [width for width in _WIDTHS if low <= width <= high] or other_value(parameter)
        return [_pick(random, widths) for _ in range(int(random.integers(1, 3)))]
    if len(parameter.choices) > 1:
        return _pick(random, parameter.choices)
    if parameter.choices:
        return None  # a choice that may be for one kind of output only
    return other_value(parameter) if random.random() < 0.3 else None


def _draw_settings(model_type: ModelType, base: TrainingTask, random: np.random.Generator) -> dict[str, Any]:
    settings = dict(base.settings)
    for name, values in CHOICES.items():
        if name in model_type.training_keys:
            settings[name] = _pick(random, values)
    if settings["loss"] not in _OF_OUTPUT[base.output]:
        settings["loss"] = _pick(random, _OF_OUTPUT[base.output]) if "loss" in model_type.training_keys else "mse"
    if settings["optimizer"] in ("adam", "adamw"):
        settings["momentum"] = 0.0
    stopping = settings["early_stopping"]
    if base.output == "regression" and stopping and stopping["monitor"] == "val_accuracy":
        settings["early_stopping"] = {**stopping, "monitor": "val_loss"}
    return settings


def _draw_member(
    model_type: ModelType,
    base: TrainingTask,
    shared: np.ndarray,
    window: int,
    random: np.random.Generator,
    *,
    together: bool,
    unlucky: bool,
) -> DrawnMember:
    settings = _draw_settings(model_type, base, random)
    if together:
        settings |= {name: base.settings[name] for name in ("epochs", "batch_size", "optimizer", "momentum", "loss")}
    own = {
        # Near the value that makes the tests fast, where there is one.
        parameter.name: other_value(replace(parameter, default=base.architecture[parameter.name]))
        for parameter in model_type.architecture
        if parameter.name in model_type.member_parameters and random.random() < 0.5
    }
    features = shared if random.random() < 0.8 else _draw_features(shared.shape[1], window, random)
    kinds = ("plain", "without validation", "absent class", "one class", "divergent", "cancelled", "stopped")
    kind = random.choice(kinds, p=(0.65, 0.06, 0.06, 0.03, 0.08, 0.04, 0.08))
    if not unlucky and kind not in kinds[:3]:
        kind = "plain"
    data = _draw_data(base, features, window, settings["batch_size"], kind, random)
    if not len(data.validation):
        settings |= {"early_stopping": None, "lr_scheduler": None}
    if kind == "divergent" and "learning_rate" in model_type.training_keys:
        settings |= {"learning_rate": _DIVERGENT, "lr_scheduler": None, "gradient_clip": None}
    task = replace(base, architecture={**base.architecture, **own}, settings=settings, seed=int(random.integers(2**32)))
    at = {"cancelled": 0, "stopped": int(random.integers(1, 6))}.get(kind, NEVER)
    return DrawnMember(task, data, at)


def _draw_features(columns: int, window: int, random: np.random.Generator) -> np.ndarray:
    """Return float32 ``(rows, columns)`` in [0, 1], with enough rows for 90 to 260 samples."""
    rows = int(random.integers(90, _MOST_ROWS)) + window - 1
    return _locked(random.random((rows, columns), dtype=np.float32))


def _draw_data(
    base: TrainingTask, features: np.ndarray, window: int, batch: int, kind: str, random: np.random.Generator
) -> TrainingData:
    """Return samples in rows that have gaps and belong to training and validation in turns."""
    rows = random.permutation(np.arange(window - 1, len(features)))
    most = int(len(rows) * 0.7)
    # Last batches of one sample, of all samples, and of some.
    ends = [count for count in range(20, most + 1) if count % batch in (0, 1)]
    count = int(_pick(random, ends)) if ends and random.random() < 0.7 else int(random.integers(20, most + 1))
    train = np.sort(rows[:count])
    others = rows[count : count + int(random.integers(1, len(rows) - count + 1))]
    validation = np.sort(others[:0] if kind == "without validation" else others)
    signal = features[:, 0] - features[:, -1] * (features.shape[1] > 1) + random.normal(0, 0.1, len(features))
    labels: np.ndarray = (signal * 0.01).astype(np.float32)
    if base.classes:
        borders = np.quantile(signal, np.arange(1, len(base.classes)) / len(base.classes))
        labels = np.digitize(signal, borders).astype(np.int64)
        if kind == "one class" or (kind == "absent class" and len(base.classes) > 2):
            labels[labels == 0] = 1
        if kind == "one class":
            labels[:] = 1
    weights = np.ones(len(features), dtype=np.float32)
    if random.random() < 0.4:
        weights = random.uniform(0.1, 2, len(features)).astype(np.float32)
    return TrainingData(
        features,
        *(Split(_locked(part), _locked(labels[part]), _locked(weights[part])) for part in (train, validation)),
    )


def _crisp_inputs(columns: int, random: np.random.Generator) -> tuple[CrispInput, ...]:
    functions = {name: ("gaussian", (at, 0.15)) for name, at in (("low", 0.2), ("high", 0.8), ("middle", 0.5))}
    few = dict(list(functions.items())[: int(random.integers(2, 4))])
    return tuple(CrispInput(f"set{column}", column, few) for column in range(columns))


def _locked(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array

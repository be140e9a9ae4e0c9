"""Small learning problems for tests of ML backends, with their training tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import CrispInput, ModelType, Split, TrainingData, TrainingTask
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.strategy.model import CLASSES, EarlyStopping, Labels, Training

__all__ = ["NOT_SETTINGS", "SETTINGS", "Problem", "default_architecture", "make_problem", "other_value"]

FEATURES = 4
_SAMPLES = 360
NOT_SETTINGS = frozenset({"labels", "data_split", "embargo", "sample_weights", "seed", "given"})
"""Keys under ``training`` that core handles: they are not passed to a backend."""

SETTINGS: Mapping[str, Any] = {
    **Training(labels=Labels(source="direction", parameters={}), epochs=4, learning_rate=0.01).model_dump(
        exclude=set(NOT_SETTINGS)
    ),
    "early_stopping": EarlyStopping(patience=4).model_dump(),
}
"""Complete settings of a short training, as core passes them to a backend."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A training task and its data."""

    task: TrainingTask
    data: TrainingData


def default_architecture(model_type: ModelType) -> dict[str, Any]:
    """Return the declared defaults, and an allowed value for each parameter without a default."""
    return {
        parameter.name: other_value(parameter) if parameter.required else parameter.default
        for parameter in model_type.architecture
    }


def make_problem(
    model_type: ModelType,
    output: OutputKind,
    *,
    architecture: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 7,
    device: str = "auto",
) -> Problem:
    """Return a problem that can be learned in part: labels follow two of the features, with noise.

    There are 360 samples of 4 features, the first 70 % for training. Values are in [0, 1], like memberships, or they
    are the crisp values that fuzzy sets around 0.2, 0.5 and 0.8 read.

    Args:
        model_type: the model type to train.
        output: ``classification`` or ``regression``.
        architecture: parameters that differ from the defaults.
        settings: settings that differ from :data:`SETTINGS`.
        seed: seed of the training.
        device: device of the training.
    """
    complete = {**default_architecture(model_type), **(architecture or {})}
    window = complete[model_type.window_parameter] if model_type.window_parameter else 1
    random = np.random.default_rng(2017)
    features = np.ascontiguousarray(random.random((_SAMPLES + window - 1, FEATURES)), dtype=np.float32)
    signal = features[:, 0] - features[:, 1] + random.normal(0, 0.1, len(features))
    labels: np.ndarray
    if output == "classification":
        labels = np.digitize(-signal, [-0.25, 0.25]).astype(np.int64)
    else:
        labels = (signal * 0.01).astype(np.float32)
    rows = np.arange(window - 1, len(features), dtype=np.int64)
    cut = int(len(rows) * 0.7)
    functions = {name: ("gaussian", (center, 0.15)) for name, center in (("low", 0.2), ("middle", 0.5), ("high", 0.8))}
    task = TrainingTask(
        model_type=model_type.name,
        architecture=complete,
        output=output,
        classes=CLASSES if output == "classification" else (),
        feature_ids=tuple(f"1h_set{column}_value" for column in range(FEATURES)),
        settings={
            **SETTINGS,
            "loss": "cross_entropy" if output == "classification" else "mse",
            **(settings or {}),
        },
        seed=seed,
        device=device,
        crisp_inputs=(
            tuple(CrispInput(f"set{column}", column, functions) for column in range(FEATURES))
            if model_type.inputs == "crisp"
            else ()
        ),
    )
    return Problem(task, TrainingData(features, _split(rows[:cut], labels), _split(rows[cut:], labels)))


def _split(rows: np.ndarray, labels: np.ndarray) -> Split:
    return Split(rows, labels[rows], np.ones(len(rows), dtype=np.float32))


def other_value(parameter: Parameter) -> Any:
    """Return a value that the declaration allows and that differs from the default."""
    default = None if parameter.required else parameter.default
    match parameter.kind:
        case "bool":
            return not default
        case "str":
            return next((choice for choice in parameter.choices if choice != default), "other")
        case "int_list":
            return [_number(parameter, None, whole=True)] * 2
        case "int":
            return _number(parameter, default, whole=True)
        case "float":
            return _number(parameter, default, whole=False)


def _number(parameter: Parameter, default: float | None, *, whole: bool) -> Any:
    low, high = parameter.minimum, parameter.maximum
    step = 1 if whole else 0.25
    candidates = [] if default is None else [default + step, default - step, default / 2, default * 2]
    candidates += [(low or 0) + 3 * step, (low or 0) + step, low or 0, high or 0, 1]
    for candidate in candidates:
        value = int(candidate) if whole else float(candidate)
        above = low is None or value > low or (value == low and not parameter.exclusive_minimum)
        below = high is None or value < high or (value == high and not parameter.exclusive_maximum)
        if above and below and value != default:
            return value
    raise ValueError(f"parameter `{parameter.name}` allows no value but its default")

"""Training task of a backend: creation of the task, choice of the device, and the call of the trainer."""

from __future__ import annotations

from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins.contract import (
    CheckpointWriter,
    CrispInput,
    Device,
    ModelTrainer,
    ModelType,
    TrainedModel,
    TrainingData,
    TrainingTask,
)
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.plugins.rule_limit import too_many_rules
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.model import CLASSES, Strategy
from ktrdr.core.strategy.training_parameters import CORE_KEYS, REGRESSION_LOSSES
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["create_task", "detect_device", "fit_model", "window_of"]

_NOT_SETTINGS = {"labels", "data_split", "embargo", "sample_weights", "seed", "given"}


def create_task(
    strategy: Strategy, model_type: ModelType, columns: tuple[FeatureColumn, ...], device: Device
) -> TrainingTask:
    """Return the training task, with every default filled in.

    Args:
        strategy: a strategy from the loader, with overrides.
        model_type: the backend's declaration of ``model.type``.
        columns: columns of the feature matrix.
        device: device to train on.

    Raises:
        BadInputError: the strategy does not fit the model type. This repeats checks that the loader skips if it does
            not know the plugin.
    """
    output = strategy.decisions.output_format
    if output not in model_type.outputs:
        raise BadInputError(
            f"strategy `{strategy.name}`: model type `{model_type.name}` has no {output}; set"
            f" `decisions.output_format` to {' or '.join(model_type.outputs)}, or use another `model.type`"
        )
    source = LABEL_SOURCES[strategy.training.labels.source]
    if source.output != output:
        fitting = " or ".join(name for name, other in LABEL_SOURCES.items() if other.output == output)
        raise BadInputError(
            f"strategy `{strategy.name}`: labels of source `{source.name}` are for {source.output}, and"
            f" `decisions.output_format` is {output}; use {fitting}"
        )
    architecture = _architecture(strategy, model_type)
    crisp_inputs = _crisp_inputs(strategy, columns) if model_type.inputs == "crisp" else ()
    if problem := too_many_rules(model_type, architecture, [len(crisp.functions) for crisp in crisp_inputs]):
        raise BadInputError(f"strategy `{strategy.name}`: `model`: {problem}")
    return TrainingTask(
        model_type=model_type.name,
        architecture=architecture,
        output=output,
        classes=CLASSES if output == "classification" else (),
        feature_ids=tuple(column.id for column in columns),
        settings=_settings(strategy, model_type),
        seed=strategy.training.seed,
        device=device.name,
        crisp_inputs=crisp_inputs,
    )


def window_of(task: TrainingTask, model_type: ModelType) -> int:
    """Return the number of rows of one sample."""
    return 1 if model_type.window_parameter is None else int(task.architecture[model_type.window_parameter])


def _architecture(strategy: Strategy, model_type: ModelType) -> dict[str, Any]:
    # None counts as not given, because the loader may have filled in a default of None.
    given = {name: value for name, value in strategy.model.learner.architecture.items() if value is not None}
    complete, problems = validate_parameters(given, model_type.architecture)
    if problems:
        raise BadInputError(
            f"strategy `{strategy.name}`: `model.architecture`: "
            + "; ".join(problem.message for problem in problems)
            + f" (model type `{model_type.name}`)"
        )
    return complete


def _settings(strategy: Strategy, model_type: ModelType) -> dict[str, Any]:
    training = strategy.training
    useless = [key for key in training.given if key not in CORE_KEYS | model_type.training_keys]
    if useless:
        known = ", ".join(sorted(model_type.training_keys)) or "none"
        raise BadInputError(
            f"strategy `{strategy.name}`: {', '.join(f'`training.{key}`' for key in useless)} has no effect on model"
            f" type `{model_type.name}`, which uses {known}; remove it"
        )
    settings = training.model_dump(exclude=_NOT_SETTINGS)
    if strategy.decisions.output_format == "regression" and training.loss not in REGRESSION_LOSSES:
        if "loss" in training.given:
            raise BadInputError(
                f"strategy `{strategy.name}`: `training.loss: {training.loss}` is for classification;"
                f" use {' or '.join(REGRESSION_LOSSES)}"
            )
        settings["loss"] = "mse"
    return settings


def _crisp_inputs(strategy: Strategy, columns: tuple[FeatureColumn, ...]) -> tuple[CrispInput, ...]:
    crisp = [(position, column) for position, column in enumerate(columns) if column.kind == "crisp"]
    inputs = []
    for position, column in crisp:
        assert column.fuzzy_set is not None  # every crisp column belongs to a fuzzy set
        alone = sum(other.fuzzy_set == column.fuzzy_set for _, other in crisp) == 1
        memberships = strategy.fuzzy_sets[column.fuzzy_set].memberships
        inputs.append(
            CrispInput(
                # Name in the rules, with timeframe and lag only if several inputs read the same fuzzy set.
                column.fuzzy_set if alone else _full_name(column),
                position,
                {name: (function.type, function.parameters) for name, function in memberships.items()},
            )
        )
    if not inputs:
        raise BadInputError(
            f"strategy `{strategy.name}`: model type `{strategy.model.learner.type}` builds its rules from fuzzy sets;"
            " add an item with `fuzzy_set` to `nn_inputs`"
        )
    return tuple(inputs)


def _full_name(column: FeatureColumn) -> str:
    return f"{column.timeframe}_{column.fuzzy_set}{f'_lag{column.lag}' if column.lag else ''}"


def detect_device(plugins: PluginManager, plugin: str, wanted: str = "auto") -> Device:
    """Return a device of ``plugin``.

    Args:
        plugins: the installed backends.
        plugin: name of the backend.
        wanted: name of a device (``cuda:1``), a kind (``cuda``) for the first of that kind, or ``auto`` for the best.

    Raises:
        BadInputError: there is no such device on this machine; the message names the devices.
        PluginError: the plugin cannot be used.
    """
    devices = plugins.devices(plugin)
    if wanted == "auto" and devices:
        return devices[0]
    for matches in (lambda device: device.name == wanted, lambda device: device.kind == wanted):
        for device in devices:
            if matches(device):
                return device
    names = ", ".join(device.name for device in devices) or "nothing"
    raise BadInputError(f"there is no device `{wanted}` here; plugin `{plugin}` can use {names}, or say `auto`")


def fit_model(
    trainer: ModelTrainer,
    task: TrainingTask,
    data: TrainingData,
    *,
    progress: Progress,
    cancellation: Cancellation,
    checkpoint: CheckpointWriter,
) -> TrainedModel:
    """Train and return the model of the best epoch, resuming from ``checkpoint`` if it has one.

    Raises:
        CancelledError: the training was cancelled; the backend has left a checkpoint.
        BadInputError: the samples are not suitable for training, or the checkpoint is damaged.
    """
    epochs = task.settings["epochs"]
    message = "" if checkpoint.latest() is None else "resuming from the checkpoint"
    progress(ProgressEvent("training", 0, epochs, "epochs", 0.0, message))
    return trainer.train(task, data, progress=progress, cancellation=cancellation, checkpoint=checkpoint)

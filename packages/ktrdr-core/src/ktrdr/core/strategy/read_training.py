"""Reads the section ``training`` of a strategy: labels, data split, and how the model is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ktrdr.core.strategy.document import plain
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES, LabelSource
from ktrdr.core.strategy.model import DataSplit, EarlyStopping, HoldoutValidation, Labels, LrScheduler, Training
from ktrdr.core.strategy.read_model import DecisionsReading, ModelReading
from ktrdr.core.strategy.read_validation import ValidationReading
from ktrdr.core.strategy.section import Section, kind_of
from ktrdr.core.strategy.training_parameters import (
    CLASSIFICATION_LOSSES,
    CORE_KEYS,
    DATA_SPLIT,
    EARLY_STOPPING,
    LR_SCHEDULERS,
    REGRESSION_LOSSES,
    TRAINING,
    TRAINING_KEYS,
)
from ktrdr.core.strategy.validation_parameters import sum_problem

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import ModelType

__all__ = ["METHODS", "adopt_older", "read_training"]

METHODS = ("supervised",)

_DEFAULT_SCHEDULER = "reduce_on_plateau"
_DATES = "dates belong under `training_data`: `date_range: {start: 2015-01-01, end: 2020-12-31}`"
_LABELS = "write it under `labels`"
_ARCHITECTURE = "write it under `model.architecture`"
_ADVICE = {
    "date_range": _DATES,
    "start_date": _DATES,
    "end_date": _DATES,
    "normalization": "write it in each raw input, under `nn_inputs`",
    "source": _LABELS,
    "zigzag_threshold": _LABELS,
    "label_lookahead": _LABELS,
    "horizon": _LABELS,
    "dropout": _ARCHITECTURE,
    "hidden_layers": _ARCHITECTURE,
    "scheduler": "write `lr_scheduler: {type: cosine}`",
    "patience": "write `early_stopping: {patience: 10}`",
    "validation_split": "write `data_split: {train: 0.7, validation: 0.15, test: 0.15}`",
    "fitness_metrics": "the best epoch is chosen by `early_stopping.monitor`",
}
_ENABLED = "a map turns it on; to turn it off, remove the whole map"


def adopt_older(section: Section, model: ModelReading) -> None:
    """Add the keys of ``model.training`` and ``model.features`` of older files to ``training``."""
    for key, entry, path in model.older:
        where = f"`{path[0]}.{path[1]}`"
        if key not in TRAINING_KEYS:
            section.report.add(entry, path, f"unknown key `{key}`: {where} may only have keys of `training`; remove it")
        elif entry.node.value is None:
            continue
        elif not section.has(key):
            section.adopt(key, entry, path)
        elif plain(entry.node) != plain(section.entries[key].node):
            line = section.entries[key].line
            section.report.add(entry, path, f"`{key}` has another value at line {line}; keep the one under `training`")


def read_training(
    section: Section, decisions: DecisionsReading, model: ModelReading, validation: ValidationReading
) -> Training | None:
    """Return how the model is trained, or ``None`` after reporting an error.

    Args:
        section: the section ``training``.
        decisions: the section that labels and loss must fit; a part of it with an error is not compared.
        model: the section whose model type decides which keys have an effect; not compared if it has an error.
        validation: the section that divides the data, in place of ``data_split``.
    """
    source, labels = _read_labels(section)
    split = _read_split(section)
    scheduler_fits, scheduler = _read_scheduler(section)
    stopping_fits, stopping = _read_stopping(section)
    method_fits = section.choice("method", METHODS) is not None or not section.has("method")
    values = section.parameters(TRAINING)
    section.finish(_ADVICE)
    given = tuple(key for key in section.entries if section.has(key))
    if model.model_type is not None:
        _refuse_useless(section, given, model.model_type)
        _warn_of_idle(section, given, model)
    fits = scheduler_fits and stopping_fits and method_fits
    output = decisions.output
    if output is not None:
        fits &= source is None or _fit_labels(section, source, output)
        if values is not None:
            if output == "regression" and "loss" not in given:
                values["loss"] = "mse"
            fits &= _fit_loss(section, values, given, output)
        if stopping is not None:
            fits &= _fit_monitor(section, stopping, output)
    if values is not None:
        fits &= _fit_momentum(section, values)
    if validation.written and "data_split" in given:
        section.error(
            "data_split",
            "`data_split` and the section `validation` both divide the data; remove `data_split`, whose fractions can"
            " be those of `validation: {type: holdout}`",
        )
        fits = False
    elif stopping is not None and split is not None:
        fits &= _fit_validation(section, stopping, split, validation)
    if not fits or labels is None or split is None or values is None:
        return None
    return Training(
        labels=labels, data_split=split, lr_scheduler=scheduler, early_stopping=stopping, given=given, **values
    )


def _read_labels(section: Section) -> tuple[LabelSource | None, Labels | None]:
    example = "{source: zigzag, zigzag_threshold: 0.03, label_lookahead: 20}"
    part = section.section("labels", required=f"for example `labels: {example}`", example=f"labels: {example}")
    if part is None:
        return None, None
    source = part.choice("source", tuple(LABEL_SOURCES), required=f"one of {', '.join(LABEL_SOURCES)}")
    if source is None:
        return None, None
    values = part.parameters(LABEL_SOURCES[source].parameters)
    part.finish()
    if values is not None:
        _warn_of_defaults(part, LABEL_SOURCES[source], values)
    labels = None if values is None else Labels.model_validate({"source": source, "parameters": values})
    return LABEL_SOURCES[source], labels


def _warn_of_defaults(section: Section, source: LabelSource, values: Mapping[str, Any]) -> None:
    """Warn if the file does not set the parameters that decide how many labels each class gets."""
    left = [name for name in source.decisive if not section.has(name)]
    if left:
        names = " and ".join(f"`{name}`" for name in left)
        are, their = ("is", "its default decides") if len(left) == 1 else ("are", "their defaults decide")
        written = ", ".join(f"{name}: {values[name]:g}" for name in left)
        section.warn(
            "source",
            f"{names} {are} not given, and {their} how many labels are BUY and how many SELL; write `{written}`",
        )


def _read_split(section: Section) -> DataSplit | None:
    part = section.section("data_split", example="data_split: {train: 0.7, validation: 0.15, test: 0.15}")
    if part is None:
        return None if section.has("data_split") else DataSplit()
    values = part.parameters(DATA_SPLIT)
    part.finish()
    if values is None:
        return None
    if problem := sum_problem(values):
        section.error("data_split", problem)
        return None
    return DataSplit(**values)


def _read_scheduler(section: Section) -> tuple[bool, LrScheduler | None]:
    node = section.node("lr_scheduler")
    if node is None or node.value is False:
        return True, None
    if node.value is True:
        defaults = {parameter.name: parameter.default for parameter in LR_SCHEDULERS[_DEFAULT_SCHEDULER]}
        return True, LrScheduler(type=_DEFAULT_SCHEDULER, parameters=defaults)
    if not isinstance(node.value, dict):
        section.error(
            "lr_scheduler", f"`lr_scheduler` must be true or a map such as `{{type: cosine}}`, not {kind_of(node)}"
        )
        return False, None
    part = Section(section.report, section.entries["lr_scheduler"], node.value, section.path_of("lr_scheduler"))
    kind = part.choice("type", tuple(LR_SCHEDULERS), required=f"one of {', '.join(LR_SCHEDULERS)}")
    if kind is None:
        return False, None
    values = part.parameters(LR_SCHEDULERS[kind])
    part.finish({"enabled": _ENABLED})
    if values is None:
        return False, None
    return True, LrScheduler.model_validate({"type": kind, "parameters": values})


def _read_stopping(section: Section) -> tuple[bool, EarlyStopping | None]:
    node = section.node("early_stopping")
    if node is None or node.value is False:
        return True, None
    if node.value is True:
        return True, EarlyStopping()
    if not isinstance(node.value, dict):
        section.error(
            "early_stopping", f"`early_stopping` must be true or a map such as `{{patience: 10}}`, not {kind_of(node)}"
        )
        return False, None
    part = Section(section.report, section.entries["early_stopping"], node.value, section.path_of("early_stopping"))
    values = part.parameters(EARLY_STOPPING)
    part.finish({"enabled": _ENABLED})
    return (False, None) if values is None else (True, EarlyStopping(**values))


def _refuse_useless(section: Section, given: tuple[str, ...], model_type: ModelType) -> None:
    """Report keys that have no effect on the model type."""
    uses = [key for key in TRAINING_KEYS if key in model_type.training_keys]
    for key in given:
        if key in TRAINING_KEYS and key not in CORE_KEYS and key not in model_type.training_keys:
            section.error(
                key,
                f"`{key}` has no effect on model type `{model_type.name}`, which uses "
                f"{', '.join(uses) or 'no such key'}; remove it",
            )


def _warn_of_idle(section: Section, given: tuple[str, ...], model: ModelReading) -> None:
    """Warn of keys that have an effect on the model type, but not with this architecture."""
    if model.model_type is None or model.architecture is None:
        return
    for idle in model.model_type.idle_keys:
        if idle.apply_to(model.architecture):
            values = " and ".join(f"`{name}: {_written(value)}`" for name, value in idle.when)
            for key in given:
                if key in idle.keys:
                    section.warn(key, f"`{key}` has no effect with {values}; remove it, or {idle.remedy}")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fit_labels(section: Section, source: LabelSource, output: str) -> bool:
    made = source.output
    if made == output:
        return True
    kinds = {"classification": "classes", "regression": "values"}
    fitting = ", ".join(other.name for other in LABEL_SOURCES.values() if other.output == output)
    section.error(
        "labels",
        f"`{source.name}` makes {kinds[made]}, and `decisions.output_format` is {output}; "
        f"set `output_format: {made}`, or use another source: {fitting}",
    )
    return False


def _fit_loss(section: Section, values: dict[str, Any], given: tuple[str, ...], output: str) -> bool:
    fitting = REGRESSION_LOSSES if output == "regression" else CLASSIFICATION_LOSSES
    if values["loss"] not in fitting:
        section.error("loss", f"`loss: {values['loss']}` is not for {output}; use {' or '.join(fitting)}")
        return False
    fits = True
    for key, loss in (("focal_gamma", "focal"), ("huber_delta", "huber")):
        if key in given and values["loss"] != loss:
            section.error(
                key, f"`{key}` has an effect on `loss: {loss}` only, and the loss is {values['loss']}; remove it"
            )
            fits = False
    if output == "regression" and values["class_weights"] != "none":
        section.error("class_weights", "a regression has no classes to weight; remove `class_weights`")
        fits = False
    return fits


def _fit_momentum(section: Section, values: dict[str, Any]) -> bool:
    if values["momentum"] and values["optimizer"] not in ("sgd", "rmsprop"):
        section.error(
            "momentum",
            f"`momentum` has an effect on the optimizers sgd and rmsprop, not on {values['optimizer']}; remove it",
        )
        return False
    return True


def _fit_monitor(section: Section, stopping: EarlyStopping, output: str) -> bool:
    if output == "regression" and stopping.monitor == "val_accuracy":
        section.error("early_stopping", "a regression has no accuracy; monitor `val_loss` or `train_loss`")
        return False
    return True


def _fit_validation(section: Section, stopping: EarlyStopping, split: DataSplit, validation: ValidationReading) -> bool:
    """Check that there is a validation part; walk-forward and combinatorial validation cut one in every fold."""
    key, share = "data_split.validation", split.validation
    if isinstance(validation.section, HoldoutValidation):
        key, share = "validation.validation", validation.section.validation
    if share == 0 and stopping.monitor != "train_loss":
        section.error(
            "early_stopping",
            f"`{stopping.monitor}` needs a validation part, and `{key}` is 0; "
            "give it a share, or set `monitor: train_loss`",
        )
        return False
    return True

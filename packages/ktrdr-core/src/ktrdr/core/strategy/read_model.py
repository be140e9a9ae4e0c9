"""Reads the sections ``model`` and ``decisions`` of a strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ktrdr.core.errors import MissingPluginError, PluginError
from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.document import Entry, Path, plain
from ktrdr.core.strategy.model import CostModel, Decisions, Filters, ModelSection
from ktrdr.core.strategy.section import Section
from ktrdr.core.strategy.section_parameters import parameter_of

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import ModelType
    from ktrdr.core.plugins.manager import PluginManager

__all__ = [
    "COST_MODEL",
    "DECISIONS",
    "MIN_SIGNAL_SEPARATION",
    "OLDER_TRAINING",
    "OUTPUT_FORMATS",
    "VOLUME_FILTER",
    "DecisionsReading",
    "ModelReading",
    "read_decisions",
    "read_model",
]

OutputKind: TypeAlias = Literal["classification", "regression"]

OUTPUT_FORMATS: tuple[OutputKind, ...] = ("classification", "regression")

DECISIONS: tuple[Parameter, ...] = (
    parameter_of(
        Decisions,
        "confidence_threshold",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="classification only: probability that a BUY or SELL must exceed",
    ),
    parameter_of(Decisions, "position_awareness", "bool", description="ignore a BUY while long and a SELL while short"),
    parameter_of(
        Decisions,
        "allow_short_from_flat",
        "bool",
        description="let a SELL open a short when there is no position; if false, such a SELL is ignored",
    ),
)
MIN_SIGNAL_SEPARATION = parameter_of(
    Filters,
    "min_signal_separation",
    "int",
    minimum=0,
    maximum=10_000_000,
    description="minimum number of bars from one executed signal to the next",
)
VOLUME_FILTER = parameter_of(
    Filters,
    "volume_filter",
    "float",
    minimum=0,
    maximum=1000,
    exclusive_minimum=True,
    description="minimum ratio of a bar's volume to its 20-bar mean; `true` is 1",
)
COST_MODEL: tuple[Parameter, ...] = (
    parameter_of(
        CostModel,
        "round_trip_cost",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="cost of opening and closing a position, as a fraction of the price",
    ),
    parameter_of(
        CostModel,
        "min_edge_multiplier",
        "float",
        minimum=0,
        maximum=1000,
        description="a signal needs a predicted return above this multiple of `round_trip_cost`",
    ),
)
OLDER_TRAINING = ("training", "features")
"""Keys of ``model`` in older files: maps whose keys belong under ``training``."""

_MODEL_ADVICE = dict.fromkeys(
    ("hidden_layers", "activation", "dropout", "batch_norm", "sequence_length", "hidden_size", "num_layers"),
    "write it under `architecture`",
) | {"parameters": "write `architecture: {...}`", "output_activation": "write it under `architecture`"}
_CLASSIFICATION_ONLY = ("confidence_threshold",)
_REGRESSION_ONLY = ("cost_model",)


@dataclass(frozen=True, slots=True)
class DecisionsReading:
    """Result of reading ``decisions``.

    Attributes:
        section: the section; ``None`` if it has an error.
        output: the value of ``output_format``; ``None`` if it is wrong.
    """

    section: Decisions | None
    output: OutputKind | None


@dataclass(frozen=True, slots=True)
class ModelReading:
    """Result of reading ``model``.

    Attributes:
        section: the section; ``None`` if it has an error.
        model_type: the plugin's declaration of the model type; ``None`` if it was not looked up or not found.
        older: keys of ``model.training`` and ``model.features``, each with its value and path.
    """

    section: ModelSection | None
    model_type: ModelType | None
    older: tuple[tuple[str, Entry, Path], ...]


def read_model(section: Section, plugins: PluginManager | None, *, may_be_missing: bool = False) -> ModelReading:
    """Read ``model``.

    Args:
        section: the section to read.
        plugins: plugins whose declaration of the model type the section is checked against; ``None`` for no check.
        may_be_missing: warn, instead of reporting an error, if the plugin that trains the model is not installed; the
            architecture is then taken as written.
    """
    name = section.text("type", required="the model type, for example `type: mlp`")
    backend = section.text("backend")
    model_type = None
    wrong = name is None or (section.has("backend") and backend is None)
    if name is not None and plugins is not None and not wrong:
        try:
            _, model_type = plugins.backend_for(name, backend)
        except MissingPluginError as error:
            if may_be_missing:
                section.warn(
                    "backend" if backend else "type",
                    f"{error}; without it, `model` and `training` are only partly checked",
                )
            else:
                section.error("backend" if backend else "type", str(error))
                wrong = True
        except PluginError as error:
            section.error("backend" if backend else "type", str(error))
            wrong = True
    architecture = _read_architecture(section, model_type)
    older = _read_older(section)
    section.finish(_MODEL_ADVICE)
    if wrong or architecture is None or name is None:
        return ModelReading(None, model_type, older)
    return ModelReading(ModelSection(type=name.lower(), backend=backend, architecture=architecture), model_type, older)


def _read_architecture(section: Section, model_type: ModelType | None) -> dict[str, Any] | None:
    part = section.section("architecture", example="architecture: {hidden_layers: [32, 16]}")
    if part is None:
        if section.has("architecture"):
            return None
        part = Section(section.report, section.place, {}, section.path)
    if model_type is None:
        return {key: plain(entry.node) for key, entry in part.entries.items()}
    values = part.parameters(model_type.architecture)
    part.finish(nothing=f"; model type `{model_type.name}` has no parameters")
    if values is None:
        return None
    # JSON has no tuples: lists make the values equal to those that are read back from a bundle.
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _read_older(section: Section) -> tuple[tuple[str, Entry, Path], ...]:
    found = []
    for name in OLDER_TRAINING:
        part = section.section(name)
        if part is not None:
            found += [(key, entry, part.path_of(key)) for key, entry in part.entries.items()]
    return tuple(found)


def read_decisions(section: Section) -> DecisionsReading:
    """Read ``decisions``: how the model's outputs become orders."""
    output = _read_output(section)
    wrong = output is None
    values = section.parameters(DECISIONS)
    filters = _read_filters(section)
    cost_model = _read_cost_model(section)
    section.finish()
    if output is not None:
        other = "regression" if output == "classification" else "classification"
        for key in _CLASSIFICATION_ONLY if output == "regression" else _REGRESSION_ONLY:
            if section.has(key):
                section.error(
                    key,
                    f"`{key}` has an effect on {other} only, and `output_format` is {output}; "
                    f"remove it, or set `output_format: {other}`",
                )
                wrong = True
    if wrong or values is None or filters is None or cost_model is None:
        return DecisionsReading(None, output)
    decisions = {"output_format": output, **values, "filters": filters, "cost_model": cost_model}
    return DecisionsReading(Decisions.model_validate(decisions), output)


def _read_output(section: Section) -> OutputKind | None:
    match section.choice("output_format", tuple(OUTPUT_FORMATS)):
        case "classification":
            return "classification"
        case "regression":
            return "regression"
        case _:
            return None if section.has("output_format") else "classification"


def _read_filters(section: Section) -> Filters | None:
    part = section.section("filters", example="filters: {min_signal_separation: 4}")
    if part is None:
        return None if section.has("filters") else Filters()
    node = part.node("volume_filter")
    if node is not None and isinstance(node.value, bool):
        ratio: float | None = 1.0 if node.value else None
        values = part.parameters((MIN_SIGNAL_SEPARATION,))
    else:
        values = part.parameters((MIN_SIGNAL_SEPARATION, VOLUME_FILTER))
        ratio = values.pop("volume_filter") if values else None
    part.finish()
    return None if values is None else Filters(**values, volume_filter=ratio)


def _read_cost_model(section: Section) -> CostModel | None:
    part = section.section("cost_model", example="cost_model: {round_trip_cost: 0.003}")
    if part is None:
        return None if section.has("cost_model") else CostModel()
    values = part.parameters(COST_MODEL)
    part.finish()
    return None if values is None else CostModel(**values)

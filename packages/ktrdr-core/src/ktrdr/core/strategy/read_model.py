"""Read ``model`` and ``decisions``: what is trained, and how its outputs become orders."""

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
        description="classification: act only on a probability above it",
    ),
    parameter_of(
        Decisions, "position_awareness", "bool", description="do not repeat what the position already expresses"
    ),
    parameter_of(Decisions, "allow_short_from_flat", "bool", description="otherwise SELL is ignored when flat"),
)
MIN_SIGNAL_SEPARATION = parameter_of(
    Filters,
    "min_signal_separation",
    "int",
    minimum=0,
    maximum=10_000_000,
    description="bars since the last executed signal",
)
VOLUME_FILTER = parameter_of(
    Filters,
    "volume_filter",
    "float",
    minimum=0,
    maximum=1000,
    exclusive_minimum=True,
    description="least ratio of the volume to its mean of 20 bars; true is 1",
)
COST_MODEL: tuple[Parameter, ...] = (
    parameter_of(
        CostModel,
        "round_trip_cost",
        "float",
        minimum=0,
        maximum=1,
        exclusive_maximum=True,
        description="cost of opening and closing, as a share of the price",
    ),
    parameter_of(
        CostModel,
        "min_edge_multiplier",
        "float",
        minimum=0,
        maximum=1000,
        description="act where the prediction is more than this many costs",
    ),
)
OLDER_TRAINING = ("training", "features")
"""Maps under ``model`` of older files, whose keys belong under ``training``."""

_MODEL_ADVICE = dict.fromkeys(
    ("hidden_layers", "activation", "dropout", "batch_norm", "sequence_length", "hidden_size", "num_layers"),
    "write it under `architecture`",
) | {"parameters": "write `architecture: {...}`", "output_activation": "write it under `architecture`"}
_CLASSIFICATION_ONLY = ("confidence_threshold",)
_REGRESSION_ONLY = ("cost_model",)


@dataclass(frozen=True, slots=True)
class DecisionsReading:
    """What ``decisions`` says.

    Attributes:
        section: ``None`` if any of it is wrong.
        output: ``None`` if that is.
    """

    section: Decisions | None
    output: OutputKind | None


@dataclass(frozen=True, slots=True)
class ModelReading:
    """What ``model`` says.

    Attributes:
        section: ``None`` if any of it is wrong.
        model_type: the plugin's declaration; ``None`` if no plugins were asked.
        older: keys of ``model.training`` and ``model.features``, and where each is written.
    """

    section: ModelSection | None
    model_type: ModelType | None
    older: tuple[tuple[str, Entry, Path], ...]


def read_model(section: Section, plugins: PluginManager | None, *, may_be_missing: bool = False) -> ModelReading:
    """Read ``model``; with ``plugins``, against the declaration of the one that trains it.

    Where that one ``may_be_missing``, it is only warned of, and the architecture is taken as it is written.
    """
    name = section.text("type", required="what is trained, for example `type: mlp`")
    backend = section.text("backend")
    model_type = None
    wrong = name is None or (section.has("backend") and backend is None)
    if name is not None and plugins is not None and not wrong:
        try:
            _, model_type = plugins.backend_for(name, backend)
        except MissingPluginError as error:
            if may_be_missing:
                section.warn("backend" if backend else "type", f"{error}; what it would check here is not checked")
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
    # Lists throughout, as they come back from JSON.
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _read_older(section: Section) -> tuple[tuple[str, Entry, Path], ...]:
    found = []
    for name in OLDER_TRAINING:
        part = section.section(name)
        if part is not None:
            found += [(key, entry, part.path_of(key)) for key, entry in part.entries.items()]
    return tuple(found)


def read_decisions(section: Section) -> DecisionsReading:
    """Read how outputs become orders."""
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

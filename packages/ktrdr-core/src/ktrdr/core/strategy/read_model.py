"""Reads the sections ``model`` and ``decisions`` of a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ktrdr.core.errors import MissingPluginError, PluginError
from ktrdr.core.limits import MOST_ENSEMBLE_MEMBERS
from ktrdr.core.names import ENSEMBLE
from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.document import Entry, Path, plain
from ktrdr.core.strategy.model import CostModel, Decisions, EnsembleSection, Filters, Members, ModelSection
from ktrdr.core.strategy.section import Section
from ktrdr.core.strategy.section_parameters import parameter_of

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import ModelType
    from ktrdr.core.plugins.manager import PluginManager

__all__ = [
    "COST_MODEL",
    "DECISIONS",
    "MEMBERS",
    "MIN_SIGNAL_SEPARATION",
    "OF_ENSEMBLE",
    "OLDER_TRAINING",
    "OUTPUT_FORMATS",
    "VOLUME_FILTER",
    "VOTES",
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
OF_ENSEMBLE = ("of", "vote", "members")
"""Keys of ``model`` that only an ensemble has."""

VOTES = ("average", "majority")
"""How the members of an ensemble predict together."""

MEMBERS: tuple[Parameter, ...] = (
    Parameter(
        "seeds",
        "int",
        minimum=2,
        maximum=MOST_ENSEMBLE_MEMBERS,
        description="number of members; the first is trained with `training.seed`, each other with the next seed",
    ),
)
OLDER_TRAINING = ("training", "features")
"""Keys of ``model`` in older files: maps whose keys belong under ``training``."""

_MODEL_ADVICE = dict.fromkeys(
    ("hidden_layers", "activation", "dropout", "batch_norm", "sequence_length", "hidden_size", "num_layers"),
    "write it under `architecture`",
) | {"parameters": "write `architecture: {...}`", "output_activation": "write it under `architecture`"}
_ENSEMBLE_ADVICE = dict.fromkeys(("backend", "architecture"), "write it under `of`") | {
    **dict.fromkeys(OLDER_TRAINING, "write its keys under `training`"),
    "seeds": "write `members: {seeds: 5}`",
}
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
        model_type: the plugin's declaration of the model type, of an ensemble that of its members; ``None`` if it was
            not looked up or not found.
        older: keys of ``model.training`` and ``model.features``, each with its value and path.
        place: path of the model that a backend trains: ``model``, or ``model.of`` of an ensemble.
    """

    section: ModelSection | EnsembleSection | None
    model_type: ModelType | None
    older: tuple[tuple[str, Entry, Path], ...] = ()
    place: Path = ("model",)

    @property
    def architecture(self) -> Mapping[str, Any] | None:
        """Architecture of the model that a backend trains; ``None`` if the section has an error."""
        return None if self.section is None else self.section.learner.architecture


def read_model(section: Section, plugins: PluginManager | None, *, may_be_missing: bool = False) -> ModelReading:
    """Read ``model``.

    Args:
        section: the section to read.
        plugins: plugins whose declaration of the model type the section is checked against; ``None`` for no check.
        may_be_missing: warn, instead of reporting an error, if the plugin that trains the model is not installed; the
            architecture is then taken as written.
    """
    wanted = ENSEMBLE if section.has("of") else "mlp"
    name = section.text("type", required=f"the model type, for example `type: {wanted}`")
    if name is not None and name.lower() == ENSEMBLE:
        return _read_ensemble(section, plugins, may_be_missing)
    model_type, own = _read_learner(section, name, plugins, may_be_missing)
    older = _read_older(section)
    for key in OF_ENSEMBLE:
        # Without a right type it is not known whether the key is wrong.
        if section.node(key) is not None and own is not None:
            section.error(
                key,
                f"`{key}` belongs to an ensemble, and `type` is {own.type}; remove it, or write `type: {ENSEMBLE}`, and"
                " the model of its members under `of`",
            )
            own = None
    section.finish(_MODEL_ADVICE)
    return ModelReading(own, model_type, older)


def _read_ensemble(section: Section, plugins: PluginManager | None, may_be_missing: bool) -> ModelReading:
    model_type = learner = None
    example = "of: {type: mlp}"
    part = section.section("of", required=f"the model that each member is, for example `{example}`", example=example)
    if part is not None:
        name = part.text("type", required="the model type of the members, for example `type: mlp`")
        if name is not None and name.lower() == ENSEMBLE:
            part.error(
                "type",
                "an ensemble cannot have ensembles as members; write the model type of its members, such as "
                "`type: mlp`",
            )
        else:
            model_type, learner = _read_learner(part, name, plugins, may_be_missing, of_member=True)
            part.finish(_MODEL_ADVICE)
    vote = section.choice("vote", VOTES)
    if not section.has("vote"):
        vote = EnsembleSection.model_fields["vote"].default
    members = _read_members(section)
    section.finish(_ENSEMBLE_ADVICE)
    if learner is None or vote is None or members is None:
        return ModelReading(None, model_type, place=("model", "of"))
    found = EnsembleSection(of=learner, vote=vote, members=members)
    return ModelReading(found, model_type, place=("model", "of"))


def _read_members(section: Section) -> Members | None:
    example = "members: {seeds: 5}"
    part = section.section("members", required=f"their number, for example `{example}`", example=example)
    if part is None:
        return None
    values = part.parameters(MEMBERS)
    part.finish()
    return None if values is None else Members.model_validate(values)


def _read_learner(
    section: Section,
    name: str | None,
    plugins: PluginManager | None,
    may_be_missing: bool,
    *,
    of_member: bool = False,
) -> tuple[ModelType | None, ModelSection | None]:
    """Read the model that a backend trains.

    Args:
        section: the section with its ``backend`` and ``architecture``.
        name: value of its ``type``; ``None`` if that has an error.
        plugins: see :func:`read_model`.
        may_be_missing: see :func:`read_model`.
        of_member: True for a member of an ensemble.

    Returns:
        The plugin's declaration, if it was found, and the model, or ``None`` after reporting an error.
    """
    backend = section.text("backend")
    model_type = None
    wrong = name is None or (section.has("backend") and backend is None)
    if name is not None and plugins is not None and not wrong:
        try:
            _, model_type = plugins.backend_for(name, backend, of_member=of_member)
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
    if wrong or architecture is None or name is None:
        return model_type, None
    return model_type, ModelSection(type=name.lower(), backend=backend, architecture=architecture)


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

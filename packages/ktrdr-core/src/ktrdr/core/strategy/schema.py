"""JSON Schema of a strategy file, for editors.

It is built from the same declarations as the loader, so the two cannot differ. It accepts every strategy that the
loader accepts. Only the loader checks rules between sections, such as references to ids, or labels that fit the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ktrdr.core.limits import MOST_BARS_OF_A_PART
from ktrdr.core.names import ENSEMBLE
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.part_length import DURATION_PATTERN
from ktrdr.core.strategy.read_model import (
    COST_MODEL,
    DECISIONS,
    MEMBERS,
    MIN_SIGNAL_SEPARATION,
    OF_ENSEMBLE,
    OLDER_TRAINING,
    OUTPUT_FORMATS,
    VOLUME_FILTER,
    VOTES,
)
from ktrdr.core.strategy.read_risk import DISTANCES, RISK, SIZINGS, distance_parameters
from ktrdr.core.strategy.read_strategy import VERSION
from ktrdr.core.strategy.read_training import METHODS
from ktrdr.core.strategy.schema_data import deployment, fuzzy_sets, indicators, nn_inputs, training_data
from ktrdr.core.strategy.schema_parts import (
    NULL,
    TEXT,
    Schema,
    any_case,
    closed_map,
    described,
    map_by_type,
    name_schema,
    optional,
    parameter_schema,
    parameter_schemas,
    pattern_of,
    required_of,
)
from ktrdr.core.strategy.training_parameters import (
    CORE_KEYS,
    DATA_SPLIT,
    EARLY_STOPPING,
    LR_SCHEDULERS,
    TRAINING,
    TRAINING_KEYS,
)
from ktrdr.core.strategy.validation_parameters import LENGTHS, VALIDATIONS

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import ModelType
    from ktrdr.core.plugins.manager import PluginManager

__all__ = ["strategy_schema"]


def strategy_schema(plugins: PluginManager | None = None) -> Schema:
    """Return the JSON Schema (2020-12) of a strategy file, including the model types of ``plugins`` if given."""
    types = _model_types(plugins)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"KTRDR strategy, version {VERSION}",
        **closed_map(
            {
                "name": name_schema("name of the strategy, and of its model in the model store"),
                "description": described(optional(TEXT), "a description for readers; it has no effect"),
                "version": described(
                    optional({"enum": [VERSION, float(VERSION)]}),
                    "version of the strategy language",
                    default=VERSION,
                ),
                "training_data": training_data(),
                "indicators": indicators(),
                "fuzzy_sets": optional(fuzzy_sets()),
                "nn_inputs": nn_inputs(),
                "model": _model(types),
                "decisions": _decisions(),
                "training": _training(),
                "validation": optional(_validation()),
                "risk": optional(_risk()),
                "deployment": optional(deployment()),
            },
            required=("name", "training_data", "indicators", "nn_inputs", "model", "decisions", "training"),
        ),
        "allOf": [
            {
                "if": {"properties": {"nn_inputs": {"contains": {"type": "object", "required": ["fuzzy_set"]}}}},
                "then": {"required": ["fuzzy_sets"], "properties": {"fuzzy_sets": {"type": "object"}}},
            },
            *(_use_of_training(model_type) for model_type in types),
        ],
    }


def _model_types(plugins: PluginManager | None) -> list[ModelType]:
    """Return the model types that exactly one plugin offers; for the others, only the loader can choose the plugin."""
    offered: dict[str, list[ModelType]] = {}
    for info in plugins.infos().values() if plugins else ():
        for model_type in info.model_types:
            offered.setdefault(model_type.name, []).append(model_type)
    return [found[0] for found in offered.values() if len(found) == 1]


def _is(name: str) -> Schema:
    return {"required": ["type"], "properties": {"type": {"type": "string", "pattern": pattern_of((name,))}}}


def _learner_properties(types: Sequence[ModelType], description: str, *more: str) -> dict[str, Schema]:
    """Return the keys of a model that a backend trains.

    Args:
        types: the known model types.
        description: description of ``type``.
        *more: further words that ``type`` may have.
    """
    names = [*(model_type.name for model_type in types), *more]
    return {
        "type": described({"anyOf": [{"enum": names}, TEXT]} if names else TEXT, description),
        "backend": described(optional(TEXT), "plugin that trains the model, if several offer the type"),
        "architecture": described(
            optional({"type": "object"}),
            "parameters of the model type; its plugin declares them and their defaults",
        ),
    }


def _architectures(types: Sequence[ModelType]) -> list[Schema]:
    """Return a rule for the architecture of each model type."""
    return [
        {
            "if": _is(model_type.name),
            "then": {
                "properties": {
                    "architecture": optional(
                        closed_map(
                            parameter_schemas(model_type.architecture),
                            required=required_of(model_type.architecture),
                            description=f"parameters of {model_type.name}",
                        )
                    )
                },
                "required": ["architecture"] if required_of(model_type.architecture) else [],
            },
        }
        for model_type in types
    ]


def _model(types: Sequence[ModelType]) -> Schema:
    training = _training_properties()
    of = _learner_properties(types, "model type of the members")
    of["type"] |= {"not": {"type": "string", "pattern": pattern_of((ENSEMBLE,))}}
    member = closed_map(
        of,
        required=("type",),
        description="ensemble only: the model that each member is",
    )
    member["allOf"] = _architectures(types)
    schema = closed_map(
        {
            **_learner_properties(
                types, f"model type; the installed plugins declare the types, and `{ENSEMBLE}` is of core", ENSEMBLE
            ),
            "of": optional(member),
            "vote": described(
                optional(any_case(VOTES)),
                "ensemble only: how the members predict together, by the mean of their outputs or by the share of"
                " members for each class",
                default=VOTES[0],
            ),
            "members": optional(
                closed_map(
                    parameter_schemas(MEMBERS),
                    required=required_of(MEMBERS),
                    description="ensemble only: what the members differ in",
                )
            ),
            # An empty value counts as absent here, even for keys that may not be empty under `training`.
            **{
                name: optional(
                    closed_map(
                        {key: optional(value) for key, value in training.items()},
                        description="only in older files: keys that belong under `training`",
                    )
                )
                for name in OLDER_TRAINING
            },
        },
        required=("type",),
        description="the model to train",
    )
    schema["allOf"] = [
        *_architectures(types),
        {
            "if": _is(ENSEMBLE),
            "then": {
                "required": ["of", "members"],
                "propertyNames": {"enum": ["type", *OF_ENSEMBLE]},
                "not": {"anyOf": [{"properties": {name: NULL}} for name in ("of", "members")]},
            },
            "else": {"properties": dict.fromkeys(OF_ENSEMBLE, NULL)},
        },
    ]
    return schema


def _use_of_training(model_type: ModelType) -> Schema:
    """Return a rule that refuses the keys of ``training`` that have no effect on the model type."""
    useless = [key for key in TRAINING_KEYS if key not in CORE_KEYS and key not in model_type.training_keys]
    return {
        "if": {
            "properties": {
                "model": {
                    "anyOf": [
                        _is(model_type.name),
                        # Any other value, such as null, would match the rule of every model type.
                        {"required": ["of"], "properties": {"of": {"type": "object", **_is(model_type.name)}}},
                    ]
                }
            }
        },
        "then": {"properties": {"training": {"properties": dict.fromkeys(useless, NULL)}}},
    }


def _decisions() -> Schema:
    volume_filter: Schema = {
        "anyOf": [{"type": "boolean"}, parameter_schema(VOLUME_FILTER)],
        "default": False,
        "description": VOLUME_FILTER.description,
    }
    filters = {**parameter_schemas((MIN_SIGNAL_SEPARATION,)), "volume_filter": volume_filter}
    return closed_map(
        {
            "output_format": described(
                optional(any_case(OUTPUT_FORMATS)),
                "output of the model: probabilities of BUY, HOLD and SELL (classification) or a return (regression)",
                default=OUTPUT_FORMATS[0],
            ),
            **parameter_schemas(DECISIONS),
            "filters": optional(closed_map(filters, description="filters that drop signals")),
            "cost_model": optional(
                closed_map(
                    parameter_schemas(COST_MODEL),
                    description="regression only: minimum predicted return, as a multiple of the trading cost",
                )
            ),
        },
        description="how the model's outputs become orders",
    )


def _training() -> Schema:
    return closed_map(_training_properties(), required=("labels",), description="how the model is trained")


def _training_properties() -> dict[str, Schema]:
    sources = {name: source.parameters for name, source in LABEL_SOURCES.items()}
    scheduler = map_by_type("type", LR_SCHEDULERS, "type of the scheduler; the other keys depend on it")
    stopping = closed_map(parameter_schemas(EARLY_STOPPING))
    return {
        "method": described(
            optional(any_case(METHODS)), "only in older files; there is one method", default=METHODS[0]
        ),
        "labels": described(
            map_by_type("source", sources, "how the labels are made; the other keys depend on it"),
            "targets that the model learns, computed from the bars after each bar",
        ),
        "data_split": optional(
            closed_map(
                parameter_schemas(DATA_SPLIT),
                description="fractions of each symbol's data, in time order; they must sum to 1",
            )
        ),
        **parameter_schemas(TRAINING),
        "lr_scheduler": described(
            optional({"anyOf": [{"type": "boolean"}, scheduler]}),
            "changes the learning rate during training; `true` is `{type: reduce_on_plateau}`",
        ),
        "early_stopping": described(
            optional({"anyOf": [{"type": "boolean"}, stopping]}),
            "stops training before `epochs` if there is no improvement; `true` is the defaults",
        ),
    }


def _validation() -> Schema:
    schema = map_by_type("type", VALIDATIONS, "kind of validation; the other keys depend on it")
    # The order of the rules is that of the kinds.
    walk = schema["allOf"][list(VALIDATIONS).index("walk_forward")]["then"]
    length = {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MOST_BARS_OF_A_PART},
            {"type": "string", "pattern": f"^{DURATION_PATTERN}$"},
        ]
    }
    lengths = {key: described(length, description) for key, description in LENGTHS.items()}
    lengths["step"] = optional(lengths["step"])
    walk["properties"] = {"type": True, **lengths, **walk["properties"]}
    walk["required"] = ["train", "test"]
    return described(schema, "parts of the data that train and judge the strategy, in place of `training.data_split`")


def _risk() -> Schema:
    distances = {}
    for key, description in DISTANCES.items():
        declared = {parameter.name: parameter for parameter in distance_parameters(key)}
        distances[key] = optional(
            {
                "anyOf": [
                    closed_map({kind: parameter_schema(declared[kind]), other: NULL}, required=(kind,))
                    for kind, other in (("percent", "atr"), ("atr", "percent"))
                ]
            }
        ) | {"description": description}
    sizing = described(
        optional(map_by_type("type", SIZINGS, "sizing rule; the other keys depend on it")),
        "size of a position; without it, a quarter of the equity",
        default={"type": next(iter(SIZINGS)), "fraction": 0.25},
    )
    return closed_map(
        {"sizing": sizing, **distances, **parameter_schemas(RISK)},
        description="size of positions, and exits other than a signal",
    )

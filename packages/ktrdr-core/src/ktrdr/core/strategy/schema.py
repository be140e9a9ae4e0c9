"""The grammar as a JSON Schema, for editors.

Made of the declarations the loader reads with, so it cannot differ from them. It accepts every strategy the loader
accepts; what holds between sections (ids that are referred to, labels that fit the output) only the loader knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.read_model import (
    COST_MODEL,
    DECISIONS,
    MIN_SIGNAL_SEPARATION,
    OLDER_TRAINING,
    OUTPUT_FORMATS,
    VOLUME_FILTER,
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

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import ModelType
    from ktrdr.core.plugins.manager import PluginManager

__all__ = ["strategy_schema"]


def strategy_schema(plugins: PluginManager | None = None) -> Schema:
    """Return the JSON Schema (2020-12) of a strategy file; with the model types of ``plugins``, if given."""
    types = _model_types(plugins)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"KTRDR strategy, version {VERSION}",
        **closed_map(
            {
                "name": name_schema("of the strategy, and of its model in the model store"),
                "description": described(optional(TEXT), "for people; it changes nothing"),
                "version": described(
                    optional({"enum": [VERSION, float(VERSION)]}),
                    "of the grammar the file is written in",
                    default=VERSION,
                ),
                "training_data": training_data(),
                "indicators": indicators(),
                "fuzzy_sets": optional(fuzzy_sets()),
                "nn_inputs": nn_inputs(),
                "model": _model(types),
                "decisions": _decisions(),
                "training": _training(),
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
    """Return the model types that exactly one plugin offers; of others, only the loader knows which is meant."""
    offered: dict[str, list[ModelType]] = {}
    for info in plugins.infos().values() if plugins else ():
        for model_type in info.model_types:
            offered.setdefault(model_type.name, []).append(model_type)
    return [found[0] for found in offered.values() if len(found) == 1]


def _is(model_type: ModelType) -> Schema:
    return {"required": ["type"], "properties": {"type": {"type": "string", "pattern": pattern_of((model_type.name,))}}}


def _model(types: Sequence[ModelType]) -> Schema:
    training = _training_properties()
    schema = closed_map(
        {
            "type": described(
                {"anyOf": [{"enum": [model_type.name for model_type in types]}, TEXT]} if types else TEXT,
                "what is trained; the plugins that are installed say which types there are",
            ),
            "backend": described(optional(TEXT), "plugin to use, where several offer the type"),
            "architecture": described(
                optional({"type": "object"}), "keys of the type; its plugin says which, and what they default to"
            ),
            # An empty value counts as absent, also where `training` itself would not take it.
            **{
                name: optional(
                    closed_map(
                        {key: optional(value) for key, value in training.items()},
                        description="of older files: keys that belong under `training`",
                    )
                )
                for name in OLDER_TRAINING
            },
        },
        required=("type",),
        description="what is trained",
    )
    schema["allOf"] = [
        {
            "if": _is(model_type),
            "then": {
                "properties": {
                    "architecture": optional(
                        closed_map(
                            parameter_schemas(model_type.architecture),
                            required=required_of(model_type.architecture),
                            description=f"keys of {model_type.name}",
                        )
                    )
                },
                "required": ["architecture"] if required_of(model_type.architecture) else [],
            },
        }
        for model_type in types
    ]
    return schema


def _use_of_training(model_type: ModelType) -> Schema:
    """A key that has no effect on the model type is refused."""
    useless = [key for key in TRAINING_KEYS if key not in CORE_KEYS and key not in model_type.training_keys]
    return {
        "if": {"properties": {"model": _is(model_type)}},
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
                "what the model gives: the probabilities of BUY, HOLD and SELL, or the return to come",
                default=OUTPUT_FORMATS[0],
            ),
            **parameter_schemas(DECISIONS),
            "filters": optional(closed_map(filters, description="which signals are left out")),
            "cost_model": optional(
                closed_map(
                    parameter_schemas(COST_MODEL),
                    description="regression: how large a predicted return must be, as a multiple of what trading costs",
                )
            ),
        },
        description="how the model's outputs become orders",
    )


def _training() -> Schema:
    return closed_map(_training_properties(), required=("labels",), description="how the model is trained")


def _training_properties() -> dict[str, Schema]:
    sources = {name: source.parameters for name, source in LABEL_SOURCES.items()}
    scheduler = map_by_type("type", LR_SCHEDULERS, "how the learning rate changes")
    stopping = closed_map(parameter_schemas(EARLY_STOPPING))
    return {
        "method": described(optional(any_case(METHODS)), "of older files; there is one", default=METHODS[0]),
        "labels": described(
            map_by_type("source", sources, "how they are made; it says which other keys there are"),
            "what the model is to learn, made from the bars that follow",
        ),
        "data_split": optional(
            closed_map(
                parameter_schemas(DATA_SPLIT), description="shares of each symbol's data, in time order; they sum to 1"
            )
        ),
        **parameter_schemas(TRAINING),
        "lr_scheduler": described(
            optional({"anyOf": [{"type": "boolean"}, scheduler]}),
            "how the learning rate changes, if it does; `true` is `{type: reduce_on_plateau}`",
        ),
        "early_stopping": described(
            optional({"anyOf": [{"type": "boolean"}, stopping]}),
            "when training ends before `epochs`, if it may; `true` takes the defaults",
        ),
    }


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
        optional(map_by_type("type", SIZINGS, "how; it says which other keys there are")),
        "how large a position is; a quarter of the equity without it",
        default={"type": next(iter(SIZINGS)), "fraction": 0.25},
    )
    return closed_map(
        {"sizing": sizing, **distances, **parameter_schemas(RISK)},
        description="how large a position is, and what ends it besides a signal",
    )

"""The grammar as a JSON Schema, for editors.

Made of the declarations the loader reads with, so it cannot differ from them. It accepts every strategy the loader
accepts; what holds between sections (ids that are referred to, labels that fit the output) only the loader knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ktrdr.core.data.timeframe import TIMEFRAMES
from ktrdr.core.errors import KtrdrError
from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.indicators import registry
from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.names import NAME_PATTERN
from ktrdr.core.strategy.read_data import HISTORY
from ktrdr.core.strategy.read_inputs import LAGS, NORMALIZATIONS
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
from ktrdr.core.strategy.schema_parts import (
    NULL,
    TEXT,
    Schema,
    any_case,
    closed_map,
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
                "description": optional(TEXT),
                "version": optional({"enum": [VERSION, float(VERSION)]}),
                "training_data": _training_data(),
                "indicators": _indicators(),
                "fuzzy_sets": optional(_fuzzy_sets()),
                "nn_inputs": {"type": "array", "minItems": 1, "items": _input(), "description": "what the model sees"},
                "model": _model(types),
                "decisions": _decisions(),
                "training": _training(),
                "risk": optional(_risk()),
                "deployment": optional(_deployment()),
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


def _one_or_list(single: str, multiple: str, item: Schema, extra: Mapping[str, Schema]) -> Schema:
    def alternative(mode: str, key: str, value: Schema, other: str) -> Schema:
        properties = {"mode": any_case((mode,)), key: value, other: NULL, **extra}
        return closed_map(properties, required=("mode", key))

    many = {"type": "array", "minItems": 1, "uniqueItems": True, "items": item}
    return {
        "anyOf": [
            alternative("single", single, item, "list"),
            alternative("single", "list", {**many, "maxItems": 1}, single),
            alternative(multiple, "list", many, single),
        ]
    }


def _training_data() -> Schema:
    timeframe: Schema = {"enum": list(TIMEFRAMES)}
    dates = {"start": optional(_DATE), "end": optional(_DATE)}
    return closed_map(
        {
            "symbols": _one_or_list("symbol", "multi_symbol", TEXT, {}),
            "timeframes": _one_or_list(
                "timeframe", "multi_timeframe", timeframe, {"base_timeframe": optional(timeframe)}
            ),
            "date_range": optional(closed_map(dates, description="days, UTC, both inclusive")),
            "start_date": optional(_DATE),
            "end_date": optional(_DATE),
            **parameter_schemas(HISTORY),
        },
        required=("symbols", "timeframes"),
    )


_DATE: Schema = {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}


def _indicators() -> Schema:
    kinds: dict[str, Sequence[Parameter]] = {}
    spellings: dict[str, Sequence[str]] = {}
    for name in registry.indicator_names():
        try:
            indicator = registry.get_indicator(name)
        except KtrdrError:
            continue  # a user indicator that is broken: the loader refuses it too
        kinds[name] = indicator.parameters
        spellings[name] = (name, *indicator.aliases)
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": map_by_type("type", kinds, spellings),
        "description": "what is computed: id, then type and parameters",
    }


def _fuzzy_sets() -> Schema:
    number: Schema = {"type": "number"}
    above: Schema = {"type": "number", "exclusiveMinimum": 0}

    def numbers(kind: str, names: Sequence[str]) -> Schema:
        items = [above if name in ("sigma", "width") or (kind, name) == ("bell", "slope") else number for name in names]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    shapes = {kind: numbers(kind, names) for kind, names in MEMBERSHIP_TYPES.items()}
    function: Schema = {
        "anyOf": [
            shapes["triangular"],
            shapes["trapezoidal"],
            *(
                closed_map({"type": any_case((kind,)), "parameters": shape}, required=("type", "parameters"))
                for kind, shape in shapes.items()
            ),
        ]
    }
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": {
            "type": "object",
            "required": ["indicator"],
            "minProperties": 2,
            "properties": {"indicator": TEXT},
            "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
            "additionalProperties": function,
        },
        "description": "how values are read: id, then indicator and memberships",
    }


def _input() -> Schema:
    timeframes: Schema = {
        "anyOf": [
            {"const": "all"},
            {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(TIMEFRAMES)}},
        ]
    }
    common = {"timeframes": timeframes, "lags": parameter_schema(LAGS)}
    return {
        "anyOf": [
            closed_map({"fuzzy_set": TEXT, "raw_indicator": NULL, **common}, required=("fuzzy_set", "timeframes")),
            closed_map(
                {
                    "raw_indicator": TEXT,
                    "fuzzy_set": NULL,
                    "normalization": optional(any_case(NORMALIZATIONS)),
                    **common,
                },
                required=("raw_indicator", "timeframes"),
            ),
        ]
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
            "type": {"anyOf": [{"enum": [model_type.name for model_type in types]}, TEXT]} if types else TEXT,
            "backend": optional(TEXT),
            "architecture": optional({"type": "object"}),
            # An empty value counts as absent, also where `training` itself would not take it.
            **{
                name: optional(closed_map({key: optional(value) for key, value in training.items()}))
                for name in OLDER_TRAINING
            },
        },
        required=("type",),
    )
    schema["allOf"] = [
        {
            "if": _is(model_type),
            "then": {
                "properties": {
                    "architecture": optional(
                        closed_map(
                            parameter_schemas(model_type.architecture), required=required_of(model_type.architecture)
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
    volume_filter = {"anyOf": [{"type": "boolean"}, parameter_schema(VOLUME_FILTER)]}
    filters = {**parameter_schemas((MIN_SIGNAL_SEPARATION,)), "volume_filter": volume_filter}
    return closed_map(
        {
            "output_format": optional(any_case(OUTPUT_FORMATS)),
            **parameter_schemas(DECISIONS),
            "filters": optional(closed_map(filters)),
            "cost_model": optional(closed_map(parameter_schemas(COST_MODEL))),
        },
        description="how the model's outputs become orders",
    )


def _training() -> Schema:
    return closed_map(_training_properties(), required=("labels",), description="how the model is trained")


def _training_properties() -> dict[str, Schema]:
    sources = {name: source.parameters for name, source in LABEL_SOURCES.items()}
    scheduler = map_by_type("type", LR_SCHEDULERS, {})
    return {
        "method": optional(any_case(METHODS)),
        "labels": map_by_type("source", sources, {}),
        "data_split": optional(closed_map(parameter_schemas(DATA_SPLIT))),
        **parameter_schemas(TRAINING),
        "lr_scheduler": optional({"anyOf": [{"type": "boolean"}, scheduler]}),
        "early_stopping": optional({"anyOf": [{"type": "boolean"}, closed_map(parameter_schemas(EARLY_STOPPING))]}),
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
    return closed_map({"sizing": optional(map_by_type("type", SIZINGS, {})), **distances, **parameter_schemas(RISK)})


def _deployment() -> Schema:
    def targets(item: Schema) -> Schema:
        many: Schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": item}
        older = {"mode": optional(TEXT), "list": optional(many), "supported": optional(many)}
        return optional({"anyOf": [many, closed_map(older)]})

    return closed_map(
        {"target_symbols": targets(TEXT), "target_timeframes": targets({"enum": list(TIMEFRAMES)})},
        description="data a trained model may be used on",
    )

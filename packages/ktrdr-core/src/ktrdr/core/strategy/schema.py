"""The grammar as a JSON Schema, for editors.

Made of the declarations the loader reads with, so it cannot differ from them. It accepts every strategy the loader
accepts; what holds between sections (ids that are referred to, labels that fit the output) only the loader knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

_Schema = dict[str, Any]

# `symbol: NO` and `name: 2024` are text to the loader, and something else to YAML.
_TEXT: _Schema = {"type": ["string", "number", "boolean"]}
_NULL: _Schema = {"type": "null"}


def strategy_schema(plugins: PluginManager | None = None) -> _Schema:
    """Return the JSON Schema (2020-12) of a strategy file; with the model types of ``plugins``, if given."""
    types = _model_types(plugins)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"KTRDR strategy, version {VERSION}",
        **_object(
            {
                "name": _name("of the strategy, and of its model in the model store"),
                "description": _optional(_TEXT),
                "version": _optional({"enum": [VERSION, float(VERSION)]}),
                "training_data": _training_data(),
                "indicators": _indicators(),
                "fuzzy_sets": _optional(_fuzzy_sets()),
                "nn_inputs": {"type": "array", "minItems": 1, "items": _input(), "description": "what the model sees"},
                "model": _model(types),
                "decisions": _decisions(),
                "training": _training(),
                "risk": _optional(_risk()),
                "deployment": _optional(_deployment()),
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


def _object(properties: Mapping[str, _Schema], *, required: Iterable[str] = (), description: str = "") -> _Schema:
    schema: _Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    if names := list(required):
        schema["required"] = names
    return schema | ({"description": description} if description else {})


def _optional(schema: _Schema) -> _Schema:
    """A key whose value is empty counts as absent."""
    if "type" in schema and not {"enum", "allOf", "anyOf"} & schema.keys():
        # Said of the type, so that a validator's message is about the key that is wrong.
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*types, "null"]}
    return {"anyOf": [schema, _NULL]}


def _name(description: str) -> _Schema:
    return {**_TEXT, "pattern": f"^{NAME_PATTERN}$", "description": description}


def _any_case(words: Sequence[str]) -> _Schema:
    """Accept ``words`` in any case; editors offer them as they are."""
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": _pattern(words)}]}


def _pattern(words: Sequence[str]) -> str:
    spelled = (
        "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word) for word in words
    )
    return f"^(?:{'|'.join(spelled)})$"


def _parameter(parameter: Parameter) -> _Schema:
    match parameter.kind:
        case "bool":
            schema: _Schema = {"type": "boolean"}
        case "int":
            schema = {"type": "integer", **_limits(parameter)}
        case "float":
            schema = {"type": "number", **_limits(parameter)}
        case "int_list":
            schema = {"type": "array", "minItems": 1, "items": {"type": "integer", **_limits(parameter)}}
        case "str":
            schema = _any_case(parameter.choices) if parameter.choices else dict(_TEXT)
    if parameter.default is None:
        schema = _optional(schema)
    elif not parameter.required:
        default = parameter.default
        schema["default"] = list(default) if isinstance(default, tuple) else default
    return schema | ({"description": parameter.description} if parameter.description else {})


def _limits(parameter: Parameter) -> _Schema:
    limits: _Schema = {}
    if parameter.minimum is not None:
        limits["exclusiveMinimum" if parameter.exclusive_minimum else "minimum"] = parameter.minimum
    if parameter.maximum is not None:
        limits["exclusiveMaximum" if parameter.exclusive_maximum else "maximum"] = parameter.maximum
    return limits


def _parameters(declared: Iterable[Parameter]) -> dict[str, _Schema]:
    return {parameter.name: _parameter(parameter) for parameter in declared}


def _required(declared: Iterable[Parameter]) -> list[str]:
    return [parameter.name for parameter in declared if parameter.required]


def _by_type(key: str, kinds: Mapping[str, Sequence[Parameter]], spellings: Mapping[str, Sequence[str]]) -> _Schema:
    """A map whose ``key`` says which other keys it has."""
    every = [spelling for kind in kinds for spelling in spellings.get(kind, (kind,))]
    return {
        "type": "object",
        "required": [key],
        "properties": {key: _any_case(every)},
        "allOf": [
            {
                "if": {"properties": {key: {"type": "string", "pattern": _pattern(spellings.get(kind, (kind,)))}}},
                "then": _object({key: True, **_parameters(declared)}, required=_required(declared)),  # type: ignore[dict-item]
            }
            for kind, declared in kinds.items()
        ],
    }


def _one_or_list(single: str, multiple: str, item: _Schema, extra: Mapping[str, _Schema]) -> _Schema:
    def alternative(mode: str, key: str, value: _Schema, other: str) -> _Schema:
        properties = {"mode": _any_case((mode,)), key: value, other: _NULL, **extra}
        return _object(properties, required=("mode", key))

    many = {"type": "array", "minItems": 1, "uniqueItems": True, "items": item}
    return {
        "anyOf": [
            alternative("single", single, item, "list"),
            alternative("single", "list", {**many, "maxItems": 1}, single),
            alternative(multiple, "list", many, single),
        ]
    }


def _training_data() -> _Schema:
    timeframe: _Schema = {"enum": list(TIMEFRAMES)}
    dates = {"start": _optional(_DATE), "end": _optional(_DATE)}
    return _object(
        {
            "symbols": _one_or_list("symbol", "multi_symbol", _TEXT, {}),
            "timeframes": _one_or_list(
                "timeframe", "multi_timeframe", timeframe, {"base_timeframe": _optional(timeframe)}
            ),
            "date_range": _optional(_object(dates, description="days, UTC, both inclusive")),
            "start_date": _optional(_DATE),
            "end_date": _optional(_DATE),
            **_parameters(HISTORY),
        },
        required=("symbols", "timeframes"),
    )


_DATE: _Schema = {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}


def _indicators() -> _Schema:
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
        "additionalProperties": _by_type("type", kinds, spellings),
        "description": "what is computed: id, then type and parameters",
    }


def _fuzzy_sets() -> _Schema:
    number: _Schema = {"type": "number"}
    above: _Schema = {"type": "number", "exclusiveMinimum": 0}

    def numbers(kind: str, names: Sequence[str]) -> _Schema:
        items = [above if name in ("sigma", "width") or (kind, name) == ("bell", "slope") else number for name in names]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    shapes = {kind: numbers(kind, names) for kind, names in MEMBERSHIP_TYPES.items()}
    function: _Schema = {
        "anyOf": [
            shapes["triangular"],
            shapes["trapezoidal"],
            *(
                _object({"type": _any_case((kind,)), "parameters": shape}, required=("type", "parameters"))
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
            "properties": {"indicator": _TEXT},
            "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
            "additionalProperties": function,
        },
        "description": "how values are read: id, then indicator and memberships",
    }


def _input() -> _Schema:
    timeframes: _Schema = {
        "anyOf": [
            {"const": "all"},
            {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(TIMEFRAMES)}},
        ]
    }
    common = {"timeframes": timeframes, "lags": _parameter(LAGS)}
    return {
        "anyOf": [
            _object({"fuzzy_set": _TEXT, "raw_indicator": _NULL, **common}, required=("fuzzy_set", "timeframes")),
            _object(
                {
                    "raw_indicator": _TEXT,
                    "fuzzy_set": _NULL,
                    "normalization": _optional(_any_case(NORMALIZATIONS)),
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


def _is(model_type: ModelType) -> _Schema:
    return {"required": ["type"], "properties": {"type": {"type": "string", "pattern": _pattern((model_type.name,))}}}


def _model(types: Sequence[ModelType]) -> _Schema:
    training = _training_properties()
    schema = _object(
        {
            "type": {"anyOf": [{"enum": [model_type.name for model_type in types]}, _TEXT]} if types else _TEXT,
            "backend": _optional(_TEXT),
            "architecture": _optional({"type": "object"}),
            # An empty value counts as absent, also where `training` itself would not take it.
            **{
                name: _optional(_object({key: _optional(value) for key, value in training.items()}))
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
                    "architecture": _optional(
                        _object(_parameters(model_type.architecture), required=_required(model_type.architecture))
                    )
                },
                "required": ["architecture"] if _required(model_type.architecture) else [],
            },
        }
        for model_type in types
    ]
    return schema


def _use_of_training(model_type: ModelType) -> _Schema:
    """A key that has no effect on the model type is refused."""
    useless = [key for key in TRAINING_KEYS if key not in CORE_KEYS and key not in model_type.training_keys]
    return {
        "if": {"properties": {"model": _is(model_type)}},
        "then": {"properties": {"training": {"properties": dict.fromkeys(useless, _NULL)}}},
    }


def _decisions() -> _Schema:
    volume_filter = {"anyOf": [{"type": "boolean"}, _parameter(VOLUME_FILTER)]}
    filters = {**_parameters((MIN_SIGNAL_SEPARATION,)), "volume_filter": volume_filter}
    return _object(
        {
            "output_format": _optional(_any_case(OUTPUT_FORMATS)),
            **_parameters(DECISIONS),
            "filters": _optional(_object(filters)),
            "cost_model": _optional(_object(_parameters(COST_MODEL))),
        },
        description="how the model's outputs become orders",
    )


def _training() -> _Schema:
    return _object(_training_properties(), required=("labels",), description="how the model is trained")


def _training_properties() -> dict[str, _Schema]:
    sources = {name: source.parameters for name, source in LABEL_SOURCES.items()}
    scheduler = _by_type("type", LR_SCHEDULERS, {})
    return {
        "method": _optional(_any_case(METHODS)),
        "labels": _by_type("source", sources, {}),
        "data_split": _optional(_object(_parameters(DATA_SPLIT))),
        **_parameters(TRAINING),
        "lr_scheduler": _optional({"anyOf": [{"type": "boolean"}, scheduler]}),
        "early_stopping": _optional({"anyOf": [{"type": "boolean"}, _object(_parameters(EARLY_STOPPING))]}),
    }


def _risk() -> _Schema:
    distances = {}
    for key, description in DISTANCES.items():
        declared = {parameter.name: parameter for parameter in distance_parameters(key)}
        distances[key] = _optional(
            {
                "anyOf": [
                    _object({kind: _parameter(declared[kind]), other: _NULL}, required=(kind,))
                    for kind, other in (("percent", "atr"), ("atr", "percent"))
                ]
            }
        ) | {"description": description}
    return _object({"sizing": _optional(_by_type("type", SIZINGS, {})), **distances, **_parameters(RISK)})


def _deployment() -> _Schema:
    def targets(item: _Schema) -> _Schema:
        many: _Schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": item}
        older = {"mode": _optional(_TEXT), "list": _optional(many), "supported": _optional(many)}
        return _optional({"anyOf": [many, _object(older)]})

    return _object(
        {"target_symbols": targets(_TEXT), "target_timeframes": targets({"enum": list(TIMEFRAMES)})},
        description="data a trained model may be used on",
    )

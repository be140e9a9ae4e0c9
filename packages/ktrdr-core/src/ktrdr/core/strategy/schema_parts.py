"""Building blocks of the JSON Schema: maps without unknown keys, declared parameters, words in any case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from ktrdr.core.names import NAME_PATTERN
from ktrdr.core.parameters import Parameter

__all__ = [
    "NULL",
    "TEXT",
    "Schema",
    "any_case",
    "closed_map",
    "described",
    "map_by_type",
    "name_schema",
    "optional",
    "parameter_schema",
    "parameter_schemas",
    "pattern_of",
    "required_of",
]

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": ["string", "number", "boolean"]}
"""Text. YAML reads `symbol: NO` and `name: 2024` as other types, and the loader accepts them as text."""
NULL: Schema = {"type": "null"}


def closed_map(properties: Mapping[str, Schema], *, required: Iterable[str] = (), description: str = "") -> Schema:
    """Return the schema of a map with these keys and no others."""
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    if names := list(required):
        schema["required"] = names
    return schema | ({"description": description} if description else {})


def optional(schema: Schema) -> Schema:
    """Return ``schema`` extended by the empty value, which counts as absent."""
    if "type" in schema and not {"enum", "allOf", "anyOf"} & schema.keys():
        # Extending the type, rather than using anyOf, makes a validator's message name the wrong key.
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": list(dict.fromkeys((*types, "null")))}
    annotations: Schema = {key: value for key, value in schema.items() if key in ("description", "default")}
    return {"anyOf": [{key: value for key, value in schema.items() if key not in annotations}, NULL], **annotations}


def described(schema: Schema, description: str, **more: Any) -> Schema:
    """Return ``schema`` with this description and further keywords, such as a default, in place of its own."""
    return {**schema, "description": description, **more}


def name_schema(description: str) -> Schema:
    """Return the schema of a name."""
    return {**TEXT, "pattern": f"^{NAME_PATTERN}$", "description": description}


def any_case(words: Sequence[str]) -> Schema:
    """Return a schema that accepts ``words`` in any case; editors suggest the given spelling."""
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": pattern_of(words)}]}


def pattern_of(words: Sequence[str]) -> str:
    """Return a regular expression that matches ``words`` in any case."""
    spelled = (
        "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word) for word in words
    )
    return f"^(?:{'|'.join(spelled)})$"


def parameter_schema(parameter: Parameter) -> Schema:
    """Return the schema of a declared parameter, with its limits and default."""
    match parameter.kind:
        case "bool":
            schema: Schema = {"type": "boolean"}
        case "int":
            schema = {"type": "integer", **_limits(parameter)}
        case "float":
            schema = {"type": "number", **_limits(parameter)}
        case "int_list":
            schema = {"type": "array", "minItems": 1, "items": {"type": "integer", **_limits(parameter)}}
        case "str":
            schema = any_case(parameter.choices) if parameter.choices else dict(TEXT)
    if parameter.default is None:
        schema = optional(schema)
    elif not parameter.required:
        default = parameter.default
        schema["default"] = list(default) if isinstance(default, tuple) else default
    return schema | ({"description": parameter.description} if parameter.description else {})


def _limits(parameter: Parameter) -> Schema:
    limits: Schema = {}
    if parameter.minimum is not None:
        limits["exclusiveMinimum" if parameter.exclusive_minimum else "minimum"] = parameter.minimum
    if parameter.maximum is not None:
        limits["exclusiveMaximum" if parameter.exclusive_maximum else "maximum"] = parameter.maximum
    return limits


def parameter_schemas(declared: Iterable[Parameter]) -> dict[str, Schema]:
    """Return the schema of each declared parameter by name."""
    return {parameter.name: parameter_schema(parameter) for parameter in declared}


def required_of(declared: Iterable[Parameter]) -> list[str]:
    """Return the names of the parameters without a default."""
    return [parameter.name for parameter in declared if parameter.required]


def map_by_type(
    key: str,
    kinds: Mapping[str, Sequence[Parameter]],
    description: str,
    *,
    spellings: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Schema:
    """Return the schema of a map whose other keys depend on the value of ``key``.

    Args:
        key: key that selects the kind.
        kinds: parameters of each kind, by name.
        description: description of ``key``.
        spellings: every accepted name of a kind, where it has aliases.
    """
    every = [spelling for kind in kinds for spelling in spellings.get(kind, (kind,))]
    return {
        "type": "object",
        "required": [key],
        "properties": {key: described(any_case(every), description)},
        "allOf": [
            {
                "if": {"properties": {key: {"type": "string", "pattern": pattern_of(spellings.get(kind, (kind,)))}}},
                "then": closed_map({key: True, **parameter_schemas(declared)}, required=required_of(declared)),  # type: ignore[dict-item]
            }
            for kind, declared in kinds.items()
        ],
    }

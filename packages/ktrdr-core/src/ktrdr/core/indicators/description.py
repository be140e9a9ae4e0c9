"""Descriptions of indicator types: as plain values for programs, and as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ktrdr.core.indicators.types import IndicatorType
from ktrdr.core.parameters import Parameter

__all__ = ["MEMORY", "allowed", "default_text", "describe", "describe_parameter", "example", "memory_text"]

MEMORY: Mapping[str, str] = MappingProxyType(
    {
        "window": "a value depends on the bars of its window alone",
        "day": "a value depends on the bars of its UTC day alone",
        "recursive": "a value depends on all bars before it, with decreasing weight",
        "cumulative": "a value depends on the first bar of the data; use changes of the value rather than its level",
    }
)
"""The meaning of each :data:`~ktrdr.core.indicators.types.Memory`."""


def describe(indicator: IndicatorType, origin: str) -> dict[str, Any]:
    """Return the declaration of ``indicator``, JSON-ready.

    Args:
        indicator: the type.
        origin: its distribution, from :meth:`~ktrdr.core.indicators.registry.IndicatorRegistry.origin`.

    Returns:
        One entry per attribute. ``warmup`` is the number of bars before the first value at the defaults, None if a
        parameter has no default.
    """
    parameters, problems = indicator.validate({})
    return {
        "name": indicator.name,
        "origin": origin,
        "description": indicator.description,
        "formula": indicator.reference,
        "parameters": [describe_parameter(parameter) for parameter in indicator.parameters],
        "outputs": list(indicator.outputs),
        "inputs": [*indicator.inputs, *(["source"] if indicator.has_source else [])],
        "warmup": None if problems else indicator.warmup(parameters),
        "memory": indicator.memory,
        "memory_by": {name: dict(values) for name, values in indicator.memory_by.items()},
        "aliases": list(indicator.aliases),
        "output_aliases": dict(indicator.output_aliases),
    }


def memory_text(indicator: IndicatorType) -> str:
    """Return in words how far back a value depends on bars, and which parameters change that."""
    others = [
        f"with `{name}: {value}`, {MEMORY[memory].removeprefix('a value depends ')}"
        for name, values in indicator.memory_by.items()
        for value, memory in values.items()
    ]
    return "; ".join([MEMORY[indicator.memory], *others])


def describe_parameter(parameter: Parameter) -> dict[str, Any]:
    """Return the declaration of ``parameter``, JSON-ready; entries that do not apply are None."""
    return {
        "name": parameter.name,
        "kind": parameter.kind,
        "required": parameter.required,
        "default": None if parameter.required else parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "exclusive_minimum": parameter.exclusive_minimum,
        "exclusive_maximum": parameter.exclusive_maximum,
        "choices": list(parameter.choices) or None,
        "description": parameter.description,
    }


def default_text(parameter: Parameter) -> str:
    """Return the default as in a strategy file, or ``required``; an empty text for None."""
    return "required" if parameter.required else "" if parameter.default is None else _text(parameter.default)


def allowed(parameter: Parameter) -> str:
    """Return the allowed values of ``parameter``, in words."""
    if parameter.choices:
        return ", ".join(parameter.choices)
    kind = {"int": "whole number", "float": "number", "bool": "true or false", "int_list": "list of whole numbers"}
    parts = [kind.get(parameter.kind, "text")]
    if parameter.minimum is not None:
        parts.append(f"{'above' if parameter.exclusive_minimum else 'from'} {parameter.minimum:g}")
    if parameter.maximum is not None:
        parts.append(f"{'below' if parameter.exclusive_maximum else 'to'} {parameter.maximum:g}")
    return " ".join(parts)


def example(indicator: IndicatorType) -> str:
    """Return a line for the ``indicators`` of a strategy, with every parameter at its default."""
    given = "".join(
        f", {each.name}: {'...' if each.required else _text(each.default)}" for each in indicator.parameters
    )
    return f"{indicator.name}_1: {{type: {indicator.name}{given}}}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)

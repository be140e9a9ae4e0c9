"""Indicator types as plain values, for a listing, a form or an editor, and in words, for a person."""

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
        "recursive": "a value depends on all bars before it, on older ones less and less",
        "cumulative": "a value depends on where the data begins, for ever; use its changes rather than its level",
    }
)
"""What each :data:`~ktrdr.core.indicators.types.Memory` means."""


def describe(indicator: IndicatorType, origin: str) -> dict[str, Any]:
    """Return everything declared of ``indicator``, JSON-ready.

    Args:
        indicator: the type.
        origin: distribution it comes from, as :meth:`~ktrdr.core.indicators.registry.IndicatorRegistry.origin` says.

    Returns:
        ``warmup`` is the number of bars before the first value at the defaults, None where a parameter has none.
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
    """Return how far back a value depends on bars, and which parameters change that."""
    others = [
        f"with `{name}: {value}`, {MEMORY[memory].removeprefix('a value depends ')}"
        for name, values in indicator.memory_by.items()
        for value, memory in values.items()
    ]
    return "; ".join([MEMORY[indicator.memory], *others])


def describe_parameter(parameter: Parameter) -> dict[str, Any]:
    """Return everything declared of ``parameter``, JSON-ready; what does not apply is None."""
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
    """Return the default as a strategy file has it, or ``required``; nothing for an empty one."""
    return "required" if parameter.required else "" if parameter.default is None else _text(parameter.default)


def allowed(parameter: Parameter) -> str:
    """Return what may be given for ``parameter``, in words."""
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
    """Return a line for the ``indicators`` of a strategy: every parameter with its default."""
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

"""Indicator types as plain values, for a listing, a form or an editor."""

from __future__ import annotations

from typing import Any

from ktrdr.core.indicators.types import IndicatorType
from ktrdr.core.parameters import Parameter

__all__ = ["describe", "describe_parameter"]


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
        "aliases": list(indicator.aliases),
        "output_aliases": dict(indicator.output_aliases),
    }


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

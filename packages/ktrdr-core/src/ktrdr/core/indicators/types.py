"""Indicator types: the declaration and the formula of an indicator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ktrdr.core.parameters import Parameter, Problem, validate_parameters

__all__ = [
    "LONGEST_PERIOD",
    "MEANS",
    "SOURCES",
    "Formula",
    "IndicatorType",
    "Memory",
    "multiplier",
    "period",
    "source",
]

MEANS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hl2": ("high", "low"),
        "hlc3": ("high", "low", "close"),
        "ohlc4": ("open", "high", "low", "close"),
    }
)
"""Series that are means of prices, by name, and these prices."""

SOURCES: tuple[str, ...] = ("open", "high", "low", "close", "volume", *MEANS)
"""Values of a ``source`` parameter."""

LONGEST_PERIOD = 10_000
"""Maximum number of bars in a window."""

Formula = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Sequence[np.ndarray]]
"""Maps columns and complete parameters to one array per output, each as long as the columns.

Columns are float64 ``(n,)``, contiguous and finite; ``n`` is larger than the warm-up. They are the indicator's
``inputs``, and ``source`` if it has that parameter. Values before the end of the warm-up are ignored. A formula must
not write to a column, and value ``t`` must depend only on rows up to ``t``.
"""

Memory = Literal["window", "day", "recursive", "cumulative"]
"""How far back a value depends on bars; see :attr:`IndicatorType.memory`."""


def _no_rule(parameters: Mapping[str, Any]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class IndicatorType:
    """An indicator type.

    Attributes:
        name: in lower case; the ``type`` in a strategy.
        description: one sentence for a person.
        reference: book or paper with the formula, and differences from it.
        outputs: names in order; an indicator id without an output means the first one.
        formula: see :data:`Formula`.
        warmup: maps complete parameters to the number of bars before the first value. It is exact for every output:
            NaN at row ``warmup - 1``, a value at row ``warmup``.
        inputs: columns of the bars that the formula reads (``time`` too if it does), without ``source``.
        parameters: declarations, in order; ``source`` last if the indicator reads one series.
        aliases: further names, in lower case.
        output_aliases: maps older names of outputs to ``outputs``.
        memory: ``window``: a value depends only on the last ``warmup + 1`` bars. ``day``: on the bars of its UTC day.
            ``recursive``: on all bars before, with decreasing weight. ``cumulative``: on the first bar of the data.
        memory_by: by parameter and its value, the memory if it differs from ``memory``.
        positive: True if source values must be above zero (for a logarithm); others count as missing.
        rule: maps complete parameters to a message about their combination, or None.
    """

    name: str
    description: str
    reference: str
    outputs: tuple[str, ...]
    formula: Formula
    warmup: Callable[[Mapping[str, Any]], int]
    inputs: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    output_aliases: Mapping[str, str] = field(default_factory=dict)
    memory: Memory = "window"
    memory_by: Mapping[str, Mapping[Any, Memory]] = field(default_factory=dict)
    positive: bool = False
    rule: Callable[[Mapping[str, Any]], str | None] = _no_rule

    @property
    def has_source(self) -> bool:
        """True if a ``source`` parameter chooses the series that the formula reads."""
        return any(parameter.name == "source" for parameter in self.parameters)

    def resolve_output(self, name: str) -> str | None:
        """Return the output with this name or older name, or None."""
        name = self.output_aliases.get(name, name)
        return name if name in self.outputs else None

    def memory_of(self, parameters: Mapping[str, Any]) -> Memory:
        """Return the memory for complete parameters."""
        other = (values.get(parameters[name]) for name, values in self.memory_by.items())
        return next((found for found in other if found is not None), self.memory)

    def validate(
        self, given: Mapping[str, Any], path: tuple[str | int, ...] = ()
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Return the complete parameters and all problems in ``given``, including those of combinations."""
        values, problems = validate_parameters(given, self.parameters, path)
        if not problems:
            message = self.rule(values)
            if message is not None:
                problems.append(Problem(path, message))
        return values, problems


def period(
    default: int,
    name: str = "period",
    *,
    minimum: int = 1,
    maximum: int = LONGEST_PERIOD,
    description: str = "bars in the window",
) -> Parameter:
    """Return the declaration of a length in bars."""
    return Parameter(name, "int", default, minimum, maximum, description=description)


def multiplier(default: float, name: str = "multiplier", *, description: str) -> Parameter:
    """Return the declaration of a positive factor."""
    return Parameter(name, "float", default, 0.0, 1000.0, exclusive_minimum=True, description=description)


def source(default: str = "close") -> Parameter:
    """Return the declaration of the parameter that chooses the series to read."""
    return Parameter("source", "str", default, choices=SOURCES, description="series that is read")

"""What an indicator type is: its declaration and its formula."""

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
"""Series that are means of prices, and of which."""

SOURCES: tuple[str, ...] = ("open", "high", "low", "close", "volume", *MEANS)
"""Series a ``source`` parameter chooses from."""

LONGEST_PERIOD = 10_000
"""Most bars of a window."""

Formula = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Sequence[np.ndarray]]
"""From columns and complete parameters to one array per output, all of the columns' length.

Columns are float64 ``(n,)``, contiguous, finite throughout, ``n`` above the warm-up. They are the indicator's
``inputs``, and ``source`` if it has that parameter. What is returned before the warm-up is over is not looked at.
A formula must not write to a column, and value ``t`` may depend on rows up to ``t`` alone.
"""

Memory = Literal["window", "day", "recursive", "cumulative"]
"""How far back a value depends on bars; see :attr:`IndicatorType.memory`."""


def _no_rule(parameters: Mapping[str, Any]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class IndicatorType:
    """One type of the registry.

    Attributes:
        name: lower case, as a strategy's ``type`` names it.
        description: one sentence for a person.
        reference: book or paper the formula is from, and where it departs from that.
        outputs: names in order; a bare indicator id is the first.
        formula: see :data:`Formula`.
        warmup: from complete parameters to the number of bars before the first value. All outputs begin together, so
            it is exact for each: NaN at row ``warmup - 1``, a value at row ``warmup``.
        inputs: columns of the bars it reads (``time`` among them if it does), without ``source``.
        parameters: declared, in order; ``source`` last where the indicator reads one series.
        aliases: further names, lower case.
        output_aliases: older names of outputs, each to one of ``outputs``.
        memory: ``window``: a value depends on the last ``warmup + 1`` bars alone. ``day``: on those of its UTC day.
            ``recursive``: on all bars before, less and less. ``cumulative``: on where the data begins, for ever.
        memory_by: by parameter and value of it, the memory where that is not ``memory``.
        positive: source values that are not above zero count as missing (the formula takes a logarithm).
        rule: from complete parameters to what is wrong among them, or None.

    Example:
        >>> import numpy as np
        >>> from ktrdr.core.indicators import IndicatorType, period
        >>> def change(columns, parameters):
        ...     n, close = parameters["period"], columns["close"]
        ...     return [np.concatenate((np.full(n, np.nan), close[n:] - close[:-n]))]
        >>> kind = IndicatorType(
        ...     name="change",
        ...     description="Change of the close over some bars.",
        ...     reference="own",
        ...     outputs=("change",),
        ...     formula=change,
        ...     warmup=lambda parameters: parameters["period"],
        ...     inputs=("close",),
        ...     parameters=(period(5),),
        ... )
        >>> kind.validate({"period": 3})
        ({'period': 3}, [])
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
        """True if a ``source`` parameter chooses the series it reads."""
        return any(parameter.name == "source" for parameter in self.parameters)

    def resolve_output(self, name: str) -> str | None:
        """Find an output by its name.

        Args:
            name: one of ``outputs``, or an older name of one.

        Returns:
            The name in ``outputs``, or None if there is no such output.
        """
        name = self.output_aliases.get(name, name)
        return name if name in self.outputs else None

    def memory_of(self, parameters: Mapping[str, Any]) -> Memory:
        """Return how far back a value depends on bars, see :attr:`memory`.

        Args:
            parameters: complete, as :meth:`validate` returns them.

        Returns:
            The memory with these parameters.
        """
        other = (values.get(parameters[name]) for name, values in self.memory_by.items())
        return next((found for found in other if found is not None), self.memory)

    def validate(
        self, given: Mapping[str, Any], path: tuple[str | int, ...] = ()
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Check parameters, each alone and all together.

        Args:
            given: parameters as a strategy gives them.
            path: keys and list positions of ``given`` in its document, for the problems.

        Returns:
            The complete parameters, defaults filled in, and all problems. With problems the parameters are incomplete.
        """
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
    """Declare a length in bars.

    Args:
        default: number of bars.
        name: of the parameter.
        minimum: the smallest length.
        maximum: the largest length.
        description: what the length is for.

    Returns:
        The parameter, an ``int``.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.indicators.period(14).default
        14
    """
    return Parameter(name, "int", default, minimum, maximum, description=description)


def multiplier(default: float, name: str = "multiplier", *, description: str) -> Parameter:
    """Declare a factor above 0, at most 1000.

    Args:
        default: value of the factor.
        name: of the parameter.
        description: what is multiplied.

    Returns:
        The parameter, a ``float``.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.indicators.multiplier(2.0, description="standard deviations").name
        'multiplier'
    """
    return Parameter(name, "float", default, 0.0, 1000.0, exclusive_minimum=True, description=description)


def source(default: str = "close") -> Parameter:
    """Declare the choice of the series that is read.

    Args:
        default: one of ``open``, ``high``, ``low``, ``close``, ``volume``, ``hl2``, ``hlc3``, ``ohlc4``.

    Returns:
        The parameter ``source``.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.indicators.source().default
        'close'
    """
    return Parameter("source", "str", default, choices=SOURCES, description="series that is read")

"""Declared parameters of indicators and model architectures, and the one validator for both.

A plugin declares its parameters as plain data, so that a strategy is validated, and a form drawn for it, without
importing the framework that will use them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["REQUIRED", "Parameter", "Problem", "did_you_mean", "validate_parameters"]

ParameterKind = Literal["int", "float", "bool", "str", "int_list"]


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Required()
"""Default of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter.

    ``minimum`` and ``maximum`` are inclusive unless ``exclusive_minimum``/``exclusive_maximum`` is set; for an
    ``int_list`` they hold for every element. ``choices`` limits a ``str`` (compared without regard to case).
    """

    name: str
    kind: ParameterKind
    default: Any = REQUIRED
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    choices: tuple[str, ...] = ()
    description: str = ""

    @property
    def required(self) -> bool:
        """True if the parameter has no default."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at ``path`` (keys and list positions from the root of the document)."""

    path: tuple[str | int, ...]
    message: str


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``", did you mean `x`?"`` for the closest known word, in any case, or an empty string.

    Args:
        word: as it was written.
        known: words that there are.
        cutoff: how alike the two must be, from 0 to 1, as :func:`difflib.get_close_matches` counts it.
    """
    spellings = {name.lower(): name for name in known}
    wanted = str(word).lower()
    close = difflib.get_close_matches(wanted, list(spellings), n=1, cutoff=cutoff)
    if not close:
        # `fast` for `fast_period`: a prefix says more than edit distance.
        close = [name for name in spellings if name.startswith(wanted)][:1]
    return f", did you mean `{spellings[close[0]]}`?" if close else ""


def validate_parameters(
    given: Mapping[str, Any],
    declared: Sequence[Parameter],
    path: tuple[str | int, ...] = (),
) -> tuple[dict[str, Any], list[Problem]]:
    """Check ``given`` against ``declared``.

    Returns the complete parameters in declared order, defaults filled in and integers given for floats converted,
    and every problem found (unknown key, missing key, wrong type, out of range). When there are problems the first
    value is incomplete and not to be used.
    """
    known = {parameter.name: parameter for parameter in declared}
    problems: list[Problem] = []
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known) or (
                f"; known: {', '.join(known)}" if known else "; there are no parameters here"
            )
            problems.append(Problem((*path, key), f"unknown key `{key}`{hint}"))
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        if name not in given:
            if parameter.required:
                problems.append(Problem(path, f"`{name}` is required"))
            else:
                values[name] = parameter.default
            continue
        try:
            values[name] = _convert(given[name], parameter)
        except ValueError as error:
            problems.append(Problem((*path, name), f"`{name}` {error}"))
    return values, problems


def _convert(value: Any, parameter: Parameter) -> Any:
    match parameter.kind:
        case "bool":
            if not isinstance(value, bool):
                raise ValueError(f"must be true or false, not {value!r}")
            return value
        case "int":
            return _number(value, parameter, whole=True)
        case "float":
            return float(_number(value, parameter, whole=False))
        case "str":
            if not isinstance(value, str):
                raise ValueError(f"must be text, not {value!r}")
            if parameter.choices:
                if value.lower() not in parameter.choices:
                    hint = did_you_mean(value, parameter.choices)
                    raise ValueError(f"must be one of {', '.join(parameter.choices)}, not {value!r}{hint}")
                return value.lower()
            return value
        case "int_list":
            if not isinstance(value, list | tuple) or not value:
                raise ValueError(f"must be a list of whole numbers, not {value!r}")
            return [_number(item, parameter, whole=True) for item in value]


def _number(value: Any, parameter: Parameter, *, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"must be a {'whole ' if whole else ''}number, not {value!r}")
    if whole and value != int(value):
        raise ValueError(f"must be a whole number, not {value!r}")
    low, high = parameter.minimum, parameter.maximum
    if low is not None and (value <= low if parameter.exclusive_minimum else value < low):
        raise ValueError(f"must be {'above' if parameter.exclusive_minimum else 'at least'} {low:g}, not {value!r}")
    if high is not None and (value >= high if parameter.exclusive_maximum else value > high):
        raise ValueError(f"must be {'below' if parameter.exclusive_maximum else 'at most'} {high:g}, not {value!r}")
    return int(value) if whole else value

"""Declarations of the parameters of indicators and model architectures, and their validation.

A plugin declares its parameters as plain data, so that a strategy can be validated without importing the framework.
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
"""Default of a parameter that must be given."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Declaration of a parameter.

    Attributes:
        name: key of the parameter.
        kind: type of its value.
        default: value if the key is missing; :data:`REQUIRED` if it must be given.
        minimum, maximum: limits of a number, or of every element of an ``int_list``.
        exclusive_minimum, exclusive_maximum: True if the limit itself is not allowed.
        choices: allowed values of a ``str`` in lower case; case does not matter. Empty for any text.
        description: for a person.

    Example:
        >>> from ktrdr.core.indicators import Parameter
        >>> Parameter("dropout", "float", 0.0, minimum=0, maximum=1, exclusive_maximum=True).required
        False
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
    """An error at ``path`` (keys and list positions from the root of the document)."""

    path: tuple[str | int, ...]
    message: str


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``", did you mean `x`?"`` for the closest known word, in any case, or an empty string.

    Args:
        word: the word as it was written.
        known: known words.
        cutoff: least similarity of the two, 0 to 1, as :func:`difflib.get_close_matches` measures it.
    """
    spellings = {name.lower(): name for name in known}
    wanted = str(word).lower()
    close = difflib.get_close_matches(wanted, list(spellings), n=1, cutoff=cutoff)
    if not close:
        # `fast` for `fast_period`: a prefix is a better hint than edit distance.
        close = [name for name in spellings if name.startswith(wanted)][:1]
    return f", did you mean `{spellings[close[0]]}`?" if close else ""


def validate_parameters(
    given: Mapping[str, Any],
    declared: Sequence[Parameter],
    path: tuple[str | int, ...] = (),
) -> tuple[dict[str, Any], list[Problem]]:
    """Check ``given`` against ``declared``.

    Args:
        given: values by key.
        declared: declarations of the parameters.
        path: path of the parameters in the document, for the problems.

    Returns:
        The complete parameters in declared order, with defaults and with integers converted to floats where a float is
        declared; and all problems (unknown key, missing key, wrong type, out of range). If there are problems, the
        parameters are incomplete and must not be used.
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

"""Messages about wrong settings: pydantic's errors as one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ktrdr.core.errors import BadInputError
from ktrdr.core.parameters import did_you_mean

__all__ = ["message_of", "read_settings", "validator"]

M = TypeVar("M", bound=BaseModel)

_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def read_settings(kind: type[M], values: Mapping[str, Any], *, called: Callable[[str], str] = lambda name: name) -> M:
    """Return the settings or the job that ``values`` describe.

    Args:
        kind: class of the settings.
        values: values by field, JSON-ready or of the types of the fields.
        called: returns the name of a field for the message, such as the name of its option.

    Raises:
        BadInputError: a value is missing, unknown or wrong; the message is about the first one.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise BadInputError(_sentence(kind, error.errors()[0], called)) from None


def validator(check: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return ``check`` as a pydantic validator: a :class:`BadInputError` becomes the message of the field.

    Values that are not text are left to the type of the field.
    """

    def run(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return check(value)
        except BadInputError as error:
            raise ValueError(str(error)) from None

    return run


def message_of(error: ErrorDetails) -> str:
    """Return the message about a field: that of our validator if it raised the error, else that of pydantic."""
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]


def _sentence(kind: type[BaseModel], error: ErrorDetails, called: Callable[[str], str]) -> str:
    told = message_of(error) if error["type"] == "value_error" else ""
    if error["type"] == "superfluous":
        # A message about one field among several.
        named = error["ctx"]["field"]
        return error["msg"].replace(f"`{named}`", f"`{called(named)}`")
    if not error["loc"]:
        return told or _plain(error["msg"])
    first, *inner = error["loc"]
    name = "".join([called(str(first)), *(f"[{part}]" for part in inner)])
    if told:
        return f"{name}: {told}"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        return f"{name} is not known" + did_you_mean(str(first), kind.model_fields)
    field = kind.model_fields[str(first)]
    if error["type"] == "too_short":
        return f"{name} is empty; give at least one" + ("" if field.is_required() else ", or leave it out")
    about = f" ({_plain(field.description)})" if field.description else ""
    if error["type"] == "finite_number":
        return f"{name} must be a finite number, not {error['input']}{about}"
    if error["type"] == "string_pattern_mismatch" and field.examples:
        return f"{name} must be written like {' or '.join(field.examples)}, not {error['input']!r}"
    if error["type"] == "bool_type":
        return f"{name} must be true or false, not {error['input']!r}{about}"
    limits = error.get("ctx", {})
    for key, words in _BOUNDS.items():
        if key in limits:
            return f"{name} must be {words} {_number(limits[key])}, not {_number(error['input'])}{about}"
    return f"{name}: {_plain(error['msg'])}"


def _plain(text: str) -> str:
    """Return a sentence without capital and full stop, to be part of another one."""
    return text[:1].lower() + text[1:].removesuffix(".")


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)

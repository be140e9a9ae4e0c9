"""Command-line options from the fields of a settings model, which define their help, bounds and defaults."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import click

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import Settings
from ktrdr.core.jobs.refusals import read_settings

__all__ = ["OwnOption", "given_options", "setting_options"]


@dataclass(frozen=True, slots=True)
class OwnOption:
    """An option with its own syntax, which may be repeated, for one field.

    Attributes:
        flag: name of the option, such as ``--set``.
        metavar: syntax of its value, for the help.
        read: returns the value of the field from all values on the command line.
    """

    flag: str
    metavar: str
    read: Callable[[Sequence[str]], Any]


class _BoundedOption(click.Option):
    """An option whose help shows its bounds. The settings model checks them and words the errors."""

    def __init__(self, *names: Any, bounds: str, **more: Any) -> None:
        super().__init__(*names, **more)
        self._bounds = bounds

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return the text in brackets, with the bounds added."""
        extra = super().get_help_extra(ctx)
        if self._bounds:
            extra["range"] = self._bounds
        return extra


def setting_options(
    model: type[Settings], *, only: Sequence[str] | None = None, **own: OwnOption
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command one option per field of a settings model.

    The command receives the settings as its argument ``settings``. If the model refuses a value, the command ends with
    a :class:`~ktrdr.core.errors.BadInputError` that names the option.

    Args:
        model: the settings model; options of required fields come first in the help.
        only: names of the fields to make options of; by default all.
        **own: options with their own syntax, by field.
    """
    schema = model.model_json_schema()
    required = schema.get("required", [])
    names = [name for name in schema["properties"] if only is None or name in only]
    names.sort(key=lambda name: name not in required)

    def flag(name: str) -> str:
        return own[name].flag if name in own else _flag(name)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(**arguments: Any) -> Any:
            written = {name: arguments.pop(name) for name in names}
            values = {
                name: own[name].read(value) if name in own else _value(flag(name), schema["properties"][name], value)
                for name, value in written.items()
                if value is not None and value != ()
            }
            return command(settings=read_settings(model, values, called=flag), **arguments)

        made: Callable[..., Any] = functools.update_wrapper(run, command)
        for name in reversed(names):
            made = _option(name, schema["properties"][name], name in required, own.get(name))(made)
        return made

    return decorate


def given_options(context: click.Context, model: type[Settings], **own: OwnOption) -> list[str]:
    """Return the options of ``model`` that were given on the command line, as words of another command line.

    Args:
        context: of the command.
        model: the settings model.
        **own: options with their own syntax, as :func:`setting_options` takes them.
    """
    words = []
    for name in model.model_fields:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            value = context.params[name]
            if name in own:
                words += [word for each in value for word in (own[name].flag, str(each))]
            else:
                words += [_flag(name)] if value is True else [_flag(name), _written(value)]
    return words


def _written(value: object) -> str:
    # `str` writes small numbers with an exponent, as nobody does.
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)


_TYPES: Mapping[str, Any] = {"integer": int, "number": float}
_BOUNDS = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _option(
    name: str, described: Mapping[str, Any], required: bool, own: OwnOption | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    schema = _plain(described)
    more: dict[str, Any] = {"type": _TYPES.get(schema["type"])}
    if own is not None:
        more = {"metavar": own.metavar, "multiple": True}
    elif schema["type"] == "array":
        more = {"metavar": "A,B"}
    elif "enum" in schema:
        more = {"type": click.Choice(schema["enum"])}
    elif schema.get("format") == "date":
        more = {"metavar": "YYYY-MM-DD"}
    default = described.get("default")
    if schema["type"] == "boolean":
        return click.option(_flag(name), name, help=described["description"], is_flag=True)
    return click.option(
        own.flag if own is not None else _flag(name),
        name,
        cls=_BoundedOption,
        bounds=", ".join(f"{sign}{_number(schema[key])}" for key, sign in _BOUNDS if key in schema),
        help=described["description"],
        required=required,
        default=default,
        show_default=default is not None,
        **more,
    )


def _value(flag: str, described: Mapping[str, Any], written: Any) -> Any:
    if _plain(described)["type"] != "array":
        return written
    parts = [part.strip() for part in written.split(",")]
    if not all(parts):
        raise BadInputError(f"{flag} {written!r} has an empty part; write names with one comma between: A,B")
    return parts


def _plain(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of ``X`` for a field of type ``X | None``."""
    return next((part for part in described.get("anyOf", ()) if part["type"] != "null"), described)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}"

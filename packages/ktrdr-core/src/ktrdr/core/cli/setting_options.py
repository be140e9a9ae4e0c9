"""Options of a command, made of the fields of a settings model: their help, bounds and defaults stand there alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import Settings
from ktrdr.core.jobs.refusals import read_settings

__all__ = ["OwnOption", "given_options", "setting_options"]


@dataclass(frozen=True, slots=True)
class OwnOption:
    """The option of a field that is written in a way of its own, and may be repeated.

    Attributes:
        flag: its name, such as ``--set``.
        metavar: what the help says is written after it.
        read: returns the value of the field, of all that was written.
    """

    flag: str
    metavar: str
    read: Callable[[Sequence[str]], Any]


class _BoundedOption(click.Option):
    """An option whose help says its bounds. The model checks them, in words of its own."""

    def __init__(self, *names: Any, bounds: str, **more: Any) -> None:
        super().__init__(*names, **more)
        self._bounds = bounds

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Add the bounds to what stands in brackets."""
        extra = super().get_help_extra(ctx)
        if self._bounds:
            extra["range"] = self._bounds
        return extra


def setting_options(
    model: type[Settings], *, only: Sequence[str] | None = None, **own: OwnOption
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command one option per field of ``model``, and the command one argument, ``settings``, made of them.

    It ends with a :class:`~ktrdr.core.errors.BadInputError` that names the option if the model refuses a value.

    Args:
        model: those of its fields that must be given come first.
        only: names of the fields to take; by default all.
        own: options that are written in a way of their own, by field.
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
                if value is not None
            }
            return command(settings=read_settings(model, values, called=flag), **arguments)

        made: Callable[..., Any] = functools.update_wrapper(run, command)
        for name in reversed(names):
            made = _option(name, schema["properties"][name], name in required, own.get(name))(made)
        return made

    return decorate


def given_options(context: click.Context, model: type[Settings]) -> list[str]:
    """Return those options of ``model`` that the command line has, as words of another."""
    words = []
    for name in model.model_fields:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            words += [_flag(name), str(context.params[name])]
    return words


_TYPES: Mapping[str, Any] = {"integer": int, "number": float, "boolean": bool}
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
    elif schema.get("format") == "date":
        more = {"metavar": "YYYY-MM-DD"}
    default = described.get("default")
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
    """Return the schema of a value that is there: ``X`` of ``X | None``."""
    return next((part for part in described.get("anyOf", ()) if part["type"] != "null"), described)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}"

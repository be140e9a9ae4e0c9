"""Groups of commands that import a command only when it is run, and suggest a name for an unknown command."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from ktrdr.core.errors import BadInputError

__all__ = ["CommandGroup", "LazyGroup"]

# Commands of KTRDR's other distributions, to name the distribution that a missing command is in.
_ELSEWHERE: Mapping[str, str] = {
    "serve": "ktrdr-api",
    "up": "ktrdr-api",
    "cluster": "ktrdr-api",
    "worker": "ktrdr-worker",
}


class CommandGroup(click.Group):
    """A group that suggests a similar name, or lists all names, for an unknown command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command whose name is the first of ``args``.

        Raises:
            click.UsageError: there is no command of that name.
        """
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            from ktrdr.core.parameters import did_you_mean

            names = self.list_commands(ctx)
            hint = did_you_mean(name, names) or f"; `{ctx.command_path}` has {', '.join(names)}"
            raise click.UsageError(f"no such command `{name}`{hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(CommandGroup):
    """A group whose commands are a table ``name -> (module:attribute, help)``; each is imported when it is used.

    ``entry_points`` names an entry-point group, whose commands of other distributions are added. They are searched only
    to show the help, or for a name that is not in the table.
    """

    def __init__(
        self, *args: Any, table: Mapping[str, tuple[str, str]], entry_points: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._table = table
        self._entry_points = entry_points

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table and of installed plugin commands."""
        return [*self._table, *self._foreign()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name in self._table:
            return _load(self._table[cmd_name][0])
        foreign = self._foreign().get(cmd_name)
        return None if foreign is None else _load(foreign)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command whose name is the first of ``args``.

        Raises:
            BadInputError: the distribution of the command is not installed.
            click.UsageError: there is no command of that name.
        """
        name = args[0] if args else ""
        if self._entry_points is not None and name in _ELSEWHERE and self.get_command(ctx, name) is None:
            raise BadInputError(
                f"`{ctx.command_path} {name}` is in {_ELSEWHERE[name]}, which is not installed here;"
                f" `pip install {_ELSEWHERE[name]}`"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands from the table, without importing any."""
        rows = [(name, text) for name, (_, text) in self._table.items()]
        foreign = [(name, f"({target.partition(':')[0]})") for name, target in self._foreign().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        if foreign:
            with formatter.section("Commands of installed plugins"):
                formatter.write_dl(foreign)

    def _foreign(self) -> dict[str, str]:
        if self._entry_points is None:
            return {}
        from ktrdr.core.plugins.discovery import discover

        return {
            record.name: record.module
            # The allow and block lists are for backends, so they are not applied to commands.
            for record in discover(self._entry_points, environ={})
            if record.state == "available" and record.name not in self._table
        }


def _load(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)

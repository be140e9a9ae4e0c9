"""Generated tables of the options of commands, from click, and of the routes of the API, from OpenAPI."""

from __future__ import annotations

import re

import click

from ktrdr.core.cli.main import cli

__all__ = ["command_at", "leaves", "options_table", "routes_table"]


def leaves(command: click.Command = cli, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Return every command that is not a group, by its words after `ktrdr`, in the order of the help."""
    if not isinstance(command, click.Group):
        return {" ".join(path): command}
    context = click.Context(command)
    found: dict[str, click.Command] = {}
    for name in command.list_commands(context):
        part = command.get_command(context, name)
        assert part is not None
        found |= leaves(part, (*path, name))
    return found


def command_at(words: str) -> click.Command:
    """Return the command `ktrdr WORDS`; raises ``KeyError`` if there is none."""
    return leaves()[words]


def options_table(words: str) -> str:
    """Return the usage and the options of `ktrdr WORDS` in Markdown."""
    command = command_at(words)
    context = click.Context(command, info_name=f"ktrdr {words}", help_option_names=["-h", "--help"])
    call = " ".join([f"ktrdr {words}", *command.collect_usage_pieces(context)])
    options = [each for each in command.params if isinstance(each, click.Option)]
    records = [record for each in options if (record := each.get_help_record(context)) is not None]
    rows = [f"| {_code(option)} | {_text(meaning)} |" for option, meaning in records]
    table = ["", "| option | |", "|---|---|", *rows] if rows else []
    return "\n".join([f"```text\n{call}\n```", *table])


def routes_table() -> str:
    """Return a table of the routes of the API with their summaries, in the order of the OpenAPI document."""
    from ktrdr.api.app import create_app

    rows = [
        f"| `{method.upper()} {path.removeprefix('/api/v1')}` | {_text(route['description'].split(chr(10))[0])} |"
        for path, methods in create_app().openapi()["paths"].items()
        for method, route in methods.items()
    ]
    return "\n".join(["| route | |", "|---|---|", *rows])


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _text(text: str) -> str:
    """Escape the characters outside code that Markdown would interpret.

    Other characters are not escaped, because the tables are also read as source.
    """
    parts = " ".join(text.replace("``", "`").split()).replace("|", "\\|").split("`")
    parts[::2] = [_MARKED.sub(r"\\\g<0>", _TAG.sub("&lt;", part)) for part in parts[::2]]
    return "`".join(parts)


_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_MARKED = re.compile(r"\*|(?<!\w)_|_(?!\w)")

"""A word that is no command is answered with what was meant, or with what there is: by every group there is."""

from __future__ import annotations

import click
import pytest

from ktrdr.core.cli.command_groups import CommandGroup
from ktrdr.core.cli.main import cli


def groups(group, path=()):
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from groups(command, (*path, name))


GROUPS = dict(groups(cli))


def refusal(*arguments):
    with pytest.raises(click.UsageError) as refused:
        cli.main(list(arguments), prog_name="ktrdr", standalone_mode=False)
    return refused.value.format_message()


def test_there_are_groups_within_groups():
    assert {(), ("data",), ("models",), ("strategy",), ("trials",)} <= set(GROUPS)


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_an_unknown_command_is_told_what_there_is(path):
    group = GROUPS[path]
    assert isinstance(group, CommandGroup)
    names = group.list_commands(click.Context(group))
    command = " ".join(("ktrdr", *path))
    assert refusal(*path, "0000") == f"no such command `0000`; `{command}` has {', '.join(names)}"


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_misspelt_command_is_told_what_was_meant(path):
    names = GROUPS[path].list_commands(click.Context(GROUPS[path]))
    for name in names:
        for written in (name.upper(), name + "e", name[:-1]):
            if len(name) > 2 and written not in names:
                assert "did you mean `" in refusal(*path, written)
        assert refusal(*path, name.upper()) == f"no such command `{name.upper()}`, did you mean `{name}`?"

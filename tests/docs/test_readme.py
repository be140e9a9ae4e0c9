"""What the README shows is so."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ktrdr.core.cli.main import cli
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy_text

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_strategy_is_valid():
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    loaded = load_strategy_text(text, plugins=PluginManager())
    assert loaded.strategy.name == "neuro_mean_reversion"


@pytest.mark.parametrize("page", ["README.md", "packages/ktrdr-core/README.md", "docs/tutorial.md"])
def test_every_command_it_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^\$ )ktrdr ([a-z]+)(?: ([a-z]+))?", text, re.MULTILINE))
    context = click.Context(cli)
    known = set(cli.list_commands(context))
    assert {name for name, _ in named} - known == set()
    assert len(named) >= 4
    for name, part in named:
        command = cli.get_command(context, name)
        if isinstance(command, click.Group) and part:
            assert part in command.list_commands(context), f"ktrdr {name} {part}"


def test_the_table_of_core_has_every_command_of_core_once():
    text = (ROOT / "packages/ktrdr-core/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `ktrdr ([a-z]+) ?(\S*)", text, re.MULTILINE)
    context = click.Context(cli)
    foreign = {"cluster", "serve", "up", "worker"}
    named = {}
    for name, parts in rows:
        named.setdefault(name, []).extend(parts.rstrip("`").split("\\|") if "\\|" in parts else [])
    assert set(named) == set(cli.list_commands(context)) - foreign
    assert len({(name, parts) for name, parts in rows}) == len(rows)
    for name, parts in named.items():
        command = cli.get_command(context, name)
        assert sorted(parts) == sorted(command.list_commands(context) if isinstance(command, click.Group) else []), name


def test_links_to_files_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) >= 8
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []

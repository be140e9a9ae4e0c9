"""Every command has its heading in the user guide, and every command of the guide is run and its output compared."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(page.stem for page in GUIDE.glob("*.md"))


def options_hook():
    spec = importlib.util.spec_from_file_location("options_hook", ROOT / "docs" / "generate" / "options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPTIONS = options_hook()
COMMANDS = OPTIONS.leaves()


def text_of(page):
    return (GUIDE / f"{page}.md").read_text(encoding="utf-8")


def test_every_command_has_a_heading_and_its_table_below_it():
    found = {}
    for page in PAGES:
        for heading, below in re.findall(r"^## `ktrdr ([a-z ]+)`\n\n(.*)$", text_of(page), re.MULTILINE):
            found[heading] = below
    assert set(found) == set(COMMANDS)
    assert {name for name, below in found.items() if below != f"<!-- generated: options {name} -->"} == set()


def test_the_list_of_pages_names_every_command():
    rows = re.findall(r"^\| \[[\w ]+\]\(([a-z]+)\.md\) \| (.*) \|$", text_of("index"), re.MULTILINE)
    assert {page for page, _ in rows} == set(PAGES) - {"index"}
    for page, named in rows:
        headings = set(re.findall(r"^## `ktrdr ([a-z ]+)`$", text_of(page), re.MULTILINE))
        assert set(re.findall(r"`([a-z ]+)`", named)) == headings, page


def test_a_table_has_every_option_that_is_shown():
    table = OPTIONS.options_table("backtest")
    assert "`--seed INTEGER` | Seed of the resampling" in table
    assert "ktrdr backtest [OPTIONS] MODEL" in table
    shown = [option for option in COMMANDS["worker"].params if not getattr(option, "hidden", False)]
    table = OPTIONS.options_table("worker")
    assert sum(f"`{option.opts[0]}" in table for option in shown) == len(shown) - 1  # all but ADDRESS
    assert "--with-parent" not in table


def test_a_wrong_name_of_a_command_fails():
    assert "`--json` |" in OPTIONS.options_table("data list")
    with pytest.raises(KeyError):
        OPTIONS.options_table("data lisst")


# The page about Python has no commands; its code is run by a test of its own.
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page != "python"])
def test_the_commands_of(page, console, prepared, tmp_path):
    directory = tmp_path / "work"
    shutil.copytree(prepared, directory, symlinks=True)
    assert console.run(text_of(page), directory) >= 3


def test_what_markdown_would_take_for_something_else_is_shown_as_it_is():
    escaped = OPTIONS._text("a [b]: *c* of ``[d, e)`` | f_g _h_ <i> >=1, <=2")
    assert escaped == r"a [b]: \*c\* of `[d, e)` \| f_g \_h\_ &lt;i> >=1, <=2"

"""The command line costs little to start, and speaks to a person when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ktrdr.core.cli.command_groups import LazyGroup
from ktrdr.core.errors import BadInputError

HEAVY = ("torch", "pandas", "numpy", "pydantic", "fastapi", "rich", "duckdb", "talib", "sklearn", "plotly", "yaml")

LOADED = f"""
import json, sys
from ktrdr.core.cli.main import main
try:
    main({{arguments!r}})
except SystemExit as end:
    status = end.code
heavy = sorted({{{{name.partition('.')[0] for name in sys.modules}}}} & set({HEAVY!r}))
print(json.dumps([status, heavy, len(sys.modules)]))
"""


def ktrdr(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "ktrdr.core.cli.main", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments):
    answer = subprocess.run(
        [sys.executable, "-c", LOADED.format(arguments=arguments)], capture_output=True, text=True, check=True
    )
    status, heavy, modules = json.loads(answer.stdout.splitlines()[-1])
    assert (status, heavy) == (0, [])
    # Mostly click and importlib_metadata: a bound on what creeps in, in place of a bound on time.
    assert modules < 260


def test_every_command_of_the_table_exists_and_has_help():
    from ktrdr.core.cli.main import cli

    context = cli.make_context("ktrdr", ["--help"], resilient_parsing=True)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help, name


def test_an_unknown_command_gets_a_suggestion():
    answer = ktrdr("trian")
    assert answer.returncode == 2
    assert "no such command `trian`, did you mean `train`?" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_command_of_a_distribution_that_is_not_installed_says_which():
    group = LazyGroup("ktrdr", table={}, entry_points="ktrdr.no-such-group")
    with pytest.raises(BadInputError, match="`ktrdr worker` is in ktrdr-worker, which is not installed"):
        group.main(["worker", "tcp://127.0.0.1:8786"], prog_name="ktrdr", standalone_mode=False)


def test_a_command_of_another_distribution_is_found_and_runs(tmp_path):
    (tmp_path / "hello_command.py").write_text(
        "import click\n@click.command()\ndef hello():\n    '''Greet.'''\n    click.echo('hello from afar')\n"
    )
    info = tmp_path / "hello-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ktrdr.commands]\nhello = hello_command:hello\n")
    assert "hello" in ktrdr("--help", PYTHONPATH=str(tmp_path)).stdout
    assert ktrdr("hello", PYTHONPATH=str(tmp_path)).stdout == "hello from afar\n"
    assert ktrdr("hello").returncode == 2


def test_plugins_are_listed_as_json():
    answer = ktrdr("plugins", "--json", KTRDR_LOAD_PLUGINS="none")
    assert answer.returncode == 0
    assert all(row["state"] == "blocked" for row in json.loads(answer.stdout))


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path):
    target = tmp_path / "file"
    target.write_text("not a directory")
    answer = ktrdr("demo", KTRDR_HOME=str(target))
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    assert answer.stderr.strip().startswith("Error: ")

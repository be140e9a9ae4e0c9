"""An error travels whole: kind, message and exit status, from where it is raised to whoever asked."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import ktrdr.core
from ktrdr.core.cli import main as command_line
from ktrdr.core.client.following import _outcome
from ktrdr.core.errors import (
    BadInputError,
    CancelledError,
    ErrorRecord,
    KtrdrError,
    RemoteError,
    one_line,
    record_of,
)

MESSAGE = "no 1h bars of EURUSD in “store”;\n  `ktrdr data import FILE` adds some"


def subclasses(parent):
    for child in parent.__subclasses__():
        yield child
        yield from subclasses(child)


def own_errors():
    """Return an error of every class that KTRDR raises in what is installed of ``ktrdr.core``."""
    for module in pkgutil.walk_packages(ktrdr.core.__path__, "ktrdr.core."):
        importlib.import_module(module.name)
    classes = [KtrdrError, *subclasses(KtrdrError)]
    assert len(classes) > 10
    # Without their constructors, which take what a test cannot guess. Remote ones stand for others.
    return [kind.__new__(kind, MESSAGE) for kind in classes if kind is not RemoteError]


def ended_with(error, monkeypatch, capsys):
    """Return exit status and standard error of a command that raises ``error``."""

    def fail(**options):
        raise error

    monkeypatch.setattr(command_line.cli, "main", fail)
    with pytest.raises(SystemExit) as end:
        command_line.main([])
    return end.value.code, capsys.readouterr().err


def followed(told):
    """Return what following an operation raises that the server tells so."""
    with pytest.raises(KtrdrError) as caught:
        _outcome({"state": "failed", "error": told})
    return caught.value


def test_every_error_of_ours_ends_a_command_as_it_does_there(monkeypatch, capsys):
    for error in own_errors():
        record = record_of(error)
        assert record == (type(error).__name__, MESSAGE, type(error).exit_status)
        told = json.loads(json.dumps(record.to_json()))
        assert ErrorRecord.from_json(told) == record
        remote = followed(told)
        assert ended_with(remote, monkeypatch, capsys) == ended_with(error, monkeypatch, capsys), type(error)
        # Whoever passes it on does not change it.
        assert record_of(remote) == record


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("division by zero"), RuntimeError(), ValueError("two\nlines"), UnicodeError(), EOFError(1)],
)
def test_a_mistake_in_a_program_is_told_on_one_line(error):
    record = record_of(error)
    assert (record.kind, record.exit_status) == ("fault", 1)
    assert record.message.startswith(f"a fault of the program: {type(error).__name__}")
    assert "\n" not in record.message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/srv/x"), "the system refused: No space left on device (/srv/x)"),
        (PermissionError(13, "Permission denied"), "the system refused: Permission denied"),
        (OSError("it does\nnot answer"), "the system refused: it does not answer"),
    ],
)
def test_what_the_system_refused_reads_the_same_everywhere(error, message, monkeypatch, capsys):
    assert record_of(error) == ("system", message, 1)
    assert ended_with(error, monkeypatch, capsys) == (1, f"Error: {message}\n")
    assert ended_with(followed(record_of(error).to_json()), monkeypatch, capsys) == (1, f"Error: {message}\n")


def test_what_was_interrupted_was_cancelled():
    assert record_of(KeyboardInterrupt()) == ("CancelledError", "interrupted", 130)
    with pytest.raises(CancelledError):
        _outcome({"state": "cancelled", "error": None})


@pytest.mark.parametrize(
    ("told", "kind", "status"),
    [
        ({"type": "BadInputError", "message": "m"}, "BadInputError", 2),
        ({"type": "MissingPluginError", "message": "m"}, "MissingPluginError", 2),
        ({"type": "worker-lost", "message": "m"}, "worker-lost", 1),
        ({"type": "ValueError", "message": "m"}, "ValueError", 1),
    ],
)
def test_what_was_told_before_exit_statuses_were_is_understood(told, kind, status):
    assert ErrorRecord.from_json(told) == (kind, "m", status)


def test_of_an_error_of_which_nothing_was_told_is_said_so(monkeypatch, capsys):
    assert ended_with(followed(None), monkeypatch, capsys) == (1, "Error: no reason was given\n")
    assert ErrorRecord.from_json({}) == ErrorRecord.from_json(None) == ("unknown", "no reason was given", 1)


def test_a_newer_side_may_tell_more():
    told = {"type": "FutureError", "message": "m", "exit_status": 77, "hint": ["x"]}
    assert ErrorRecord.from_json(told) == ("FutureError", "m", 77)


@pytest.mark.parametrize(
    "told",
    [
        "m",
        ["BadInputError", "m", 2],
        {"type": 3, "message": "m"},
        {"type": "BadInputError", "message": None},
        *(
            {"type": "BadInputError", "message": "m", "exit_status": status}
            for status in ("2", 2.0, True, None, 0, 256, -9)
        ),
    ],
)
def test_what_is_no_error_is_refused_in_a_sentence(told):
    with pytest.raises(KtrdrError, match="an error has an unknown format") as caught:
        ErrorRecord.from_json(told)
    assert "\n" not in str(caught.value)


def test_one_line_of_an_exception():
    assert one_line(ValueError("two\n  lines ")) == "two lines"
    assert one_line(ValueError("x"), named=True) == "ValueError: x"
    assert one_line(ValueError()) == one_line(ValueError(), named=True) == "ValueError"
    long = one_line(BadInputError("x" * 1000))
    assert (len(long), long[-4:]) == (500, "x...")


def test_errors_cost_a_command_nothing_to_start():
    code = "import sys, ktrdr.core.errors; print('dataclasses' in sys.modules, 'json' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"

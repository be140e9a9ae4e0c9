"""Every command of the API guide is run against a real server on loopback, and its answers are compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = ROOT / "packages" / "ktrdr-api" / "src" / "ktrdr" / "api"
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
REST = "..."


def same(expected, actual):
    """Compare JSON: `"..."` is anything, and as a key or as the last item of a list, whatever else there is."""
    if expected == REST:
        return True
    if isinstance(expected, str) and isinstance(actual, str):
        return re.fullmatch(".*".join(map(re.escape, expected.split(REST))), actual, re.DOTALL) is not None
    if isinstance(expected, dict) and isinstance(actual, dict):
        shown = expected.keys() - {REST}
        whole = shown <= actual.keys() if REST in expected else shown == actual.keys()
        return whole and all(same(expected[key], actual[key]) for key in shown)
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) > 1 and expected[-1] == REST:
            expected = expected[:-1]
            actual = actual[: len(expected)]
        return len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    return expected == actual


def test_the_comparison_can_fail():
    assert same({"a": 1, "b": REST}, {"a": 1, "b": [2]})
    assert same({"a": 1, REST: REST}, {"a": 1, "c": 3})
    assert same(["x", REST], ["x", "y", "z"])
    assert same("operation ... is done", "operation 7 is done")
    assert not same({"a": 1}, {"a": 1, "c": 3})
    assert not same({"a": 1, REST: REST}, {"c": 3})
    assert not same([REST], [])
    assert not same(["x"], ["x", "y"])
    assert not same(1, True)
    assert not same("operation ... is done", "operation 7 is running")


def steps(console):
    """Yield ``(command, output shown, JSON shown or None)``; the JSON of a block is the answer of the command above."""
    found = []
    for kind, block in re.findall(r"```(console|json)\n(.*?)```", PAGE, re.DOTALL):
        if kind == "json":
            command, _, _ = found.pop()
            found.append((command, "", json.loads(block)))
        else:
            found += [(*step, None) for step in console.commands(f"```console\n{block}```")]
    return found


@pytest.fixture
def server(console, tmp_path):
    """Start the server as the page does, on a port of its own; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path / "server.log"
    command, _, _ = steps(console)[0]
    assert command == "ktrdr up --workers 1"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=tmp_path,
            env=console.environment(tmp_path) | {"KTRDR_API_PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=console.hear_ctrl_c,
        )
    try:
        wait_for_a_worker(port, process, log)
        yield port
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in log.read_text()


def wait_for_a_worker(port, process, log):
    """Wait until everything is up, so that what the page shows does not depend on how fast this machine is."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/workers", timeout=10) as answer:
                if json.load(answer):
                    return
        except urllib.error.URLError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"no worker came:\n{log.read_text()}")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="NOT RUN: there is no curl on this machine")
def test_the_commands_of_the_page(console, docs, server, tmp_path):
    (tmp_path / "packages").symlink_to(ROOT / "packages")
    console.write_files((docs / "tutorial.md").read_text(encoding="utf-8"), tmp_path)
    todo = steps(console)[1:]
    assert len(todo) > 40
    # One shell for the whole page, as its variables go on from block to block.
    script = "".join(
        f'{{ {command}\n}} >out.{number} 2>&1 || {{ echo "$?" >failed.{number}; exit 1; }}\n'
        for number, (command, _, _) in enumerate(todo)
    ).replace("127.0.0.1:8000", f"127.0.0.1:{server}")
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env=console.environment(tmp_path), timeout=240, check=False)
    for number, (command, shown, answer) in enumerate(todo):
        file = tmp_path / f"out.{number}"
        assert file.exists(), f"not reached: $ {command}"
        said = file.read_bytes().decode().replace("\r\n", "\n")
        assert not (tmp_path / f"failed.{number}").exists(), f"$ {command}\n{said}"
        if answer is not None:
            wanted = json.dumps(answer, indent=1)
            assert said.startswith(("{", "[")), f"$ {command}\n{said}"
            assert same(answer, json.loads(said)), f"$ {command}\n--- expected\n{wanted}\n--- said\n{said}"
        else:
            said, shown = (re.sub(r"^[ ]*\n", "", text, flags=re.MULTILINE) for text in (said, shown))
            said = said if said.endswith("\n") or not said else said + "\n"
            assert console.matches(shown, said), f"$ {command}\n--- expected\n{shown}\n--- said\n{said}"


def test_the_table_has_every_problem_there_is():
    table = PAGE.partition("| `urn:ktrdr:problem:` |")[2].partition("\n\n")[0]
    shown = {
        (name, int(status))
        for names, status in re.findall(r"^\| (`.+?`) \| (\d+) \|", table, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    source = "\n".join(path.read_text(encoding="utf-8") for path in API.rglob("*.py"))
    told = {(kind, int(status)) for status, kind in re.findall(r'\b([45]\d\d),\s*"([a-z]+(?:-[a-z]+)*)",', source)}
    assert len(told) > 15
    # Those of a strategy and of a plugin have the status of any other bad input.
    assert shown == told | {("strategy", 422), ("plugin", 422)}

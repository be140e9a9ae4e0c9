"""Where the documentation is, and how its commands are run and their output compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def docs() -> Path:
    return ROOT / "docs"


class Console:
    """The commands of a page: those after `$` in its blocks of `console`, each with the output that is shown.

    A comment says what is out of the ordinary: `# exit status 2`, or `# until Ctrl+C` for what would run for ever.
    """

    ROOT = ROOT

    @staticmethod
    def matches(expected: str, actual: str) -> bool:
        """Compare line by line: `...` on a line of its own stands for any lines, within a line for anything."""
        parts = [r"(?:.*\n)*?" if line.strip() == "..." else _line(line) + r"[ ]*\n" for line in expected.splitlines()]
        return re.fullmatch("".join(parts), actual, re.ASCII) is not None

    @staticmethod
    def commands(page: str) -> Iterator[tuple[str, str]]:
        """Yield ``(command, expected output)`` of every console block, in order."""
        for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                lines = step.split("\n")
                # A backslash at the end of a line goes on on the next.
                length = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
                yield "\n".join(lines[:length]), "\n".join(lines[length:])

    @staticmethod
    def write_files(page: str, directory: Path) -> None:
        """Write the files that the page shows under their names."""
        for name, content in re.findall(r'```\w+ title="([\w.]+)"\n(.*?)```', page, re.DOTALL):
            (directory / name).write_text(content, encoding="utf-8")

    @staticmethod
    def hear_ctrl_c() -> None:
        """Run in a new process before its program: a shell lets what it starts in the background ignore Ctrl+C."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    @staticmethod
    def environment(directory: Path) -> dict[str, str]:
        """Return an environment in which `ktrdr` is ours, and what it writes goes below ``directory``."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        assert shutil.which("ktrdr", path=path)
        # Whoever uses the port that is shown is not disturbed.
        ours = {"KTRDR_HOME": str(directory / "home"), "KTRDR_API_PORT": "0", "COLUMNS": "120"}
        return {**os.environ, "PATH": path, **ours}

    @classmethod
    def run(cls, page: str, directory: Path, *, skip: int = 0) -> int:
        """Run every command of the page but the first ``skip`` there, and compare; return how many they were."""
        environ = cls.environment(directory)
        cls.write_files(page, directory)
        ran = 0
        for command, expected in list(cls.commands(page))[skip:]:
            if "# until Ctrl+C" in command:
                said = _run_until(command, expected, directory, environ)
            else:
                said = _run(command, directory, environ)
            # Blank lines are for the eye; where everything is kept is up to the reader.
            said = said.replace(environ["KTRDR_HOME"], "~/.ktrdr")
            said, expected = (re.sub(r"^[ ]*\n", "", text, flags=re.MULTILINE) for text in (said, expected))
            assert cls.matches(expected, said), f"$ {command}\n--- expected\n{expected}\n--- said\n{said}"
            ran += 1
        return ran


def _line(line: str) -> str:
    # How wide a table's columns are depends on what is in them.
    if re.fullmatch(" *─+ *", line):
        return "[ ]*─+"
    return r".*".join(r"[ ]+".join(re.escape(word) for word in re.split(" +", part)) for part in line.split("..."))


def _run(command: str, directory: Path, environ: dict[str, str]) -> str:
    said = FORKED.run(command, directory, environ) if FORKED.can(command) else _in_shell(command, directory, environ)
    status = re.search(r"# exit status (\d+)", command)
    wanted = 0 if status is None else int(status[1])
    assert said.returncode == wanted, f"$ {command}\n{said.returncode}\n{said.stdout}{said.stderr}"
    # Progress is on standard error.
    return said.stderr + said.stdout if wanted else said.stdout


def _in_shell(command: str, directory: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], cwd=directory, env=environ, capture_output=True, text=True, timeout=300, check=False
    )


class Forked:
    """Runs `ktrdr` in processes that begin with most of their imports done, which is half of what a page takes.

    A command for which the shell does more than split it into words is run by the shell, in a fresh interpreter.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    @staticmethod
    def can(command: str) -> bool:
        """Return True if the shell would start `ktrdr` with the words that are there."""
        return re.fullmatch(r"ktrdr (?:[^|&;<>$`*?~#()]|\\\n)*(?:#.*)?", command) is not None

    def run(self, command: str, directory: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        with tempfile.TemporaryDirectory() as scratch:
            out, err = Path(scratch, "out"), Path(scratch, "err")
            asked = {"arguments": shlex.split(command, comments=True)[1:], "directory": str(directory)}
            status = self._ask(asked | {"environ": environ, "out": str(out), "err": str(err)})
            said = (file.read_text(encoding="utf-8") if file.exists() else "" for file in (out, err))
            return subprocess.CompletedProcess(command, status, *said)

    def _ask(self, asked: dict[str, Any]) -> int:
        if self._process is None:
            command = [sys.executable, str(Path(__file__).with_name("prefork.py"))]
            # One thread: numpy starts its pool when it is imported, and a fork would lose it.
            environ = {**os.environ, "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(300, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            watchdog.cancel()
        assert answer, f"no answer in 300 s: {asked['arguments']}"
        return int(answer)

    def close(self) -> None:
        """End the process that forks."""
        if self._process is not None:
            self._process.communicate(timeout=60)


FORKED = Forked()


@pytest.fixture(scope="session", autouse=True)
def forked() -> Iterator[None]:
    """Nothing that was started outlives the tests."""
    yield
    FORKED.close()


def _run_until(command: str, expected: str, directory: Path, environ: dict[str, str]) -> str:
    """Start what runs for ever, wait until it has said what is shown, and press Ctrl+C."""
    process = subprocess.Popen(
        ["sh", "-c", f"exec env {command}"],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=Console.hear_ctrl_c,
    )
    said: list[str] = []
    assert process.stdout is not None
    lines = process.stdout
    reader = threading.Thread(target=lambda: said.extend(iter(lines.readline, "")))
    reader.start()
    shown = ""
    try:
        end = time.monotonic() + 120
        while not Console.matches(expected, shown) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
            # It took a free port, in place of the one that is shown.
            shown = re.sub(r"(?<=Uvicorn running on http://127\.0\.0\.1:)\d+", "8000", "".join(said))
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        reader.join(timeout=10)
    assert process.returncode == 130, f"$ {command}\n{process.returncode}\n{''.join(said)}"
    return shown


@pytest.fixture(scope="session")
def console() -> type[Console]:
    return Console


@pytest.fixture(scope="session")
def prepared(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the tutorial leaves it, to be copied: bars imported, a strategy written, a model trained."""
    directory = tmp_path_factory.mktemp("prepared")
    (directory / "packages").symlink_to(ROOT / "packages")
    page = (docs / "tutorial.md").read_text(encoding="utf-8")
    Console.write_files(page, directory)
    steps = [command for command, _ in Console.commands(page) if re.match(r"ktrdr (data import|train) ", command)]
    assert len(steps) == 2
    Console.run("".join(f"```console\n$ {step}\n...\n```\n" for step in steps), directory)
    return directory

"""Start-up times: of the command line, the import of the API, and a server until it answers.

    python benchmarks/startup.py [--quick] [--only TEXT] [--json FILE]

Every run is a new process, from its start to its end, in isolated mode. The peers of the command line are an
interpreter that does nothing and ones that import the libraries of a command; those of the API are the import of its
libraries and, for the server, FastAPI under uvicorn with a single route.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from functools import partial
from typing import Any

import short_backtest
from harness import Contest, Figure, Taken, files, find, main, peak_of, process, reported

LIBRARIES = "import fastapi, uvicorn, pydantic_settings, sqlalchemy"
LISTING, CLICK = "import click, importlib_metadata", "import click"
VERSION, HELP = "ktrdr --version", "ktrdr --help"
IMPORT, SERVER = "import of the API", "server, until it answers and stops"
BARE_APP = """
import sys
from fastapi import FastAPI
import uvicorn
app = FastAPI()
@app.get("/api/v1/health")
def health() -> dict[str, str]:
    return {"status": "ok"}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def python(code: str, *arguments: str) -> Any:
    """Return a program that runs ``code`` in a new interpreter."""
    return lambda _: process(sys.executable, "-I", "-c", code, *arguments)


def ktrdr(*arguments: str) -> Any:
    """Return a program that runs the command line."""
    code = "import sys; from ktrdr.core.cli.main import main; sys.argv[0] = 'ktrdr'; main()"
    return python(code, *arguments)


def demo_home(_: int) -> str:
    """Return a home with the data and the model of the demo, which is made if it does not exist."""
    home = files() / "demo"
    if not home.exists():
        reported(short_backtest.__file__, f"train({str(home)!r})")
    return str(home)


def help_beside_click() -> float:
    """Return the CPU time of `ktrdr --help` over that of the import of click."""
    ours, click = (partial(program, None) for program in (ktrdr("--help"), python(CLICK)))
    mine, theirs = short_backtest.in_turns(ours, click)
    return mine.cpu / theirs.cpu


def answer(command: list[str], _: Any = None) -> Taken:
    """Start a server, wait until it answers, and stop it; return the time until then, and all its CPU time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "KTRDR_HOME": home}
        began = time.perf_counter()
        server = subprocess.Popen(
            [*command, str(port)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} ended before it answered") from None
                time.sleep(0.01)
        taken = time.perf_counter() - began
        server.terminate()
        _, status, usage = os.wait4(server.pid, 0)
        server.returncode = os.waitstatus_to_exitcode(status)
    return Taken(taken, usage.ru_utime + usage.ru_stime, peak_of(usage))


def contests(quick: bool) -> list[Contest]:
    """Return the contests: the command line, the import, and the server, without sizes."""
    rounds = 2 if quick else 7
    serve = [sys.executable, "-m", "ktrdr.core.cli.main", "serve", "--port"]
    return [
        Contest(
            VERSION,
            {
                "ktrdr": ktrdr("--version"),
                "python, nothing": python("pass"),
                "python, import click": python("import click"),
            },
            group="command line",
            rounds=rounds,
        ),
        Contest(
            HELP,
            {"ktrdr": ktrdr("--help"), LISTING: python(LISTING), CLICK: python(CLICK)},
            group="command line",
            rounds=rounds,
        ),
        Contest(
            short_backtest.BACKTEST,
            {"ktrdr": short_backtest.of_demo, short_backtest.LIBRARIES: short_backtest.of_libraries},
            demo_home,
            group="command line",
            rounds=rounds,
        ),
        Contest(
            IMPORT,
            {"import ktrdr.api.main": python("import ktrdr.api.main"), LIBRARIES: python(LIBRARIES)},
            rounds=rounds,
        ),
        Contest(
            SERVER,
            {
                "ktrdr serve": partial(answer, serve),
                "FastAPI, one route": partial(answer, [sys.executable, "-c", BARE_APP]),
            },
            rounds=1 if quick else 5,
        ),
    ]


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the times with their limits."""
    helping = find(rows, HELP, "ktrdr")["cpu"]["best"]
    yield Figure("ktrdr --help", helping * 1e3, "ms of CPU", at_most=150)
    click = find(rows, HELP, CLICK)["cpu"]["best"]
    yield Figure("ktrdr --help beside the import of click", helping / click, "times", at_most=2.2)
    trading = find(rows, short_backtest.BACKTEST, "ktrdr")
    libraries = find(rows, short_backtest.BACKTEST, short_backtest.LIBRARIES)["cpu"]["best"]
    yield Figure(short_backtest.BACKTEST, trading["cpu"]["best"], "s of CPU", at_most=0.9)
    yield Figure("the same beside its libraries", trading["cpu"]["best"] / libraries, "times", at_most=3.5)
    yield Figure("most memory of the same", trading["peak_mib"] * 2**20 / 1e6, "MB", at_most=130)
    ratio = find(rows, IMPORT, LIBRARIES)["ratio_cpu"]["median"]
    yield Figure("import of the API beside its libraries", 1 / ratio, "times", at_most=1.3, of=LIBRARIES)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

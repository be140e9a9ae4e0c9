"""A real cluster on loopback: `ktrdr serve`, a stock Dask scheduler, `ktrdr worker`, each a process of its own.

Faults are injected by killing those processes, and what is left is asked for through the public API. Moments are drawn
at random: `KTRDR_FAULT_SEED` has the same ones again, `KTRDR_FAULT_REPEATS=10` ten times as many.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "ktrdr.core.cli.main"]
ENDED = ("completed", "failed", "cancelled")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Tally:
    """What the suite did to the cluster, printed at its end."""

    faults: int = 0
    operations: int = 0
    lost: int = 0


TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Counts of faults injected, and of operations started and lost."""
    return TALLY


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TALLY.operations:
        terminalreporter.write_line(
            f"cluster: {TALLY.faults} faults injected under {TALLY.operations} operations, {TALLY.lost} lost"
        )


@dataclass
class Cluster:
    """Processes of one cluster, and a client of its API. ``host`` is where its scheduler listens."""

    home: Path
    environ: dict[str, str]
    scheduler_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    host: str = "127.0.0.1"
    certificates: Path | None = None

    @property
    def scheduler_address(self) -> str:
        return f"{'tcp' if self.certificates is None else 'tls'}://{self.host}:{self.scheduler_port}"

    def spawn(self, name: str, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        log = (self.home / f"{name}.log").open("ab")
        process = subprocess.Popen(
            command,
            env={**self.environ, **environ},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        secure: list[str] = []
        if self.certificates is not None:
            files = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
            secure = ["--protocol", "tls"]
            for name, file in files.items():
                secure += [f"--tls-{name}", str(self.certificates / file)]
        process = self.spawn(
            "scheduler",
            *(sys.executable, "-m", "dask", "scheduler", "--host", self.host, *secure),
            *("--port", str(self.scheduler_port), "--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
        )
        wait_until(lambda: answers(self.scheduler_port, self.host), "the scheduler listens")
        return process

    def start_api(self, *options: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start the API, by default on the scheduler of :meth:`start_scheduler`."""
        if self.certificates is not None:
            environ["KTRDR_API_CERTIFICATES"] = str(self.certificates)
        options = options or ("--scheduler", self.scheduler_address)
        process = self.spawn("api", *COMMAND, "serve", "--port", str(self.api_port), *options, **environ)
        wait_until(lambda: answers(self.api_port), "the API listens")
        return process

    def start_up(self, *options: str) -> subprocess.Popen[bytes]:
        """Run `ktrdr up`: all of it in one."""
        process = self.spawn("up", *COMMAND, "up", "--port", str(self.api_port), *options)
        wait_until(lambda: answers(self.api_port), "the API listens")
        return process

    def worker_command(self, name: str, *options: str) -> list[str]:
        secure = () if self.certificates is None else ("--certificates", str(self.certificates))
        return [*COMMAND, "worker", self.scheduler_address, "--name", name, *secure, *options]

    def start_worker(
        self, name: str, *options: str, inside: Sequence[str] = (), **environ: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker and wait until the API knows it; ``inside`` is what its command is run by."""
        process = self.spawn_worker(name, *options, inside=inside, **environ)
        self.wait_for_worker(name)
        return process

    def spawn_worker(
        self, name: str, *options: str, inside: Sequence[str] = (), **environ: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker without waiting for it."""
        return self.spawn(name, *inside, *self.worker_command(name, *options), **environ)

    def wait_for_worker(self, name: str) -> None:
        wait_until(lambda: name in [worker["name"] for worker in self.get("/workers")], f"{name} has joined")

    def wait_for_log(self, name: str, text: str) -> str:
        """Wait until what the process ``name`` says contains ``text``, and return all it said."""
        path = self.home / f"{name}.log"
        return wait_until(lambda: path.exists() and text in (said := path.read_text()) and said, f"{name} says {text}")

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def get(self, path: str) -> Any:
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def start_training(self, text: str, **more: Any) -> str:
        status, operation = self.request("POST", "/trainings", {"strategy_text": text, **more})
        assert status == 202, operation
        TALLY.operations += 1
        return operation["id"]

    def start_backtest(self, model: str) -> str:
        status, operation = self.request("POST", "/backtests", {"model": model})
        assert status == 202, operation
        TALLY.operations += 1
        return operation["id"]

    def operation(self, identifier: str) -> dict[str, Any]:
        return self.get(f"/operations/{identifier}")

    def wait_for(self, identifier: str, *states: str, timeout: float = 180) -> dict[str, Any]:
        """Wait until an operation is in one of ``states``; another end than those fails the test."""

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                operation = self.operation(identifier)
                if operation["state"] in states:
                    return operation
                assert operation["state"] not in ENDED, operation
            return None

        return wait_until(look, f"operation is {' or '.join(states)}", timeout=timeout)

    def wait_until_training(self, identifier: str, *, epochs: int = 1, attempt: int | None = None) -> dict[str, Any]:
        """Wait until a training has done some epochs (of an attempt)."""

        def look() -> dict[str, Any] | None:
            operation = self.operation(identifier)
            assert operation["state"] not in ENDED, operation
            progress = operation["progress"] or {}
            fits = attempt is None or operation["attempt"] == attempt
            return operation if fits and progress.get("step") == "training" and progress["done"] >= epochs else None

        return wait_until(look, f"{epochs} epochs are done")

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(look: Callable[[], Any], what: str, timeout: float = 90) -> Any:
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain until {what}"
        time.sleep(0.05)


def kill(process: subprocess.Popen[bytes] | int) -> None:
    """SIGKILL one process."""
    TALLY.faults += 1
    if isinstance(process, int):
        os.kill(process, signal.SIGKILL)
    else:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def kill_process() -> Callable[[Any], None]:
    """Return a function that kills a process (or the one of that id) and counts the fault."""
    return kill


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """Return ``wait(look, what, timeout=...)``: call ``look`` until what it returns is true."""
    return wait_until


@pytest.fixture(scope="session")
def moments() -> random.Random:
    """Where moments are drawn from; the seed is printed so that a failure can be had again."""
    seed = int(os.environ.get("KTRDR_FAULT_SEED", time.time_ns() % 1_000_000))
    print(f"KTRDR_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def strategy_text() -> str:
    """The sample's strategy, made to train for a few seconds: long enough to be disturbed."""
    text = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    start = text.index("  early_stopping:")
    text = text[:start] + text[text.index("\n", start) + 1 :]
    return text.replace("epochs: 60", "epochs: 50").replace("batch_size: 64", "batch_size: 32")


@pytest.fixture(scope="session")
def sklearn_text() -> str:
    """The same strategy with a model that scikit-learn trains in a moment."""
    import yaml

    strategy = yaml.safe_load(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text())
    strategy |= {"name": "plain", "model": {"type": "logistic_regression"}}
    strategy["training"] = {name: strategy["training"][name] for name in ("labels", "data_split", "seed")}
    return yaml.safe_dump(strategy)


@pytest.fixture(scope="session")
def base_environ() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def cluster(tmp_path: Path, base_environ: dict[str, str]) -> Iterator[Cluster]:
    """Nothing started yet; the sample is in the data store."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample

    home = tmp_path / "home"
    install_sample(BarStore(home / "data"))
    made = Cluster(home, {**base_environ, "KTRDR_HOME": str(home)})
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed_hash(tmp_path_factory: pytest.TempPathFactory, base_environ: dict[str, str], strategy_text: str) -> str:
    """Weights hash of the same training on the command line, in peace."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample

    home = tmp_path_factory.mktemp("undisturbed")
    install_sample(BarStore(home / "data"))
    path = home / "strategy.yaml"
    path.write_text(strategy_text, encoding="utf-8")
    answer = subprocess.run(
        [*COMMAND, "train", str(path), "--json"],
        env={**base_environ, "KTRDR_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(answer.stdout)["weights_hash"]


@pytest.fixture(scope="session")
def ktrdr(base_environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``ktrdr(*arguments, home=...)``: the command line in a process of its own."""

    def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**base_environ, "KTRDR_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run

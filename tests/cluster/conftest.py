"""A real cluster on loopback: `ktrdr serve`, a stock Dask scheduler, `ktrdr worker`, each a process of its own.

Faults are injected by killing those processes, and what is left is asked for through the public API. Moments are drawn
at random: `KTRDR_FAULT_SEED` has the same ones again, `KTRDR_FAULT_REPEATS=10` ten times as many.

Starting a cluster costs more than most tests do, so one stands for all of them (`standing`); tests that need another
kind start their own (`cluster`). Nothing is shared between processes: `pytest -n 2 --dist loadscope` uses both cores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
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


# Below what Linux gives to outgoing connections: none of those can take a port while its server is being restarted.
PORTS = range(20_000, 32_000)
# Those of the standing cluster.
WORKERS = ("first", "second")
NUMBERS = itertools.count(1)


def pytest_configure() -> None:
    # Processes of pytest-xdist inherit it: all of them draw from one seed.
    os.environ.setdefault("KTRDR_FAULT_SEED", str(time.time_ns() % 1_000_000))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


def free_port() -> int:
    while True:
        port = random.SystemRandom().choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Tally:
    """What tests did to their clusters."""

    faults: int = 0
    operations: int = 0
    lost: int = 0


TALLY = Tally()
"""Of the test that runs."""

TOTAL = Tally()
"""Of all tests, printed at the end."""


@pytest.fixture(autouse=True)
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts of faults injected, and of operations started and lost."""
    TALLY.faults = TALLY.operations = TALLY.lost = 0
    yield TALLY
    # Reports travel from the processes of pytest-xdist to the one that prints.
    request.node.user_properties.append(("cluster", dataclasses.asdict(TALLY)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        counts = dict(report.user_properties).get("cluster", {})
        for name, count in counts.items():
            setattr(TOTAL, name, getattr(TOTAL, name) + count)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TOTAL.operations:
        terminalreporter.write_line(
            f"cluster: {TOTAL.faults} faults injected under {TOTAL.operations} operations, {TOTAL.lost} lost"
        )
        terminalreporter.write_line(
            f"cluster: KTRDR_FAULT_SEED={os.environ['KTRDR_FAULT_SEED']} has these moments again"
        )


@dataclass
class Cluster:
    """Processes of one cluster, and a client of its API.

    ``host`` is where its scheduler listens, ``running`` has the newest process of each name.
    """

    home: Path
    environ: dict[str, str]
    scheduler_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
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
        self.running[name] = process
        return process

    def wait_until_listening(self, name: str, port: int, host: str = "127.0.0.1") -> None:
        """Wait until the process ``name`` accepts connections; if it ends instead, show what it said."""

        def look() -> bool:
            assert self.is_up(name), f"{name} has ended: {(self.home / f'{name}.log').read_text()[-2000:]}"
            return answers(port, host)

        wait_until(look, f"{name} listens")

    def is_up(self, name: str) -> bool:
        return name in self.running and self.running[name].poll() is None

    def mend(self) -> None:
        """Start whatever does not run of a scheduler, the API and two workers."""
        if not self.is_up("scheduler"):
            self.start_scheduler()
        if not self.is_up("api"):
            self.start_api()
        for name in WORKERS:
            if not self.is_up(name):
                wait_until(lambda name=name: name not in self.worker_names(), f"{name} is no longer known")
                self.spawn_worker(name)
        wait_until(lambda: sorted(self.worker_names()) == sorted(WORKERS), f"{' and '.join(WORKERS)} have joined")

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
        self.wait_until_listening("scheduler", self.scheduler_port, self.host)
        return process

    def start_api(self, *options: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start the API, by default on the scheduler of :meth:`start_scheduler`."""
        if self.certificates is not None:
            environ["KTRDR_API_CERTIFICATES"] = str(self.certificates)
        options = options or ("--scheduler", self.scheduler_address)
        process = self.spawn("api", *COMMAND, "serve", "--port", str(self.api_port), *options, **environ)
        self.wait_until_listening("api", self.api_port)
        return process

    def start_up(self, *options: str, **environ: str) -> subprocess.Popen[bytes]:
        """Run `ktrdr up`: all of it in one."""
        process = self.spawn("up", *COMMAND, "up", "--port", str(self.api_port), *options, **environ)
        self.wait_until_listening("up", self.api_port)
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
        wait_until(lambda: name in self.worker_names(), f"{name} has joined")

    def worker_names(self) -> list[str]:
        return [worker["name"] for worker in self.get("/workers")]

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

    def start_sweep(self, model: str, settings: dict[str, Any], **more: Any) -> str:
        status, operation = self.request("POST", "/sweeps", {"model": model, "settings": settings, **more})
        assert status == 202, operation
        TALLY.operations += 1
        return operation["id"]

    def models(self, name: str) -> list[str]:
        """Return the references of the models of one strategy."""
        return [entry["model"] for entry in self.get("/models") if entry["model"].partition("/")[0] == name]

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

    def wait_until_done(
        self, identifier: str, done: int, *, step: str = "training", attempt: int | None = None
    ) -> dict[str, Any]:
        """Wait until a running operation has ``done`` so much of a step (in an attempt)."""

        def look() -> dict[str, Any] | None:
            operation = self.operation(identifier)
            assert operation["state"] not in ENDED, operation
            progress = operation["progress"] or {}
            fits = attempt is None or operation["attempt"] == attempt
            return operation if fits and progress.get("step") == step and progress["done"] >= done else None

        return wait_until(look, f"{done} of {step} are done")

    def close(self) -> None:
        """Kill all of it. That they leave in good order when asked to is for tests of that to show."""
        families = [descendants(process.pid) for process in self.running.values() if process.poll() is None]
        for pid in [process.pid for process in self.running.values() if process.poll() is None]:
            os.kill(pid, signal.SIGKILL)
        for pid in itertools.chain.from_iterable(families):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.running.values():
            process.wait()
        # Shown when the test has failed.
        for log in sorted(self.home.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-3000:]}")


def descendants(pid: int) -> dict[int, str]:
    """Return the command of each process that comes from ``pid``, by its id. Zombies do not count."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 3) for line in listing.splitlines()]
    rows = [row for row in rows if len(row) == 4 and not row[2].startswith("Z")]
    found: dict[int, str] = {}
    while more := {
        int(row[0]): row[3] for row in rows if int(row[0]) not in found and (int(row[1]) == pid or int(row[1]) in found)
    }:
        found |= more
    return found


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(look: Callable[[], Any], what: str, timeout: float = 90) -> Any:
    """Call ``look`` until what it returns is true, and return that. The only way to wait for something here.

    The pause is the one between two reports of a worker: asking more often shows nothing newer, takes the processor
    from what is waited for, and meets the API's limit of requests.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain until {what}"
        time.sleep(0.25)


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


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    """Where a test's moments are drawn from: the same ones again from the same seed, whichever process runs it when."""
    return random.Random(f"{os.environ['KTRDR_FAULT_SEED']}:{request.node.name}")


@pytest.fixture(scope="session")
def family() -> Callable[[int], dict[int, str]]:
    """Return a function that returns the commands of a process's descendants, by their ids."""
    return descendants


@pytest.fixture(scope="session")
def sample_text() -> str:
    """The sample's strategy, made to train for a few seconds: long enough to be disturbed."""
    text = files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    start = text.index("  early_stopping:")
    text = text[:start] + text[text.index("\n", start) + 1 :]
    return text.replace("batch_size: 64", "batch_size: 32")


@pytest.fixture
def strategy_name() -> str:
    """A name that no other test uses: models of several tests lie in one store."""
    return f"disturbed_{next(NUMBERS)}"


@pytest.fixture
def strategy_text(sample_text: str, strategy_name: str) -> str:
    """:func:`sample_text` under the test's own name."""
    return sample_text.replace("name: neuro_mean_reversion", f"name: {strategy_name}")


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


def make_cluster(home: Path, environ: dict[str, str]) -> Cluster:
    """Return a cluster of which nothing runs yet, with the sample in its data store."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample

    install_sample(BarStore(home / "data"))
    return Cluster(home, {**environ, "KTRDR_HOME": str(home)})


@pytest.fixture
def cluster(tmp_path: Path, base_environ: dict[str, str]) -> Iterator[Cluster]:
    """A cluster of the test's own. Nothing is started yet; the sample is in the data store."""
    made = make_cluster(tmp_path / "home", base_environ)
    yield made
    made.close()


@pytest.fixture(scope="session")
def kept() -> Iterator[list[Cluster]]:
    """Where the standing cluster is kept, while there is one."""
    clusters: list[Cluster] = []
    yield clusters
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def standing(
    kept: list[Cluster], tmp_path_factory: pytest.TempPathFactory, base_environ: dict[str, str]
) -> Iterator[Cluster]:
    """A cluster with the workers ``first`` and ``second``, idle. What the test before has killed runs again."""
    if not kept:
        kept.append(make_cluster(tmp_path_factory.mktemp("standing") / "home", base_environ))
    (cluster,) = kept
    idle = False
    try:
        cluster.mend()
        yield cluster
        idle = is_idle(cluster)
    finally:
        # A test that has failed half way leaves work: the next one is not to pay for it.
        if not idle:
            kept.clear()
            cluster.close()


def is_idle(cluster: Cluster) -> bool:
    try:
        operations = cluster.get("/operations")["items"]
    except OSError:
        return False
    return all(operation["state"] in ENDED for operation in operations)


@pytest.fixture(scope="session")
def undisturbed_hash(tmp_path_factory: pytest.TempPathFactory, base_environ: dict[str, str], sample_text: str) -> str:
    """Weights hash of the same training on the command line, in peace."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample

    home = tmp_path_factory.mktemp("undisturbed")
    install_sample(BarStore(home / "data"))
    path = home / "strategy.yaml"
    path.write_text(sample_text, encoding="utf-8")
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

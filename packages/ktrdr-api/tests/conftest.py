from __future__ import annotations

import asyncio
import contextlib
import getpass
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ktrdr.api.app import create_app
from ktrdr.api.engine.port import Attempt, EngineListener, Joining, SchedulerInfo, WorkerInfo
from ktrdr.api.server import make_server
from ktrdr.api.settings import ApiSettings

LOCAL = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every test has a home of its own, and no settings of the machine it runs on."""
    for name in [name for name in os.environ if name.startswith("KTRDR_API_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def client():
    with TestClient(create_app(ApiSettings()), base_url=LOCAL) as client:
        yield client


@pytest.fixture
def serving():
    """Return a context manager: a client of an application with these settings and this engine."""

    @contextlib.contextmanager
    def open_client(engine: Any = None, *, raise_server_exceptions: bool = True, **settings: Any) -> Iterator[Any]:
        app = create_app(ApiSettings(**settings), engine)
        with TestClient(app, base_url=LOCAL, raise_server_exceptions=raise_server_exceptions) as client:
            yield client

    return open_client


class EngineDouble:
    """Stands in for Dask and its workers: an `ExecutionEngine` that does what the test tells it.

    ``capabilities`` are those of its only worker; ``None`` for no worker at all.
    """

    def __init__(self, capabilities: Sequence[str] | None = ("backtest", "ml-torch", "ml-sklearn")) -> None:
        self.capabilities = capabilities
        self.submitted: list[Attempt] = []
        self.jobs: dict[Attempt, Mapping[str, Any]] = {}
        self.stopped: list[Attempt] = []
        self.running: list[Attempt] = []
        self.known: set[Attempt] = set()
        self.deaf = False
        self.listener: EngineListener | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def start(self, listener: EngineListener) -> None:
        self.listener = listener
        self.loop = asyncio.get_running_loop()

    async def close(self) -> None:
        self.listener = None

    async def healthy(self) -> bool:
        return True

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        if self.deaf:
            raise OSError("the scheduler does not answer")
        self.submitted.append(attempt)
        self.jobs[attempt] = job

    async def stop(self, attempt: Attempt) -> None:
        if self.deaf:
            raise OSError("the scheduler does not answer")
        self.stopped.append(attempt)

    async def workers(self) -> list[WorkerInfo]:
        if self.capabilities is None:
            return []
        return [WorkerInfo("tcp://127.0.0.1:1", "double", tuple(self.capabilities), tuple(self.running))]

    async def scheduler(self) -> SchedulerInfo | None:
        return None if self.deaf else SchedulerInfo("tcp://127.0.0.1:8786", "http://127.0.0.1:8787")

    async def joining(self) -> Joining:
        return Joining("tcp://127.0.0.1:8786", not self.deaf)

    async def reattach(self) -> set[Attempt]:
        return set(self.known)

    def tell(self, what: str, *args: Any, **kwargs: Any) -> None:
        """From the test's thread: have the listener hear ``on_<what>``, and wait until it has."""
        assert self.listener is not None
        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(getattr(self.listener, f"on_{what}")(*args, **kwargs), self.loop).result(20)


@pytest.fixture
def engine_double() -> type[EngineDouble]:
    return EngineDouble


class Server:
    """A uvicorn in a thread of this process."""

    def __init__(self, engine, port: int = 0) -> None:
        settings = ApiSettings(rate_limit=0)
        self.app = create_app(settings, engine)
        self.server = make_server(self.app, settings, log_level="error")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1"
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self) -> Server:
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *details: object) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.socket.close()


@pytest.fixture(name="Server")
def server_class() -> type[Server]:
    return Server


def eventually(read: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 20.0) -> Any:
    """Read until it is as wanted; fails with what it was last."""
    deadline = time.monotonic() + seconds
    while True:
        found = read()
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually


# A real model and a real backtest, with the example backend, which needs numpy alone.

_EXAMPLE = Path(__file__).parents[3] / "examples" / "ktrdr-ml-example" / "src"

_STRATEGY = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-06-30}
indicators:
  rsi_14: {type: rsi, period: 14}
  roc_5: {type: roc, period: 5}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all}
  - {raw_indicator: roc_5, timeframes: all}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.35, allow_short_from_flat: true}
training: {labels: {source: direction, horizon: 4, threshold: 0.0005}, epochs: 3, learning_rate: 0.5}
"""


@dataclass(frozen=True)
class MadeHome:
    """A home with data, a model, a run and an evaluation.

    ``result`` and ``look`` are what the worker of a backtest would report, ``evaluated`` what that of an evaluation
    would, its look included. ``plugins`` has the plugin ``example``.
    """

    path: Path
    run: Path
    result: dict[str, Any]
    look: dict[str, Any]
    evaluation: Path
    evaluated: dict[str, Any]
    strategy: str
    plugins: Any


@pytest.fixture(scope="session")
def made_home(tmp_path_factory) -> Iterator[MadeHome]:
    from ktrdr.core.backtesting.run import run_backtest
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.jobs.job_settings import BacktestSettings, EvaluationSettings
    from ktrdr.core.models.model_store import ModelStore
    from ktrdr.core.plugins.manager import PluginManager
    from ktrdr.core.runs.run_store import store_run
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.trials.look import LOOKS
    from ktrdr.core.trials.trial_database import SQLiteDatabase, default_database
    from ktrdr.core.trials.trial_ledger import TrialLedger
    from ktrdr.core.validation.stored_evaluation import evaluation_directory, store_evaluation
    from ktrdr.core.workflows.run_evaluation import evaluate
    from ktrdr.core.workflows.run_training import train as train_strategy

    path, site = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("site")
    info = site / "ktrdr_ml_example-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n")
    bars, models = BarStore(path / "data"), ModelStore(path / "models")
    install_sample(bars)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(path))
        patch.syspath_prepend(_EXAMPLE)
        patch.syspath_prepend(site)
        plugins = PluginManager(path=[str(site)], environ={})
        loaded = load_strategy_text(_STRATEGY, plugins=plugins)
        ledger = TrialLedger(default_database())
        places = {"bar_store": bars, "plugins": plugins, "trials": ledger}
        bundle = train_strategy(loaded, model_store=models, **places).bundle
        result = run_backtest(bundle, **places, settings=BacktestSettings(commission=0.00002))
        run = store_run(result)
        told = {**result.to_json(), "run": "waves/1-1", "directory": str(run)}
        judged = evaluate(
            loaded,
            EvaluationSettings(seeds=2, commission=0.00002),
            # A ledger of its own: in that of the model it would be the second trial.
            **{**places, "trials": TrialLedger(SQLiteDatabase(path / "evaluation-trials.sqlite"))},
        )
        facts = store_evaluation(judged).facts
        evaluation = evaluation_directory(facts.evaluation)
        looks = [look.to_json() for look in judged.looks]
        evaluated = {**facts.model_dump(mode="json"), "directory": str(evaluation), LOOKS: looks}
        yield MadeHome(path, run, told, result.look.to_json(), evaluation, evaluated, _STRATEGY, plugins)
    for name in [name for name in sys.modules if name.split(".")[0] == "ktrdr_ml_example"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def judged(made_home) -> dict[str, Any]:
    """What the worker of a verdict would report, its look included. The figures are made up; the files are stored."""
    import datetime as dt

    import numpy as np

    from ktrdr.core.trials.look import LOOKS
    from ktrdr.core.trials.trial_count import TrialCount
    from ktrdr.core.validation.stored_evaluation import load_evaluation
    from ktrdr.core.verdicts.deflation import deflated
    from ktrdr.core.verdicts.stored_verdict import store_verdict, verdict_directory
    from ktrdr.core.verdicts.verdict_parts import Verdict, VerdictCurves
    from ktrdr.core.verdicts.verdict_result import EXIT_STATUS, NullWorlds, ValidityFinding, VerdictFacts

    evaluation = load_evaluation("waves/1", made_home.path / "evaluations")
    facts, curves = evaluation.facts, evaluation.curves
    shown = np.linspace(0, len(curves.time) - 1, 100).astype(int)
    values = tuple(np.linspace(-2, 2, 20).tolist())
    found = VerdictFacts(
        word="NOT PROVEN",
        sentence="There may or may not be an edge.",
        made=dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC),
        hash="1" * 64,
        evidence_hash="2" * 64,
        strategy=facts.strategy,
        choice="3" * 64,
        quick=True,
        worlds=20,
        seeds=facts.seeds,
        symbols=facts.symbols,
        timeframe=facts.timeframe,
        data_fingerprint=facts.data_fingerprint,
        account=facts.account,
        validity=(ValidityFinding(check="look_ahead", title="look-ahead", clean=True, sentence="Nothing was found."),),
        evaluation=facts,
        nulls=tuple(NullWorlds(family=kind, observed=9.0, values=values, p=1 / 21) for kind in ("sign_flips", "garch")),
        deflation=deflated(9.0, 1.5, (6.0, 12.0), 1.0, TrialCount.from_json(dict(facts.trial_count))),
    )
    equity = curves.equity[:, shown] / facts.account["capital"]
    worlds = {kind: np.ones((20, 100)) for kind in ("sign_flips", "garch")}
    drawn = VerdictCurves(curves.time[shown], equity, equity[0], equity[:1], worlds)
    stored = store_verdict(Verdict(found, evaluation.text, drawn), root=made_home.path / "verdicts").facts
    (look,) = made_home.evaluated[LOOKS]
    return {
        **stored.model_dump(mode="json"),
        "exit_status": EXIT_STATUS[stored.word],
        "directory": str(verdict_directory(stored.verdict, made_home.path / "verdicts")),
        LOOKS: [{**look, "kind": "verdict"}],
    }


# A real PostgreSQL, from the system's package.


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    candidates = [Path(found).parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in candidates if (path / "initdb").exists() and (path / "pg_ctl").exists()), None)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server of our own, without a database name. It refuses to run as root, so it does not."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: it is not installed; install Debian's package `postgresql`")
    user = getpass.getuser()
    options: dict[str, Any] = {}
    directory = Path(tempfile.mkdtemp(prefix="ktrdr-postgresql-"))
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        shutil.chown(directory, user)
        options = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=120, check=False, **options
        )
        assert done.returncode == 0, done.stdout + done.stderr

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(directory / "data")
    try:
        run(str(binaries / "initdb"), "-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={directory} -c fsync=off"
        log = str(directory / "log")
        run(str(binaries / "pg_ctl"), "-D", data, "-w", "-l", log, "-o", settings, "start")
        try:
            yield f"postgresql://{user}@127.0.0.1:{port}"
        finally:
            run(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_numbers = itertools.count(1)


@pytest.fixture
def new_database(request, tmp_path) -> Callable[[str], str]:
    """Return a function: kind of database -> URL of an empty one."""

    def make(kind: str) -> str:
        number = next(_numbers)
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/ledger-{number}.sqlite"
        import psycopg

        server = request.getfixturevalue("postgresql_server")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE ledger_{number}")
        return f"{server}/ledger_{number}"

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, new_database) -> str:
    """An empty database, of both kinds in turn."""
    return new_database(request.param)

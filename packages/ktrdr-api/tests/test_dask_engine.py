"""The engine on Dask says in one sentence why it cannot use a scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ktrdr.core.cluster.dask_settings import configure

# As where ktrdr-core is not installed: importing it fails as it would there.
WITHOUT_CORE = (
    "import sys; sys.modules['ktrdr'] = None; sys.argv = ['dask scheduler', *sys.argv[1:]];"
    "from distributed.cli.dask_scheduler import main; main()"
)


@pytest.fixture
def strange_scheduler(tmp_path):
    """Address of a scheduler that somebody else started, without ktrdr-core."""
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_CORE, *options],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("DASK_")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if found := re.search(r"Scheduler at:\s+(tcp://\S+)", line):
            break
    else:
        pytest.fail("the scheduler did not start")
    yield found[1]
    process.terminate()
    process.communicate(timeout=30)


def test_a_scheduler_without_ktrdr_core_is_one_sentence(strange_scheduler, tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "ktrdr.core.cli.main", "serve", "--port", "0", "--scheduler", strange_scheduler],
        env={**os.environ, "KTRDR_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    said = [line for line in answer.stderr.splitlines() if "cannot load this ktrdr-core" in line]
    assert len(said) == 1
    assert strange_scheduler in said[0]
    assert "--listen-workers" in said[0]
    assert "Traceback" not in answer.stderr


def test_a_scheduler_that_somebody_else_started_is_told_the_rules():
    from ktrdr.core.cluster.dask_settings import DASK_SETTINGS, configure_scheduler

    async def tell():
        from distributed import Scheduler

        async with Scheduler(
            host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0", allowed_failures=5, worker_ttl=7
        ) as scheduler:
            configure_scheduler(scheduler)
            every = scheduler.periodic_callbacks["worker-ttl"].callback_time
            return scheduler.allowed_failures, scheduler.worker_ttl, every

    configure()
    assert DASK_SETTINGS["distributed.scheduler.worker-ttl"] == "120s"
    assert asyncio.run(tell()) == (0, 120, 120_000)


def test_an_operator_may_change_what_only_measures_patience(monkeypatch):
    import dask.config

    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "30s")
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "9")
    with dask.config.set({"distributed.scheduler.worker-ttl": "30s", "distributed.scheduler.allowed-failures": 9}):
        configure()
        assert dask.config.get("distributed.scheduler.worker-ttl") == "30s"
        assert dask.config.get("distributed.scheduler.allowed-failures") == 0
    monkeypatch.delenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL")
    configure()
    assert dask.config.get("distributed.scheduler.worker-ttl") == "120s"


class Listener:
    """Hears what the engine tells."""

    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        async def hear(attempt, *news, **more):
            self.heard.append((name, *news))

        return hear


class Client:
    """A client whose every task ends with ``error``."""

    status = "running"

    def __init__(self, error):
        self.error = error
        self.unpublished = []

    def submit(self, *args, key, **options):
        async def fail():
            raise self.error

        future = asyncio.ensure_future(fail())
        future.key = key
        return future

    async def publish_dataset(self, future, *, name, override):
        pass

    async def unpublish_dataset(self, name):
        self.unpublished.append(name)

    async def cancel(self, futures, force):
        pass


@pytest.mark.parametrize(
    ("kind", "job"),
    [("backtest", {"model": "m/1"}), ("sweep", {"model": "m/1", "settings": {"risk.stop_loss.atr": [1, 2]}})],
)
def test_whatever_a_worker_raises_the_operation_ends(kind, job):
    from ktrdr.api.engine.dask import DaskEngine
    from ktrdr.api.engine.port import Attempt

    async def run(error, seconds):
        engine, listener = DaskEngine("tcp://127.0.0.1:1"), Listener()
        engine._client, engine._listener = Client(error), listener
        await engine.submit(Attempt("A", 1), kind, job, ["backtest"])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while engine._watched and not listener.heard:
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        return listener.heard

    ((name, error),) = asyncio.run(run(ValueError("is not a function of a worker"), 60))
    assert name == "on_failed"
    assert (error.kind, error.exit_status) == ("fault", 1)
    assert "ValueError: is not a function of a worker" in error.message
    # The client has lost its scheduler: nothing is said of the work, which may go on.
    from distributed.client import FutureCancelledError

    assert asyncio.run(run(FutureCancelledError("A:1", "scheduler lost"), 1)) == []


def test_a_killed_worker_counts_only_where_the_work_had_begun():
    from distributed import KilledWorker

    from ktrdr.api.engine.dask import DaskEngine
    from ktrdr.api.engine.port import Attempt

    async def run(began):
        engine, heard, attempt = DaskEngine("tcp://127.0.0.1:1"), [], Attempt("A", 1)

        class Listening(Listener):
            async def on_lost(self, attempt, reason, *, counts):
                heard.append(counts)
                # In our words: Dask's speak of its settings and its pages.
                assert reason.startswith("its worker at tcp://w was lost: it was killed, or it did not answer")
                assert not re.search("allowed-failures|https?:|[Dd]ask|A:1", reason)

        engine._client, engine._listener = (
            Client(KilledWorker("A:1", SimpleNamespace(address="tcp://w"), 0)),
            Listening(),
        )
        if began:
            engine._heard((0.0, {"operation_id": "A", "attempt": 1, "event": "started", "worker": "w"}))
        await engine.submit(attempt, "backtest", {"model": "m/1"}, ["backtest"])
        async with asyncio.timeout(60):
            while not heard:
                await asyncio.sleep(0.01)
        return heard

    assert asyncio.run(run(began=False)) == [False]
    assert asyncio.run(run(began=True)) == [True]

"""The two ways to work in a home: the command line and Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings
from ktrdr.core.runs.run_store import run_name, store_run
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_sweep import sweep
from ktrdr.core.workflows.run_training import train


@pytest.fixture
def ktrdr(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command as the console script does: status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


class Way(Protocol):
    """How somebody works; each returns what is shown as JSON."""

    def train(self, path: Path) -> dict[str, Any]: ...

    def backtest(self, model: str, **settings: Any) -> dict[str, Any]: ...

    def sweep(self, model: str, values: dict[str, Any], **settings: Any) -> dict[str, Any]: ...


class _ByCommand:
    def __init__(self, ktrdr: Callable[..., tuple[int, str, str]]) -> None:
        self._ktrdr = ktrdr

    def _run(self, *arguments: object, **settings: Any) -> dict[str, Any]:
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        status, out, err = self._ktrdr(*arguments, *options, "--json")
        assert status == 0, err
        return dict(json.loads(out))

    def train(self, path: Path) -> dict[str, Any]:
        return self._run("train", path)

    def backtest(self, model: str, **settings: Any) -> dict[str, Any]:
        return self._run("backtest", model, **settings)

    def sweep(self, model: str, values: dict[str, Any], **settings: Any) -> dict[str, Any]:
        sets = [word for key, own in values.items() for word in ("--set", f"{key}={','.join(map(str, own))}")]
        return self._run("sweep", model, *sets, **settings)


class _ByPython:
    def train(self, path: Path) -> dict[str, Any]:
        return train(path).to_json()

    def backtest(self, model: str, **settings: Any) -> dict[str, Any]:
        result = backtest(model, BacktestSettings.model_validate(settings))
        return {**result.to_json(), "run": run_name(store_run(result))}

    def sweep(self, model: str, values: dict[str, Any], **settings: Any) -> dict[str, Any]:
        return sweep(model, SweepSettings.model_validate({"settings": values, **settings})).to_json()


@pytest.fixture(params=["command", "python"])
def way(request: pytest.FixtureRequest, home: Path, ktrdr: Callable[..., tuple[int, str, str]]) -> Way:
    """One of the ways to work; a test runs once with each."""
    return _ByCommand(ktrdr) if request.param == "command" else _ByPython()


@pytest.fixture
def by_python(home: Path) -> Way:
    """The quicker way."""
    return _ByPython()

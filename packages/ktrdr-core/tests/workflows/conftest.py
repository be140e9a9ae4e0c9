"""A home of the test's own with the sample, and the two ways to work in it: the command line and Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.runs.run_store import run_name, store_run
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_sweep import sweep
from ktrdr.core.workflows.run_training import train

_STRATEGY = """
name: {name}
training_data:
  symbols: {{mode: single, symbol: EURUSD}}
  timeframes: {{mode: single, timeframe: 1h}}
  date_range: {{start: 2017-01-01, end: 2017-03-31}}
indicators: {{rsi_14: {{type: rsi, period: 14}}}}
fuzzy_sets:
  rsi: {{indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}}
nn_inputs: [{{fuzzy_set: rsi, timeframes: all}}]
model: {{type: softmax_regression}}
decisions: {{confidence_threshold: {threshold}}}
risk: {{stop_loss: {{atr: {stop}}}}}
training:
  labels: {{source: direction, horizon: 4, threshold: 0.0005}}
  data_split: {{train: 0.7, validation: 0.15, test: 0.15}}
  epochs: 3
  batch_size: 64
  learning_rate: 0.5
  seed: 1
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example_plugins: PluginManager) -> Path:
    """A ``KTRDR_HOME`` with a year of hourly EURUSD."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    install_sample(default_store())
    return tmp_path / "home"


@pytest.fixture
def write_strategy(tmp_path: Path) -> Callable[..., Path]:
    """Return ``write_strategy(name, threshold=..., stop=...)``: a file with these settings."""

    def write(name: str, *, threshold: float = 0.34, stop: float = 3.0) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(_STRATEGY.format(name=name, threshold=threshold, stop=stop), encoding="utf-8")
        return path

    return write


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

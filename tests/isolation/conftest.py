"""Environments made from the built wheels, each holding only what its name says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Environment:
    """A virtual environment and a home directory of its own."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    def run(self, code: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run ``code`` in a fresh interpreter, isolated from the caller's paths."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KTRDR_HOME": str(self.directory / "ktrdr-home"),
            **extra,
        }
        return subprocess.run(
            [self.python, "-I", "-c", code], env=variables, capture_output=True, text=True, timeout=300, check=False
        )

    def distributions(self) -> set[str]:
        """Return the normalized names of what is installed."""
        answer = self.run(
            "from importlib.metadata import distributions\n"
            "print(*sorted({d.metadata['Name'].lower().replace('_', '-') for d in distributions()}))"
        )
        assert answer.returncode == 0, answer.stderr
        return set(answer.stdout.split())


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The directory with the wheels of this checkout (`nox -s wheels`)."""
    directory = Path(os.environ.get("KTRDR_WHEELS", Path(__file__).parents[2] / "dist"))
    assert list(directory.glob("ktrdr_core-*.whl")), f"no wheels in {directory}: run `nox -s wheels` first"
    return directory


@pytest.fixture(scope="session")
def make_environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Environment]:
    """Return a function that makes an environment with the wheels named, and their closure."""

    def make(*distributions: str) -> Environment:
        uv = shutil.which("uv")
        assert uv, "uv is needed to make environments; run these tests with `nox -s isolation`"
        directory = tmp_path_factory.mktemp("environment") / "venv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, directory], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", directory / "bin" / "python", "--find-links", wheels]
        for name in ("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", "ktrdr-worker"):
            command += ["--refresh-package", name]
        if constraints := os.environ.get("KTRDR_CONSTRAINTS"):
            command += ["--constraint", constraints]
        command += [next(wheels.glob(f"{name.replace('-', '_')}-*.whl")) for name in distributions]
        subprocess.run(command, check=True)
        return Environment(directory)

    return make


@pytest.fixture(scope="session")
def api_environment(make_environment: Callable[..., Environment]) -> Environment:
    """ktrdr-core and ktrdr-api, no plugin."""
    made = make_environment("ktrdr-core", "ktrdr-api")
    first = made.run("import ktrdr.api.main")
    assert first.returncode == 0, first.stderr
    return made


@pytest.fixture(scope="session")
def full_environment(make_environment: Callable[..., Environment]) -> Environment:
    """All distributions, so that every framework could be imported."""
    made = make_environment("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", "ktrdr-worker")
    # Compiles them: for the fixture to do, not for the first test that imports something.
    first = made.run("import ktrdr.api.main, skops.io, sklearn.ensemble, torch")
    assert first.returncode == 0, first.stderr
    return made


@pytest.fixture(scope="session")
def core_environment(make_environment: Callable[..., Environment]) -> Environment:
    """ktrdr-core alone."""
    made = make_environment("ktrdr-core")
    # Compiles them: for the fixture to do, not for the first test that imports something.
    first = made.run("import ktrdr.core as kt, pandas, plotly.graph_objects; kt.data.import_sample()")
    assert first.returncode == 0, first.stderr
    return made


TRAIN = """
import os
from pathlib import Path

import yaml

import ktrdr.core as kt

directory = Path(os.environ["TO"])
kt.data.import_sample()
FOR_RULES = {"rsi": "rsi_14", "macd_line": "macd_12_26_9"}
for name, model, training in (
    ("network", {"type": "mlp", "architecture": {"hidden_layers": [8]}}, {"epochs": 3, "learning_rate": 0.01}),
    ("rules", {"type": "anfis"}, {"epochs": 3}),
    ("trees", {"type": "gradient_boosting"}, {}),
):
    strategy = yaml.safe_load(kt.example_strategy().text) | {"name": name, "model": model}
    strategy["decisions"]["confidence_threshold"] = 0.5
    if name == "rules":
        for part in ("fuzzy_sets", "indicators"):
            names = FOR_RULES if part == "fuzzy_sets" else FOR_RULES.values()
            strategy[part] = {each: strategy[part][each] for each in names}
        strategy["nn_inputs"] = [{"fuzzy_set": each, "timeframes": "all"} for each in FOR_RULES]
    for key in ("labels", "data_split", "seed"):
        training[key] = strategy["training"][key]
    trained = kt.train(strategy | {"training": training}, progress=False)
    trades = kt.backtest(trained, inference="native", progress=False).trades
    (directory / f"{name}.json").write_text(trades.to_json(orient="split", date_format="iso"), encoding="utf-8")
    kt.models.export(name, directory / f"{name}.zip")
"""


@pytest.fixture(scope="session")
def trained_elsewhere(full_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with exported bundles, ``NAME.zip``, and the trades that their frameworks give, ``NAME.json``.

    They are of torch (``network`` and ``rules``) and scikit-learn (``trees``).
    """
    directory = tmp_path_factory.mktemp("trained")
    made = full_environment.run(TRAIN, TO=str(directory), KTRDR_HOME=str(directory / "home"))
    assert made.returncode == 0, made.stderr
    return directory

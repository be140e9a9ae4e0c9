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

"""Wheels of core and of the example backend, and environments that hold them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ktrdr-ml-example"


@dataclass(frozen=True)
class Environment:
    """A virtual environment with a home directory of its own."""

    directory: Path
    uv: str

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    def pip(self, *arguments: object) -> None:
        command, *rest = map(str, arguments)
        subprocess.run([self.uv, "pip", command, "--quiet", "--python", self.python, *rest], check=True)

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python, isolated from the caller's paths."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KTRDR_HOME": str(self.directory / "ktrdr-home"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [self.python, *map(str, arguments)],
            env=variables,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="session", autouse=True)
def frameworks() -> None:
    """Import what the first test would have to, and to compile where all is new."""
    for name in ("skops.io", "sklearn.ensemble", "torch"):
        import_module(name)


@pytest.fixture(scope="session")
def uv() -> str:
    # Beside the interpreter first: the environment's own, if it has one.
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, "uv is needed to build and install wheels; run these tests with `nox -s contract`"
    return found


@pytest.fixture(scope="session")
def core_wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in `KTRDR_WHEELS`, or one built from this checkout."""
    directory = os.environ.get("KTRDR_WHEELS")
    if directory is None:
        directory = str(tmp_path_factory.mktemp("core"))
        source = ROOT / "packages" / "ktrdr-core"
        subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", directory, source], check=True)
    (wheel,) = Path(directory).glob("ktrdr_core-*.whl")
    return wheel


@pytest.fixture(scope="session")
def example_wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example backend, built from a copy as its author would, outside of this workspace."""
    place = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, place / "source", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", place / "dist", source], check=True)
    (wheel,) = (place / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def environment(uv: str, core_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Core alone."""
    directory = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, directory], check=True)
    made = Environment(directory, uv)
    # A rebuilt wheel of the same version is otherwise served stale from uv's cache.
    made.pip("install", "--refresh-package", "ktrdr-core", core_wheel)
    return made

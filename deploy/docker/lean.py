"""Make the backend's environment smaller still than ``slim.py`` does: ``python lean.py ENVIRONMENT``.

Debug symbols are taken off extension modules, but not off the libraries that wheels bundle, which were patched after
they were linked. Only what the server imports to start gets bytecode: the rest, of which pandas and plotly are most, is
compiled when a process first uses it, which takes seconds, once, as the backend runs no operations itself. Every
extension is loaded again afterwards, so that one that `strip` broke ends the build.
"""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

from slim import same_time, slim

UNUSED_PATHS = (
    "plotly/package_data/widgetbundle.js",
    "plotly/package_data/datasets",
    "sqlalchemy/testing",
    "numpy/distutils",
    "numpy/f2py",
)
UNUSED_ENDINGS = (".pyi", ".pxi")
# rich draws our tables and progress; of the languages it could colour, those that a traceback or a file of ours is in.
LANGUAGES = {"__init__.py", "_mapping.py", "special.py", "python.py", "data.py"}
# Extensions that only numpy's own tests import.
UNUSED_MODULES = ("numpy/_core/_simd.*.so", "numpy/_core/_*_tests.*.so")

# What the server, its scheduler and the setting up of its database import, as far as it is not ours.
STARTED = (
    "aiosqlite",
    "alembic.command",
    "click",
    "cryptography.x509",
    "distributed.cli.dask_scheduler",
    "fastapi",
    "filelock",
    "importlib_metadata",
    "pluggy",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.ext.asyncio",
    "starlette.middleware.cors",
    "ulid",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "yaml",
)

_IMPORTED = """import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([f for m in list(sys.modules.values()) if (f := getattr(m, "__file__", None)) and f.endswith(".py")]))
"""

_LOAD = """import ctypes, os, sys
for path in sys.argv[1:]:
    ctypes.CDLL(path, os.RTLD_NOW)
"""


def remove(site: Path) -> None:
    """Remove what only notebooks, type checkers and test suites read."""
    for relative in UNUSED_PATHS:
        path = site / relative
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for pattern in UNUSED_MODULES:
        for path in site.glob(pattern):
            path.unlink()
    for path in (site / "pygments/lexers").glob("*.py"):
        if path.name not in LANGUAGES:
            path.unlink()
    for path in site.rglob("*"):
        if path.name.endswith(UNUSED_ENDINGS):
            path.unlink()


def strip(site: Path, python: Path) -> None:
    """Take debug symbols off extension modules, and load every one of them."""
    extensions = sorted(str(path) for path in site.rglob("*.so") if not path.parent.name.endswith(".libs"))
    subprocess.run(["strip", "--strip-unneeded", *extensions], check=True)
    subprocess.run([str(python), "-c", _LOAD, *extensions], check=True)


def bytecode(site: Path, python: Path) -> None:
    """Compile what is imported when the server starts."""
    answer = subprocess.run([str(python), "-c", _IMPORTED, *STARTED], stdout=subprocess.PIPE, text=True, check=True)
    for file in sorted(json.loads(answer.stdout)):
        if Path(file).is_relative_to(site):
            py_compile.compile(file, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def main() -> None:
    environment = Path(sys.argv[1])
    (site,) = environment.glob("lib/python3.*/site-packages")
    python = environment / "bin/python"
    slim(environment, site, headers=False)
    remove(site)
    strip(site, python)
    bytecode(site, python)
    same_time(environment, int(os.environ["SOURCE_DATE_EPOCH"]))


if __name__ == "__main__":
    main()

"""Make an environment without an ML framework smaller than with ``slim.py`` alone: ``python lean.py ENVIRONMENT ROLE``.

Debug symbols are removed from extension modules, but not from bundled libraries, which were patched after linking.
Every extension is loaded afterwards, so that the build fails if `strip` has broken one. In the image `backend` only
modules that the server imports at its start get bytecode; the others, mostly pandas and plotly, are compiled in memory
at their first import in a process, which takes seconds. A worker starts a process for every backtest, so all of its
modules get bytecode.
"""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import slim

UNUSED_PATHS = (
    "plotly/package_data/widgetbundle.js",
    "plotly/package_data/datasets",
    "numpy/distutils",
    "numpy/f2py",
)
UNUSED_PATHS_OF_BACKEND = ("sqlalchemy/testing",)
UNUSED_ENDINGS = (".pyi", ".pxi")
# Lexers that are kept, for tracebacks and files of KTRDR: rich uses pygments to highlight code.
LANGUAGES = {"__init__.py", "_mapping.py", "special.py", "python.py", "data.py"}
# Extensions that only numpy's own tests import.
UNUSED_MODULES = ("numpy/_core/_simd.*.so", "numpy/_core/_*_tests.*.so")

# Modules that the server, its scheduler and the migration of its database import, without those of KTRDR.
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


def remove(site: Path, role: str) -> None:
    """Remove files that only notebooks, type checkers and test suites use."""
    for relative in UNUSED_PATHS + (UNUSED_PATHS_OF_BACKEND if role == "backend" else ()):
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
    """Remove debug symbols from extension modules, and load every module to check it."""
    extensions = sorted(str(path) for path in site.rglob("*.so") if not path.parent.name.endswith(".libs"))
    subprocess.run(["strip", "--strip-unneeded", *extensions], check=True)
    subprocess.run([str(python), "-c", _LOAD, *extensions], check=True)


def bytecode_of_start(site: Path, python: Path) -> None:
    """Compile the modules that are imported when the server starts."""
    answer = subprocess.run([str(python), "-c", _IMPORTED, *STARTED], stdout=subprocess.PIPE, text=True, check=True)
    for file in sorted(json.loads(answer.stdout)):
        if Path(file).is_relative_to(site):
            py_compile.compile(file, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def main() -> None:
    """Shrink the environment of the role in the arguments."""
    environment, role = Path(sys.argv[1]), sys.argv[2]
    (site,) = environment.glob("lib/python3.*/site-packages")
    python = environment / "bin/python"
    slim.slim(environment, site, headers=False)
    remove(site, role)
    strip(site, python)
    if role == "backend":
        bytecode_of_start(site, python)
    else:
        slim.bytecode(site)
    slim.same_time(environment, int(os.environ["SOURCE_DATE_EPOCH"]))


if __name__ == "__main__":
    main()

"""Make an environment small and reproducible: ``python slim.py ENVIRONMENT [--keep-headers] [--only PACKAGE]``.

Runs during the build with the Python of the environment. Removes files that are not used at run time, compiles the rest
to hash-based bytecode (the user of the image cannot write bytecode, and bytecode with times would differ between
builds), and sets the time of every file to ``SOURCE_DATE_EPOCH``. ``--keep-headers``: for kernels that are compiled at
run time.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
from pathlib import Path

# Names of directories: tests of dependencies, and files for compilers.
UNUSED_DIRECTORIES = {"tests", "test", "__pycache__"}
HEADER_DIRECTORIES = {"include"}
UNUSED_ENDINGS = (".map",)
HEADER_ENDINGS = (".a", ".h", ".hpp", ".cuh", ".pxd", ".pyx", ".c", ".cpp")
# Paths below site-packages: extensions for notebooks, tools of torch that are not used at run time.
UNUSED_PATHS = (
    "plotly/labextension",
    "torch/bin/protoc",
    "torch/bin/protoc-3.13.0.0",
    "torch/share/cmake",
)
# Used at run time in spite of their names.
KEPT = ("torch/testing", "numpy/testing")


def slim(environment: Path, site: Path, *, headers: bool) -> None:
    """Remove files that are not used at run time; ``headers``: keep the files for compilers."""
    directories = UNUSED_DIRECTORIES if headers else UNUSED_DIRECTORIES | HEADER_DIRECTORIES
    endings = UNUSED_ENDINGS if headers else UNUSED_ENDINGS + HEADER_ENDINGS
    for relative in UNUSED_PATHS:
        path = site / relative
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for directory, below, files in os.walk(site):
        relative = Path(directory).relative_to(site).as_posix()
        for name in sorted(set(below) & directories):
            if not f"{relative}/{name}".startswith(KEPT):
                shutil.rmtree(Path(directory, name))
                below.remove(name)
        for name in files:
            if name.endswith(endings):
                Path(directory, name).unlink()
    shutil.rmtree(environment / "share", ignore_errors=True)


def bytecode(directory: Path) -> None:
    """Compile all modules in a fixed order by one process, so that two builds give equal bytes."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    # Files that cannot be compiled are skipped: some packages contain templates with the suffix .py.
    compileall.compile_dir(directory, maxlevels=40, quiet=2, force=True, workers=1, invalidation_mode=mode)


def same_time(directory: Path, seconds: int) -> None:
    """Set the same modification time for every file and directory."""
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def main() -> None:
    """Shrink and compile the environment in the arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("environment", type=Path)
    parser.add_argument("--keep-headers", action="store_true")
    parser.add_argument("--only", metavar="PACKAGE", help="only compile this package; the rest is done already")
    asked = parser.parse_args()
    (site,) = asked.environment.glob("lib/python3.*/site-packages")
    if asked.only is None:
        slim(asked.environment, site, headers=asked.keep_headers)
    bytecode(site if asked.only is None else site / asked.only)
    same_time(asked.environment, int(os.environ["SOURCE_DATE_EPOCH"]))


if __name__ == "__main__":
    main()

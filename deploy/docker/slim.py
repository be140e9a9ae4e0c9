"""Make an environment small and the same every time: ``python slim.py ENVIRONMENT [--keep-headers] [--only PACKAGE]``.

Runs in the build with the environment's own Python. Removes what no program of ours reads, compiles what is left with
hash-based bytecode (the user of the image may not write any, and bytecode with a time in it would differ between
builds), and gives every file the time ``SOURCE_DATE_EPOCH``. ``--keep-headers``: kernels are compiled at run time.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
from pathlib import Path

# Directories by name: tests of dependencies, and what only a compiler reads.
UNUSED_DIRECTORIES = {"tests", "test", "__pycache__"}
HEADER_DIRECTORIES = {"include"}
UNUSED_ENDINGS = (".map",)
HEADER_ENDINGS = (".a", ".h", ".hpp", ".cuh", ".pxd", ".pyx", ".c", ".cpp")
# Paths below site-packages: extensions of notebooks, tools of torch that nothing calls at run time.
UNUSED_PATHS = (
    "plotly/labextension",
    "torch/bin/protoc",
    "torch/bin/protoc-3.13.0.0",
    "torch/share/cmake",
)
# These are programs, whatever their directory is called.
KEPT = ("torch/testing", "numpy/testing")


def slim(environment: Path, site: Path, *, headers: bool) -> None:
    """Remove what is not used at run time; ``headers``: keep what compilers read."""
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
    """Compile everything, in the same order and by one process, so that two builds agree to the byte."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    # Some packages ship templates that end in .py and are no Python: what cannot be compiled is not compiled.
    compileall.compile_dir(directory, maxlevels=40, quiet=2, force=True, workers=1, invalidation_mode=mode)


def same_time(directory: Path, seconds: int) -> None:
    """Give every file and directory the same time of modification."""
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("environment", type=Path)
    parser.add_argument("--keep-headers", action="store_true")
    parser.add_argument("--only", metavar="PACKAGE", help="everything else has been done before")
    asked = parser.parse_args()
    (site,) = asked.environment.glob("lib/python3.*/site-packages")
    if asked.only is None:
        slim(asked.environment, site, headers=asked.keep_headers)
    bytecode(site if asked.only is None else site / asked.only)
    same_time(asked.environment, int(os.environ["SOURCE_DATE_EPOCH"]))


if __name__ == "__main__":
    main()

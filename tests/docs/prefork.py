"""Runs `ktrdr` commands one after another, each in a process of its own, forked from one that has done the imports.

A line of standard input is a command (JSON: arguments, folder, environment, files for what it says); a line of standard
output is its exit status. What a command does to its process ends with it, as in a fresh interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

IMPORTED = ("duckdb", "numpy", "pandas", "pydantic", "rich.console", "talib", "torch", "yaml")
"""What takes long. None of it has started a thread: a fork takes the calling thread along and no other."""

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def become(asked: dict[str, Any]) -> None:
    """Make this process what a shell would start."""
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["directory"])
    for descriptor, path, mode in ((0, os.devnull, os.O_RDONLY), (1, asked["out"], WRITE), (2, asked["err"], WRITE)):
        opened = os.open(path, mode, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["ktrdr", *asked["arguments"]]


def serve() -> None:
    """Run what is asked for until there is no more; return in the child only."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


if __name__ == "__main__":
    (program,) = entry_points(group="console_scripts", name="ktrdr")
    main = program.load()
    for name in IMPORTED:
        importlib.import_module(name)
    alone = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").is_dir() else 1
    if alone > 1:
        sys.exit(f"{alone} threads after the imports: a fork would lose them")
    serve()
    sys.exit(main())

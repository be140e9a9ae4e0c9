"""Where a training runs: interpreter, system, versions, and the state of the checkout."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import importlib_metadata

from ktrdr.core.models.manifest import Environment, GitState

__all__ = ["describe_environment", "git_state"]

# Beside the backend's own: what the numbers of core come from.
_PACKAGES = ("ktrdr-core", "numpy", "pandas", "TA-Lib")
_GIT_SECONDS = 10.0


def describe_environment(distributions: Iterable[str] = ()) -> Environment:
    """Return interpreter, system, and the versions of core, what it computes with, and ``distributions``."""
    packages = {}
    for name in dict.fromkeys((*_PACKAGES, *distributions)):
        try:
            packages[name] = importlib_metadata.version(name)
        except importlib_metadata.PackageNotFoundError:
            continue  # run from a path, or a plugin names what it does not need after all
    return Environment(python=platform.python_version(), platform=platform.platform(), packages=packages)


def git_state(directory: Path | None = None) -> GitState | None:
    """Return commit and cleanliness of the checkout that ``directory`` (default: the current one) lies in.

    ``None`` if it lies in none, there is no commit yet, or git is not installed or does not answer within 10 seconds.
    """
    commit = _git(directory, "rev-parse", "--verify", "HEAD")
    changes = _git(directory, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _git(directory: Path | None, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            # Without the lock that `status` may take: another git command could be at work here.
            ["git", "--no-optional-locks", *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None

"""Description of the environment of a training: interpreter, system, versions and Git state."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import importlib_metadata

from ktrdr.core.models.manifest import Environment, GitState

__all__ = ["describe_environment", "git_state"]

# Packages, besides those of the backend, that results depend on.
_PACKAGES = ("ktrdr-core", "numpy", "pandas", "TA-Lib")
_GIT_SECONDS = 10.0


def describe_environment(distributions: Iterable[str] = ()) -> Environment:
    """Return the interpreter, the system, and the versions of core, its numeric packages and ``distributions``."""
    packages = {}
    for name in dict.fromkeys((*_PACKAGES, *distributions)):
        try:
            packages[name] = importlib_metadata.version(name)
        except importlib_metadata.PackageNotFoundError:
            continue  # Not installed as a distribution, or named by a plugin that does not need it.
    return Environment(python=platform.python_version(), platform=platform.platform(), packages=packages)


def git_state(directory: Path | None = None) -> GitState | None:
    """Return the commit of the checkout that contains ``directory``, and whether it has uncommitted changes.

    Args:
        directory: a directory; ``None`` for the current one.

    Returns:
        ``None`` outside of a checkout, before the first commit, or if git is not installed or takes more than 10
        seconds.
    """
    commit = _git(directory, "rev-parse", "--verify", "HEAD")
    changes = _git(directory, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _git(directory: Path | None, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            # `status` may take a lock, which could disturb another git command in this checkout.
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

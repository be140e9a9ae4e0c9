"""Lookup of the checkpoint of a run: same strategy, code of its indicators, data, seed, backend and device."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ktrdr.core.errors import BadInputError
from ktrdr.core.home import home_directory
from ktrdr.core.plugins.contract import Device, PluginInfo
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.strategy.used_code import used_code
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.stored_members import member_directories

__all__ = ["NothingToResumeError", "default_checkpoint_root", "left_by_run", "reserve_checkpoint", "run_key"]

# Sections that affect the trained weights. The others may change before a run is resumed.
_DETERMINING = {"training_data", "indicators", "fuzzy_sets", "nn_inputs", "model", "training", "validation"}


class NothingToResumeError(BadInputError):
    """There is no checkpoint of the run that should be resumed."""


def default_checkpoint_root() -> Path:
    """Return ``$KTRDR_HOME/checkpoints``."""
    return home_directory() / "checkpoints"


def left_by_run(checkpoint: DirectoryCheckpoint) -> Path | None:
    """Return the directory that an interrupted run can resume from; ``None`` if there is none.

    That is its newest checkpoint; between two chunks of a population, the first of its finished members.
    """
    return checkpoint.latest() or next(iter(member_directories(checkpoint.directory)), None)


def run_key(strategy: Strategy, fingerprint: str, plugin: PluginInfo, device: Device, seeds: int | None = None) -> str:
    """Return a hash, 24 hexadecimal digits, of everything that the trained weights depend on.

    Args:
        strategy: the strategy with every override of the run, including the seed.
        fingerprint: fingerprint of the bars.
        plugin: plugin that trains the model.
        device: device to train on; only its kind affects the hash.
        seeds: number of seeds; ``None`` for a single training.
    """
    snapshot = strategy.model_dump(mode="json", include=_DETERMINING)
    # It does not matter whether a setting is from the file or a default.
    del snapshot["training"]["given"]
    # Runs of strategies without the section keep the key that they had before there was one.
    if snapshot["validation"] is None:
        del snapshot["validation"]
    # As do those of strategies without user indicators.
    if code := used_code(strategy):
        snapshot["indicator_code"] = code
    run: list[Any] = [snapshot, strategy.decisions.output_format, fingerprint, plugin.name, plugin.version, device.kind]
    if seeds is not None:
        run.append(seeds)
    return hashlib.sha256(json.dumps(run, allow_nan=False).encode()).hexdigest()[:24]


@contextmanager
def reserve_checkpoint(
    root: Path,
    name: str,
    key: str,
    *,
    resume: bool,
    left: Callable[[DirectoryCheckpoint], Path | None] = left_by_run,
) -> Iterator[DirectoryCheckpoint]:
    """Yield a directory for the checkpoints of a run below ``root``, locked against other processes.

    It may contain a checkpoint of an earlier attempt. Two processes that train the same run at the same time get a
    directory each.

    Args:
        root: directory of the checkpoints of all runs.
        name: name of the strategy.
        key: identifies what the run depends on.
        resume: take a directory in which an earlier attempt left something.
        left: returns what a run can resume from, or ``None``.

    Raises:
        NothingToResumeError: ``resume`` is set, but there is no checkpoint of an earlier attempt, or all are in use.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        directory, lock = _claim(root, name, key, resume=resume, left=left)
    try:
        yield DirectoryCheckpoint(directory)
    finally:
        with FileLock(root / ".lock"):
            lock.release()
            _lock_of(directory).unlink(missing_ok=True)


def _claim(
    root: Path, name: str, key: str, *, resume: bool, left: Callable[[DirectoryCheckpoint], Path | None]
) -> tuple[Path, FileLock]:
    """Return a directory and the acquired lock on it. The caller must hold the lock of ``root``."""
    first = root / f"{name}-{key}"
    for directory in _existing(first) if resume else _candidates(first):
        # The system releases the lock when its process ends, even if it is killed.
        lock = FileLock(_lock_of(directory), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            continue
        if not resume or left(DirectoryCheckpoint(directory)) is not None:
            return directory, lock
        lock.release()
        _lock_of(directory).unlink(missing_ok=True)
    others = any(path.is_dir() for path in root.glob(f"{name}-*"))
    raise NothingToResumeError(
        f"there is nothing to resume: no checkpoint of this run of `{name}` is in {root}"
        + (
            ", only of runs with another strategy, data, seed, number of seeds, backend, kind of device or code of an"
            " indicator"
            if others
            else ""
        )
        + "; leave out --resume to begin from the start"
    )


def _candidates(first: Path) -> Iterator[Path]:
    yield first
    for number in itertools.count(2):
        yield first.with_name(f"{first.name}-{number}")


def _existing(first: Path) -> Iterator[Path]:
    """Yield the existing directories of a run."""
    if first.is_dir():
        yield first
    # The key has a fixed length, so a suffix is always a number.
    yield from sorted(path for path in first.parent.glob(f"{first.name}-*") if path.is_dir())


def _lock_of(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.lock")

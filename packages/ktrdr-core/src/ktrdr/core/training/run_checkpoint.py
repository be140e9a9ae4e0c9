"""Which checkpoint belongs to a run: that of the same strategy, data, seed, backend and kind of device alone."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ktrdr.core.errors import BadInputError
from ktrdr.core.home import home_directory
from ktrdr.core.plugins.contract import Device, PluginInfo
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.checkpoint import DirectoryCheckpoint

__all__ = ["NothingToResumeError", "default_checkpoint_root", "reserve_checkpoint", "run_key"]

# What else a strategy says has no part in what is learned: it may change before a run is resumed.
_DETERMINING = {"training_data", "indicators", "fuzzy_sets", "nn_inputs", "model", "training"}


class NothingToResumeError(BadInputError):
    """A run was to be resumed, and there is no checkpoint of it."""


def default_checkpoint_root() -> Path:
    """Return ``$KTRDR_HOME/checkpoints``."""
    return home_directory() / "checkpoints"


def run_key(strategy: Strategy, fingerprint: str, plugin: PluginInfo, device: Device) -> str:
    """Return 24 hexadecimal digits over everything the trained weights depend on.

    Args:
        strategy: with every override of the run, the seed among them.
        fingerprint: of the bars.
        plugin: that trains.
        device: it trains on; its kind counts, not its number.
    """
    snapshot = strategy.model_dump(mode="json", include=_DETERMINING)
    # Where a setting came from does not matter.
    del snapshot["training"]["given"]
    run = [snapshot, strategy.decisions.output_format, fingerprint, plugin.name, plugin.version, device.kind]
    return hashlib.sha256(json.dumps(run, allow_nan=False).encode()).hexdigest()[:24]


@contextmanager
def reserve_checkpoint(root: Path, name: str, key: str, *, resume: bool) -> Iterator[DirectoryCheckpoint]:
    """Yield the place for a run's checkpoints below ``root``, which no other process uses meanwhile.

    It may hold what an earlier attempt has left. Two processes that train the very same at the same time get a place
    each.

    Raises:
        NothingToResumeError: ``resume`` is asked for, and no attempt has left a checkpoint that is not in use.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        directory, lock = _claim(root, name, key, resume=resume)
    try:
        yield DirectoryCheckpoint(directory)
    finally:
        with FileLock(root / ".lock"):
            lock.release()
            _lock_of(directory).unlink(missing_ok=True)


def _claim(root: Path, name: str, key: str, *, resume: bool) -> tuple[Path, FileLock]:
    """Return a place and the lock held on it. Call with the lock of ``root`` held."""
    first = root / f"{name}-{key}"
    for directory in _left_by(first) if resume else _places(first):
        # The system lets go of the lock when its process dies, however it dies.
        lock = FileLock(_lock_of(directory), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            continue
        if not resume or DirectoryCheckpoint(directory).latest() is not None:
            return directory, lock
        lock.release()
        _lock_of(directory).unlink(missing_ok=True)
    others = any(path.is_dir() for path in root.glob(f"{name}-*"))
    raise NothingToResumeError(
        f"there is nothing to resume: no checkpoint of this run of `{name}` is in {root}"
        + (", only of runs with another strategy, data, seed, backend or kind of device" if others else "")
        + "; leave out --resume to train from the start"
    )


def _places(first: Path) -> Iterator[Path]:
    yield first
    for number in itertools.count(2):
        yield first.with_name(f"{first.name}-{number}")


def _left_by(first: Path) -> Iterator[Path]:
    """Yield the places that there are."""
    if first.is_dir():
        yield first
    # The key has a fixed length: what follows is the number of a place.
    yield from sorted(path for path in first.parent.glob(f"{first.name}-*") if path.is_dir())


def _lock_of(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.lock")

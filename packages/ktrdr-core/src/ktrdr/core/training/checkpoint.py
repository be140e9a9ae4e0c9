"""Checkpoints of a training run, from which a killed run can resume."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ktrdr.core.files.durable import discard_directory, new_directory, remove_leftovers

__all__ = ["DirectoryCheckpoint"]

_COMPLETE = re.compile(r"checkpoint-(\d{8})")


class DirectoryCheckpoint:
    """Checkpoints of one training run below ``directory``; implements :class:`~ktrdr.core.plugins.CheckpointWriter`.

    A checkpoint is written to a temporary directory, flushed and renamed, and only then is the previous one removed. So
    :meth:`latest` returns a complete checkpoint or none, whenever the process is killed. Only one process at a time may
    use a directory.

    Args:
        directory: directory of the checkpoints, created with the first one.
        every_epochs: number of complete epochs between checkpoints.
        every_seconds: maximum time between checkpoints, for long epochs.
    """

    def __init__(self, directory: Path, *, every_epochs: int = 1, every_seconds: float = 60.0) -> None:
        if every_epochs < 1 or every_seconds <= 0:
            raise ValueError("every_epochs must be at least 1 and every_seconds above 0")
        self.directory = directory
        self._every_epochs = every_epochs
        self._every_seconds = every_seconds
        self._last_epoch: int | None = None
        self._last_time = time.monotonic()

    def due(self, epoch: int) -> bool:
        """Return True if a checkpoint should be written now; ``epoch`` is the number of complete epochs."""
        if self._last_epoch is None or epoch < self._last_epoch:
            # Epochs are counted from the first call, in a fresh run and in a resumed one, and again in each chunk of a
            # population.
            self._last_epoch = max(epoch - 1, 0)
        return (
            epoch - self._last_epoch >= self._every_epochs or time.monotonic() - self._last_time >= self._every_seconds
        )

    def save(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Call ``write`` with an empty directory, and make that directory the newest checkpoint.

        If ``write`` raises, the previous checkpoint stays the newest.

        Raises:
            StoreError: the disk is full, or the directory is not writable.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        before = self._complete()
        remove_leftovers(self.directory)
        number = before[-1][0] + 1 if before else 1
        with new_directory(self.directory / f"checkpoint-{number:08d}") as temporary:
            write(temporary)
        for _, path in before:
            # A partly removed checkpoint must never look complete.
            discard_directory(path)
        self._last_epoch = epoch
        self._last_time = time.monotonic()

    def latest(self) -> Path | None:
        """Return the directory of the newest complete checkpoint, or ``None``."""
        complete = self._complete()
        return complete[-1][1] if complete else None

    def clear(self) -> None:
        """Remove every checkpoint, after a successful training or before a fresh start."""
        if not self.directory.is_dir():
            return
        for _, path in self._complete():
            discard_directory(path)
        shutil.rmtree(self.directory)

    def _complete(self) -> list[tuple[int, Path]]:
        if not self.directory.is_dir():
            return []
        found = ((_COMPLETE.fullmatch(path.name), path) for path in self.directory.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

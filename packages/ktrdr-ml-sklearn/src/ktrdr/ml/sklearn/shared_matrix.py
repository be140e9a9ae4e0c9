"""A matrix that the processes of a population share: the operating system keeps it once.

It is an unnamed file, of memory where the system has such files: it disappears with the last process that uses it,
however that process ends. Where a process cannot pass an open file to another, the matrix is sent instead.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.errors import DiskFullError

__all__ = ["SHARES", "MatrixReference", "SharedMatrix"]

SHARES = os.name == "posix"
"""Whether open files are passed to a child process."""


@dataclass(frozen=True, slots=True)
class MatrixReference:
    """What a child process needs to open a matrix: a file descriptor with its shape, or the matrix itself."""

    descriptor: int
    shape: tuple[int, ...]
    content: np.ndarray | None = None

    def open(self) -> np.ndarray:
        """Return the matrix, float32 and read-only."""
        if self.content is not None:
            self.content.flags.writeable = False
            return self.content
        if 0 in self.shape:
            return np.zeros(self.shape, dtype=np.float32)
        mapped = mmap.mmap(self.descriptor, 4 * int(np.prod(self.shape)), access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, dtype=np.float32).reshape(self.shape)


class SharedMatrix:
    """A float32 matrix in an unnamed file. It is copied once, when it is made.

    Raises:
        DiskFullError: there is no room for the copy.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self._file: Any = None
        self.reference = MatrixReference(-1, matrix.shape, None if SHARES else matrix)
        if not SHARES:
            return
        create = getattr(os, "memfd_create", None)
        # It stays open as long as child processes may be started.
        self._file = os.fdopen(create("ktrdr-features"), "wb") if create else tempfile.TemporaryFile("wb")  # noqa: SIM115
        try:
            self._file.write(np.ascontiguousarray(matrix, dtype=np.float32).data)
            self._file.flush()
        except OSError as error:
            self.close()
            raise DiskFullError(
                f"there is no room for a copy of the features, {matrix.nbytes:,} bytes ({error.strerror}); free some "
                f"memory, or disk space of {tempfile.gettempdir()}"
            ) from error
        self.reference = MatrixReference(self._file.fileno(), matrix.shape)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors to pass to a child process."""
        return () if self._file is None else (self._file.fileno(),)

    def close(self) -> None:
        """Close the file here; the child processes keep their own."""
        if self._file is not None:
            self._file.close()

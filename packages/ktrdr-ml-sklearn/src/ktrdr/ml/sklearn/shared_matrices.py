"""Matrices that the processes of a population share: the operating system keeps them once.

They are in one unnamed file, of memory where the system has such files: it disappears with the last process that uses
it, however that process ends. Where a process cannot pass an open file to another, the matrices are sent instead.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.errors import DiskFullError

__all__ = ["SHARES", "MatricesReference", "SharedMatrices"]

SHARES = os.name == "posix"
"""Whether open files are passed to a child process."""


@dataclass(frozen=True, slots=True)
class MatricesReference:
    """What a child process needs to open the matrices.

    Attributes:
        descriptor: of the file, if there is one.
        shapes: of the matrices, which follow each other in the file.
        contents: the matrices themselves, without a file.
    """

    descriptor: int
    shapes: tuple[tuple[int, ...], ...]
    contents: tuple[np.ndarray, ...] = ()

    def open(self) -> list[np.ndarray]:
        """Return the matrices, float32 and read-only."""
        sizes = [math.prod(shape) for shape in self.shapes]
        total = sum(sizes)
        whole: Any = b""
        if self.descriptor >= 0 and total:
            whole = mmap.mmap(self.descriptor, 4 * total, access=mmap.ACCESS_READ)
        opened, place = [], 0
        for number, (shape, size) in enumerate(zip(self.shapes, sizes, strict=True)):
            if self.contents:
                matrix = self.contents[number]
                matrix.flags.writeable = False
            else:
                matrix = np.frombuffer(whole, dtype=np.float32, count=size, offset=4 * place).reshape(shape)
            opened.append(matrix)
            place += size
        return opened


class SharedMatrices:
    """Float32 matrices in one unnamed file. They are copied once, when it is made.

    Raises:
        DiskFullError: there is no room for the copy.
    """

    def __init__(self, matrices: Sequence[np.ndarray]) -> None:
        self._file: Any = None
        shapes = tuple(matrix.shape for matrix in matrices)
        if not SHARES:
            self.reference = MatricesReference(-1, shapes, tuple(matrices))
            return
        create = getattr(os, "memfd_create", None)
        # It stays open as long as child processes may be started.
        self._file = os.fdopen(create("ktrdr-features"), "wb") if create else tempfile.TemporaryFile("wb")  # noqa: SIM115
        try:
            for matrix in matrices:
                self._file.write(np.ascontiguousarray(matrix, dtype=np.float32).data)
            self._file.flush()
        except OSError as error:
            self.close()
            raise DiskFullError(
                f"there is no room for a copy of the features, {sum(matrix.nbytes for matrix in matrices):,} bytes "
                f"({error.strerror}); free some memory, or disk space of {tempfile.gettempdir()}"
            ) from error
        self.reference = MatricesReference(self._file.fileno(), shapes)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors to pass to a child process."""
        return () if self._file is None else (self._file.fileno(),)

    def close(self) -> None:
        """Close the file here; the child processes keep their own."""
        if self._file is not None:
            self._file.close()

"""Strategy files of the server, `<home>/strategies/<name>.yaml`; each is written atomically."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktrdr.core.errors import NotFoundError

__all__ = ["ChangedError", "StoredStrategy", "StrategyStore"]


class ChangedError(Exception):
    """The file is not in the state that the client expects; ``etag`` is its state now, ``None`` if it is missing."""

    def __init__(self, name: str, etag: str | None) -> None:
        super().__init__(name)
        self.etag = etag


@dataclass(frozen=True, slots=True)
class StoredStrategy:
    """A stored strategy file. ``etag`` changes when the content changes."""

    name: str
    text: str

    @property
    def etag(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


class StrategyStore:
    """The strategy files below ``root``. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the names of all stored strategies, sorted."""
        if not self.root.is_dir():
            return []
        found = [path.name.removesuffix(".yaml") for path in self.root.iterdir() if path.name.endswith(".yaml")]
        return sorted(name for name in found if _is_name(name))

    def get(self, name: str) -> StoredStrategy:
        """Return one file. Raises ``NotFoundError``."""
        try:
            # A symbolic link could point outside the directory.
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"there is no strategy `{name}`") from None
        except OSError as error:
            raise NotFoundError(f"strategy `{name}` cannot be read: {error.strerror}") from None
        from ktrdr.core.limits import LONGEST_STRATEGY

        with open(descriptor, encoding="utf-8", newline="") as file:
            try:
                return StoredStrategy(name, file.read(4 * LONGEST_STRATEGY))
            except (OSError, UnicodeDecodeError):
                raise NotFoundError(f"strategy `{name}` cannot be read: it is not a UTF-8 text file") from None

    def put(self, name: str, text: str, *, expected: str | None) -> StoredStrategy:
        """Write a file if its state is ``expected``: an ``etag``, or ``None`` for a file that does not exist yet.

        Raises:
            ChangedError: the file is in another state.
            StoreError: the disk is full, or the directory is not writable.
        """
        from ktrdr.core.files.durable import write_atomically

        stored = StoredStrategy(name, text)
        with self._checked(name, expected):
            write_atomically(self._path(name), text.encode())
        return stored

    def delete(self, name: str, *, expected: str) -> None:
        """Remove a file if its state is ``expected``; see :meth:`put`. Raises ``NotFoundError`` too."""
        from ktrdr.core.files.durable import sync_directory

        self.get(name)
        with self._checked(name, expected):
            self._path(name).unlink()
            sync_directory(self.root)

    def _path(self, name: str) -> Path:
        if not _is_name(name):
            raise NotFoundError(
                f"{name!r} cannot name a strategy: letters, digits, `-` and `_`, at most 64, first a letter or digit"
            )
        return self.root / f"{name}.yaml"

    @contextmanager
    def _checked(self, name: str, expected: str | None) -> Iterator[None]:
        from filelock import FileLock

        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".lock"):
            try:
                now = self.get(name).etag
            except NotFoundError:
                now = None
            if now != expected:
                raise ChangedError(name, now)
            yield


def _is_name(name: str) -> bool:
    from ktrdr.core.names import is_name

    return is_name(name)

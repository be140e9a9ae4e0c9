"""A store of results of strategies, one directory each: `$KTRDR_HOME/<folder>/<strategy>/<number>/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.files.durable import new_directory, remove_leftovers, writing
from ktrdr.core.files.reading import FileError
from ktrdr.core.home import home_directory
from ktrdr.core.names import NAME_PATTERN
from ktrdr.core.parameters import did_you_mean

__all__ = ["NumberedResults"]

T = TypeVar("T")

_LOCK = ".lock"
_NAME = re.compile(NAME_PATTERN)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class NumberedResults:
    """The store of one kind of results. A result has the name ``strategy/number``.

    In every method, ``root`` is the directory of the store; by default that below ``$KTRDR_HOME``.

    Attributes:
        kind: what messages call a result, such as ``evaluation``.
        article: its article.
        folder: name of the directory below ``$KTRDR_HOME``.
        file: name of the file that every directory of a result has.
        command: what makes a result.
        again: what replaces a damaged one.
    """

    kind: str
    article: str
    folder: str
    file: str
    command: str
    again: str

    def root(self) -> Path:
        """Return the directory of the store below ``$KTRDR_HOME``."""
        return home_directory() / self.folder

    def add(
        self,
        name: str,
        write: Callable[[Path, str], None],
        *,
        root: Path | None = None,
        left_by: Callable[[Path], bool] | None = None,
    ) -> Path:
        """Write the next result of a strategy, and return its directory. It becomes visible only when it is complete.

        Args:
            name: name of the strategy.
            write: writes the files into a directory, for a reference such as ``name/3``.
            root: directory of the store.
            left_by: tells whether a stored result is the one to write; then that is returned, and nothing is written.

        Raises:
            BadInputError: ``name`` cannot be the name of a strategy.
            StoreError: the disk is full, or the directory is not writable; nothing is stored.
        """
        if not _NAME.fullmatch(name):
            raise BadInputError(f"{name!r} cannot be the name of a strategy, so its {self.kind} cannot be stored")
        place = self._place(root) / name
        with writing(f"to {place}", f"no {self.kind} was stored"):
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / _LOCK):
                # All writers hold the lock, so whatever is unfinished was left by a dead process.
                remove_leftovers(place)
                if left_by is not None:
                    for number in reversed(self._numbers(place)):
                        if left_by(place / str(number)):
                            return place / str(number)
                # Also of those whose files were deleted: results and reports may still name them.
                number = max(_used(place), default=0) + 1
                with new_directory(place / str(number)) as directory:
                    write(directory, f"{name}/{number}")
        return place / str(number)

    def directory(self, ref: str, root: Path | None = None) -> Path:
        """Return the directory of a stored result.

        Args:
            ref: ``name/3``, or ``name`` for the latest result of a strategy.
            root: directory of the store.

        Raises:
            NotFoundError: there is no such result; the message names what is stored.
            BadInputError: ``ref`` is not a reference to a result.
        """
        place = self._place(root)
        name, slash, number = ref.partition("/")
        if not _NAME.fullmatch(name) or (slash and not _NUMBER.fullmatch(number)):
            raise BadInputError(
                f"{ref!r} does not name {self.article} {self.kind}; write `name` for the latest one, or `name/3`"
            )
        numbers = self._numbers(place / name)
        if not numbers:
            names = sorted({path.parent.name for path in self.stored(place)})
            hint = did_you_mean(name, names)
            if not hint:
                hint = f"; there are those of {', '.join(names[:10])}" if names else f", and `{self.command}` makes one"
            raise NotFoundError(f"there is no {self.kind} of `{name}` in {place}{hint}")
        if not slash:
            return place / name / str(numbers[-1])
        if int(number) not in numbers:
            raise NotFoundError(
                f"strategy `{name}` has no {self.kind} {number} in {place}; it has"
                f" {', '.join(str(known) for known in numbers[-10:])}"
            )
        return place / name / number

    def stored(self, root: Path | None = None) -> tuple[Path, ...]:
        """Return the directories of all results, by name and number."""
        place = self._place(root)
        return tuple(self._directories(place)) if place.is_dir() else ()

    def stored_of(self, name: str, root: Path | None = None) -> tuple[Path, ...]:
        """Return the directories of the results of one strategy, by number; none if ``name`` is none of a strategy."""
        if not _NAME.fullmatch(name):
            return ()
        place = self._place(root) / name
        return tuple(place / str(number) for number in self._numbers(place))

    def told(self, directory: Path, read: Callable[[], T]) -> T:
        """Return the result of ``read``; a damaged file is told with the name of the result and a remedy.

        Raises:
            BadInputError: ``read`` found a file that is missing, damaged or hostile.
        """
        try:
            return read()
        except (FileError, UnicodeDecodeError) as error:
            raise BadInputError(
                f"{self.kind} {self.name_of(directory)} is damaged: {error}; {self.again}, or remove {directory}"
            ) from None

    @staticmethod
    def name_of(directory: Path) -> str:
        """Return the name that a result has in the store, by its directory."""
        return f"{directory.parent.name}/{directory.name}"

    def _place(self, root: Path | None) -> Path:
        return self.root() if root is None else root

    def _directories(self, place: Path) -> Iterator[Path]:
        for name in sorted(path.name for path in place.iterdir() if _NAME.fullmatch(path.name)):
            yield from self.stored_of(name, place)

    def _numbers(self, place: Path) -> list[int]:
        """Return the numbers of the results of one strategy, ascending."""
        if not place.is_dir():
            return []
        return sorted(number for number in _used(place) if (place / str(number) / self.file).is_file())


def _used(place: Path) -> list[int]:
    """Return the numbers that one strategy has used, also those of directories without files."""
    return [int(path.name) for path in place.iterdir() if _NUMBER.fullmatch(path.name)]

"""The store of evaluations, one directory each: `$KTRDR_HOME/evaluations/<strategy>/<number>/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.files.durable import new_directory, remove_leftovers, writing
from ktrdr.core.home import home_directory
from ktrdr.core.names import NAME_PATTERN
from ktrdr.core.parameters import did_you_mean

__all__ = ["EVALUATION_FILE", "add_evaluation", "evaluation_directory", "evaluations_root", "stored_evaluations"]

EVALUATION_FILE = "evaluation.json"
"""Name of the file that every directory of an evaluation has."""

_LOCK = ".lock"
_NAME = re.compile(NAME_PATTERN)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def evaluations_root() -> Path:
    """Return ``$KTRDR_HOME/evaluations``."""
    return home_directory() / "evaluations"


def add_evaluation(
    name: str,
    write: Callable[[Path, str], None],
    *,
    root: Path | None = None,
    left_by: Callable[[Path], bool] | None = None,
) -> Path:
    """Write the next evaluation of a strategy, and return its directory. It becomes visible only when it is complete.

    Args:
        name: name of the strategy.
        write: writes the files into a directory, for a reference such as ``name/3``.
        root: directory of the store; by default :func:`evaluations_root`.
        left_by: tells whether a stored evaluation is the one to write; then that is returned, and nothing is written.

    Raises:
        BadInputError: ``name`` cannot be the name of a strategy.
        StoreError: the disk is full, or the directory is not writable; nothing is stored.
    """
    if not _NAME.fullmatch(name):
        raise BadInputError(f"{name!r} cannot be the name of a strategy, so its evaluation cannot be stored")
    place = (evaluations_root() if root is None else root) / name
    with writing(f"to {place}", "no evaluation was stored"):
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / _LOCK):
            # All writers hold the lock, so whatever is unfinished was left by a dead process.
            remove_leftovers(place)
            if left_by is not None:
                for number in reversed(_numbers(place)):
                    if left_by(place / str(number)):
                        return place / str(number)
            # Also of those whose files were deleted: results and reports may still name them.
            number = max(_used(place), default=0) + 1
            with new_directory(place / str(number)) as directory:
                write(directory, f"{name}/{number}")
    return place / str(number)


def evaluation_directory(ref: str, root: Path | None = None) -> Path:
    """Return the directory of a stored evaluation.

    Args:
        ref: ``name/3``, or ``name`` for the latest evaluation of a strategy.
        root: directory of the store; by default :func:`evaluations_root`.

    Raises:
        NotFoundError: there is no such evaluation; the message names what is stored.
        BadInputError: ``ref`` is not a reference to an evaluation.
    """
    place = evaluations_root() if root is None else root
    name, slash, number = ref.partition("/")
    if not _NAME.fullmatch(name) or (slash and not _NUMBER.fullmatch(number)):
        raise BadInputError(f"{ref!r} does not name an evaluation; write `name` for the latest one, or `name/3`")
    numbers = _numbers(place / name)
    if not numbers:
        names = sorted({path.parent.name for path in stored_evaluations(place)})
        hint = did_you_mean(name, names)
        if not hint:
            hint = f"; there are those of {', '.join(names[:10])}" if names else ", and `ktrdr evaluate` makes one"
        raise NotFoundError(f"there is no evaluation of `{name}` in {place}{hint}")
    if not slash:
        return place / name / str(numbers[-1])
    if int(number) not in numbers:
        raise NotFoundError(
            f"strategy `{name}` has no evaluation {number} in {place}; it has"
            f" {', '.join(str(known) for known in numbers[-10:])}"
        )
    return place / name / number


def stored_evaluations(root: Path | None = None) -> tuple[Path, ...]:
    """Return the directories of all evaluations, by name and number.

    Args:
        root: directory of the store; by default :func:`evaluations_root`.
    """
    place = evaluations_root() if root is None else root
    return tuple(_directories(place)) if place.is_dir() else ()


def _directories(place: Path) -> Iterator[Path]:
    for name in sorted(path.name for path in place.iterdir() if _NAME.fullmatch(path.name)):
        for number in _numbers(place / name):
            yield place / name / str(number)


def _numbers(place: Path) -> list[int]:
    """Return the numbers of the evaluations of one strategy, ascending."""
    if not place.is_dir():
        return []
    return sorted(number for number in _used(place) if (place / str(number) / EVALUATION_FILE).is_file())


def _used(place: Path) -> list[int]:
    """Return the numbers that one strategy has used, also those of directories without files."""
    return [int(path.name) for path in place.iterdir() if _NUMBER.fullmatch(path.name)]

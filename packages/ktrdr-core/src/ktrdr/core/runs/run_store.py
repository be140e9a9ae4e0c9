"""The store of results, one directory per run: `$KTRDR_HOME/runs/<model>/<version>-<number>/`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.files.durable import DISCARDED, UNFINISHED
from ktrdr.core.home import home_directory
from ktrdr.core.names import RUN_PATTERN
from ktrdr.core.parameters import did_you_mean

__all__ = [
    "RESULT_FILE",
    "StorableResult",
    "claim_run",
    "find_run",
    "run_name",
    "runs_root",
    "store_run",
    "stored_runs",
]

RESULT_FILE = "result.json"
"""Name of the file that every directory with a result has."""


class _ModelVersion(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...


class StorableResult(Protocol):
    """A result for a model, which writes its own files."""

    @property
    def manifest(self) -> _ModelVersion:
        """Name and version of the model."""

    def write(self, directory: Path) -> None:
        """Write the files, including :data:`RESULT_FILE`, to ``directory``; all of them, or none."""


def runs_root() -> Path:
    """Return ``$KTRDR_HOME/runs``."""
    return home_directory() / "runs"


def run_name(directory: Path) -> str:
    """Return the name of a run as commands take it: ``model/2-1`` below the root, the path elsewhere."""
    return f"{directory.parent.name}/{directory.name}" if directory.parent.parent == runs_root() else str(directory)


def claim_run(result: StorableResult, root: Path | None = None) -> Path:
    """Make an empty directory for the next run of the result's model, and return it. No other process gets it."""
    place = (runs_root() if root is None else root) / result.manifest.name
    place.mkdir(parents=True, exist_ok=True)
    version = result.manifest.version
    taken = (path.name.partition("-") for path in place.iterdir())
    number = max((int(last) for first, _, last in taken if first == str(version) and last.isdecimal()), default=0) + 1
    while True:
        directory = place / f"{version}-{number}"
        try:
            directory.mkdir()
        except FileExistsError:
            number += 1  # another process has made it
        else:
            return directory


def store_run(
    result: StorableResult,
    directory: Path | None = None,
    *,
    then: Callable[[Path], object] | None = None,
) -> Path:
    """Write a result to a directory, and return the directory.

    If writing or ``then`` fails, a directory that was made here is removed.

    Args:
        result: result to write.
        directory: directory of the run; the next one below :func:`runs_root` if None.
        then: called with the directory afterwards, to add a file.
    """
    made = directory is None or not directory.exists()
    place = claim_run(result) if directory is None else directory
    try:
        result.write(place)
        if then is not None:
            then(place)
    except BaseException:
        if made and place.is_dir():
            _remove(place)
        raise
    return place


def find_run(name: str) -> Path:
    """Return the directory of a run.

    Args:
        name: ``model/2-1``, or the path of the directory.

    Raises:
        NotFoundError: there is no such run; the message names the stored runs.
        BadInputError: ``name`` is neither the name of a run nor a path.
    """
    given = re.fullmatch(RUN_PATTERN, name)
    if given and ((directory := runs_root() / name) / RESULT_FILE).is_file():
        return directory
    if (Path(name) / RESULT_FILE).is_file():
        return Path(name)
    if not given and not Path(name).exists() and "/" in name:
        raise BadInputError(f"{name!r} is not the name of a run: write it as model/2-1, or give the directory of one")
    root = runs_root()
    known = sorted(f"{path.parent.name}/{path.name}" for path in stored_runs(root))
    there = f"there are {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}" if known else "there are none yet"
    # The runs of a known model are listed already: a similar number would not help.
    misspelt = not any(run.startswith(f"{name.partition('/')[0]}/") for run in known)
    hint = (did_you_mean(name, known) if misspelt else "") or ", and `ktrdr backtest` makes one"
    raise NotFoundError(f"there is no backtest run `{name}` in {root}; {there}{hint}")


def stored_runs(root: Path) -> list[Path]:
    """Return the directories of all runs below ``root``, sorted, without those of killed writers."""
    found = (path.parent for path in root.glob(f"*/*/{RESULT_FILE}"))
    return sorted(path for path in found if not path.name.startswith((UNFINISHED, DISCARDED)))


def _remove(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()

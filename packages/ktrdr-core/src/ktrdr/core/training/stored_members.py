"""Finished members of a population on disk, so that an interrupted run does not train them again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.files.durable import discard_directory, new_directory, remove_leftovers
from ktrdr.core.files.reading import FileError, sha256_of
from ktrdr.core.limits import LARGEST_BUNDLE_FILE
from ktrdr.core.plugins.contract import EpochRecord, MemberOutcome, ModelStorage, Predictor

__all__ = ["MEMBERS", "MemberStore", "StoredMember", "member_directories"]

MEMBERS = "members"
"""Directory of the finished members, below the directory of a run's checkpoints."""

_FILE = "member.json"


def member_directories(run: Path) -> list[Path]:
    """Return the directories of the finished members below the directory of a run, in order."""
    return sorted(path for path in (run / MEMBERS).glob("[0-9]*") if path.is_dir())


@dataclass(frozen=True, slots=True, eq=False)
class StoredMember:
    """A trained model in the files that its backend wrote; implements :class:`~ktrdr.core.plugins.TrainedModel`.

    Attributes:
        directory: directory of the files.
        files: sha256 of each file, by name.
        history, best_epoch: as the backend returned them.
        facts: what the backend's storage returned.
        load: returns a predictor of the files in a directory.
    """

    directory: Path
    files: Mapping[str, str]
    history: tuple[EpochRecord, ...]
    best_epoch: int
    facts: Mapping[str, Any]
    load: Callable[[Path], Predictor]

    def predictor(self) -> Predictor:
        """Return a predictor over the stored weights."""
        return self.load(self.directory)

    def copy_to(self, directory: Path) -> dict[str, Any]:
        """Copy the files into ``directory``, and return the facts, as the backend's storage did."""
        for name in self.files:
            shutil.copyfile(self.directory / name, directory / name)
        return dict(self.facts)


class MemberStore:
    """The finished members of one run, by their number in the population.

    A member is complete or does not exist, whenever the process is killed. A member whose files were changed since
    counts as not finished. Several processes may store different members at once.

    Args:
        run: directory of the run's checkpoints; the members are below it.
        storage: of the backend.
        load: returns a predictor of files that ``storage`` wrote.
    """

    def __init__(self, run: Path, storage: ModelStorage, load: Callable[[Path], Predictor]) -> None:
        self._root = run / MEMBERS
        self._storage = storage
        self._load = load

    def put(self, number: int, outcome: MemberOutcome) -> MemberOutcome:
        """Store the outcome of a member, and return it as :meth:`find` does.

        A cancelled member is not stored: a resumed run trains it.

        Raises:
            StoreError: the disk is full, or the directory is not writable.
        """
        if isinstance(outcome, CancelledError):
            return outcome
        self._root.mkdir(parents=True, exist_ok=True)
        target = self._root / f"{number:04d}"
        if target.exists():
            discard_directory(target)
        with new_directory(target) as directory:
            if isinstance(outcome, BadInputError):
                told: dict[str, Any] = {"error": str(outcome)}
            else:
                facts = self._storage.save(outcome, directory)
                told = {
                    "best_epoch": outcome.best_epoch,
                    "history": [[record.epoch, dict(record.metrics)] for record in outcome.history],
                    "facts": facts,
                    "files": {path.name: sha256_of(path, LARGEST_BUNDLE_FILE) for path in sorted(directory.iterdir())},
                }
            (directory / _FILE).write_text(json.dumps(told), encoding="utf-8")
        return outcome if isinstance(outcome, BadInputError) else self._read(target, told)

    def find(self, number: int) -> MemberOutcome | None:
        """Return the outcome of a finished member, or ``None`` if there is none or its files are damaged."""
        directory = self._root / f"{number:04d}"
        try:
            told = json.loads((directory / _FILE).read_text(encoding="utf-8"))
            if "error" in told:
                return BadInputError(told["error"])
            if any(sha256_of(directory / name, LARGEST_BUNDLE_FILE) != told["files"][name] for name in told["files"]):
                return None
            return self._read(directory, told)
        except (OSError, FileError, ValueError, KeyError, TypeError):
            return None

    def tidy(self) -> None:
        """Remove what killed processes left unfinished; no other process may be storing members."""
        if self._root.is_dir():
            remove_leftovers(self._root)

    def _read(self, directory: Path, told: Mapping[str, Any]) -> StoredMember:
        return StoredMember(
            directory,
            told["files"],
            tuple(EpochRecord(epoch, metrics) for epoch, metrics in told["history"]),
            told["best_epoch"],
            told["facts"],
            self._load,
        )

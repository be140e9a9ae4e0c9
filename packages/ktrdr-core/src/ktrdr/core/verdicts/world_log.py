"""Accounts of finished worlds on disk, so that an interrupted verdict does not train them again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ktrdr.core.files.durable import sync_directory, writing
from ktrdr.core.verdicts.world_trainings import WorldAccount

__all__ = ["WORLDS_FILE", "World", "WorldLog", "left_by_verdict"]

World = tuple[str, int]
"""Kind and number of a world."""

WORLDS_FILE = "worlds.jsonl"
"""Name of the file, in the directory of the checkpoints of a verdict."""


def left_by_verdict(directory: Path) -> Path | None:
    """Return the file of finished worlds in a directory of checkpoints; ``None`` if there is none.

    Args:
        directory: directory of the checkpoints of a verdict.
    """
    path = directory / WORLDS_FILE
    return path if path.is_file() else None


class WorldLog:
    """One line of JSON for each finished world. Lines are only added; a torn last line counts as not written.

    Args:
        directory: directory of the checkpoints of a verdict; made with the first line.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / WORLDS_FILE

    def read(self) -> dict[World, WorldAccount]:
        """Return the finished worlds."""
        found: dict[World, WorldAccount] = {}
        if not self._path.is_file():
            return found
        with self._path.open("rb") as file:
            for line in file:
                try:
                    told = json.loads(line)
                    equity = np.array(told["equity"], dtype=np.float64)
                    found[str(told["kind"]), int(told["number"])] = WorldAccount(told["sharpe"], equity)
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill while it was written
        return found

    def add(self, accounts: Mapping[World, WorldAccount]) -> None:
        """Add finished worlds; when this returns, they survive a crash of the machine.

        Raises:
            StoreError: the disk is full, or the directory is not writable.
        """
        lines = [
            json.dumps({"kind": kind, "number": number, "sharpe": own.sharpe, "equity": own.equity.tolist()}) + "\n"
            for (kind, number), own in accounts.items()
        ]
        directory = self._path.parent
        with writing(f"to {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                # A torn last line must not swallow the next one.
                file.write(("\n" + "".join(lines)).encode())
                file.flush()
                os.fsync(file.fileno())
            sync_directory(directory)

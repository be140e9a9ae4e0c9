"""The directory of KTRDR's files, from the environment."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home_directory"]


def home_directory() -> Path:
    """Return ``$KTRDR_HOME``, by default ``~/.ktrdr``: the directory that KTRDR writes to. Read at every call."""
    given = os.environ.get("KTRDR_HOME")
    return Path(given).expanduser().absolute() if given else Path.home() / ".ktrdr"

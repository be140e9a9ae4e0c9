"""Settings of the process, read from the environment when asked for and never at import."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home_directory"]


def home_directory() -> Path:
    """Return ``$KTRDR_HOME``, default ``~/.ktrdr``: the directory everything KTRDR writes goes below."""
    given = os.environ.get("KTRDR_HOME")
    return Path(given).expanduser().absolute() if given else Path.home() / ".ktrdr"

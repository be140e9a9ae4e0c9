"""The error of twins that cannot be used."""

from __future__ import annotations

from ktrdr.core.files.reading import FileError

__all__ = ["TwinError"]


class TwinError(FileError):
    """A portable twin is broken or hostile, or uses layers that this core does not know."""

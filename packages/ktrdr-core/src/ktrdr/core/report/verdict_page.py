"""The HTML report of a verdict: one self-contained file that needs no network."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.report.page import write_page
from ktrdr.core.report.verdict_content import verdict_content
from ktrdr.core.verdicts.verdict_parts import Verdict

__all__ = ["write_verdict_page"]


def write_verdict_page(verdict: Verdict, path: Path) -> Path:
    """Write the report of a verdict as an HTML file.

    The file is written completely or not at all. The same verdict gives the same bytes. Missing directories are
    created, and an existing file is replaced.

    Args:
        verdict: the verdict.
        path: file to write.

    Returns:
        ``path``.

    Raises:
        BadInputError: ``path`` is a directory.
        StoreError: the disk is full, or the path is not writable.
    """
    return write_page(lambda: verdict_content(verdict), path)

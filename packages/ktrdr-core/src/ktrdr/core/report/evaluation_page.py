"""The HTML report of an evaluation: one self-contained file that needs no network."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.report.evaluation_content import evaluation_content
from ktrdr.core.report.page import write_page
from ktrdr.core.validation.evaluation_parts import Evaluation

__all__ = ["write_evaluation_page"]


def write_evaluation_page(evaluation: Evaluation, path: Path) -> Path:
    """Write the report of an evaluation as an HTML file.

    The file is written completely or not at all. The same evaluation gives the same bytes. Missing directories are
    created, and an existing file is replaced.

    Args:
        evaluation: the evaluation.
        path: file to write.

    Returns:
        ``path``.

    Raises:
        BadInputError: ``path`` is a directory.
        StoreError: the disk is full, or the path is not writable.
    """
    return write_page(lambda: evaluation_content(evaluation), path)

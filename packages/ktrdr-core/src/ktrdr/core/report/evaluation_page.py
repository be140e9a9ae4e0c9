"""The HTML report of an evaluation: one self-contained file that needs no network."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import write_atomically
from ktrdr.core.report.evaluation_content import evaluation_content
from ktrdr.core.report.page import render
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
    path = Path(path)
    if path.is_dir():
        raise BadInputError(f"the report cannot be written to {path}, which is a directory; add a file name to it")
    content = render(evaluation_content(evaluation)).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path

"""The HTML report of a backtest: one file that needs nothing else, not even a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult

__all__ = ["write_report"]


def write_report(result: BacktestResult, path: Path) -> Path:
    """Write the report of ``result`` to ``path``, whole or not at all, and return ``path``.

    The same result gives the same bytes. Directories on the way are made; a file that is there is replaced.

    Raises:
        BadInputError: ``path`` is a directory.
        StoreError: the disk is full, or the place is not writable.
    """
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.files.durable import write_atomically
    from ktrdr.core.report.content import page_of
    from ktrdr.core.report.page import render

    path = Path(path)
    if path.is_dir():
        raise BadInputError(f"the report cannot be written to {path}, which is a directory; add a file name to it")
    content = render(page_of(result)).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path

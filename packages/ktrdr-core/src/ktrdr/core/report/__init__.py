"""The HTML report of a backtest: one self-contained file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult
    from ktrdr.core.verdicts.stored_verdict import VerdictEntry

__all__ = ["write_report"]


def write_report(result: BacktestResult, path: Path, *, verdict: VerdictEntry | None = None) -> Path:
    """Write the report of a backtest as an HTML file.

    The file is written completely or not at all. The same result gives the same bytes. Missing directories are created,
    and an existing file is replaced.

    Args:
        result: result of the backtest.
        path: file to write.
        verdict: what the store of verdicts has of the strategy; without it the report says nothing about verdicts.

    Returns:
        ``path``.

    Raises:
        BadInputError: ``path`` is a directory.
        StoreError: the disk is full, or the path is not writable.
    """
    from ktrdr.core.report.content import page_of
    from ktrdr.core.report.page import write_page

    return write_page(lambda: page_of(result, verdict), path)

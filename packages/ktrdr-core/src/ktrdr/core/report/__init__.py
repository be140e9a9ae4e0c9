"""The HTML report of a backtest: one self-contained file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult
    from ktrdr.core.verdicts.stored_verdict import VerdictEntry

__all__ = ["latest_verdict_of", "write_report"]


def write_report(result: BacktestResult, path: Path, *, verdict: VerdictEntry | None = None) -> Path:
    """Write the report of a backtest as an HTML file.

    The file is written completely or not at all. The same result gives the same bytes. Missing directories are created,
    and an existing file is replaced.

    Args:
        result: result of the backtest.
        path: file to write.
        verdict: what the store of verdicts has of the strategy, as :func:`latest_verdict_of` returns it; without it the
            report says nothing about verdicts.

    Returns:
        ``path``.

    Raises:
        BadInputError: ``path`` is a directory.
        StoreError: the disk is full, or the path is not writable.
    """
    from ktrdr.core.report.content import page_of
    from ktrdr.core.report.page import write_page

    return write_page(lambda: page_of(result, verdict), path)


def latest_verdict_of(result: BacktestResult, root: Path | None = None) -> VerdictEntry:
    """Return the latest stored verdict on the strategy of a backtest, for :func:`write_report`.

    Args:
        result: result of the backtest.
        root: directory of the store of verdicts; by default ``$KTRDR_HOME/verdicts``.

    Returns:
        The entry; one without a name if there is no verdict on the strategy.
    """
    from ktrdr.core.strategy.choice import choice_hash
    from ktrdr.core.verdicts.stored_verdict import latest_verdict

    strategy = result.manifest.strategy
    return latest_verdict(strategy.name, choice_hash(strategy), root)

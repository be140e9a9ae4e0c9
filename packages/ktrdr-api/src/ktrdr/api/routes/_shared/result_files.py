"""The files of a backtest: their directory and their content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.api.http.problems import ProblemError
from ktrdr.core.names import RUN_PATTERN

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult

__all__ = ["read_backtest", "result_directory"]


def result_directory(home: Path, result: Mapping[str, Any]) -> Path:
    """Return the directory of a backtest's files, if the worker wrote them to the home of this server."""
    from ktrdr.core.runs.run_store import RESULT_FILE

    run = result.get("run")
    if isinstance(run, str) and re.fullmatch(RUN_PATTERN, run):
        directory = home / "runs" / run
        if directory.resolve().is_relative_to(home.resolve()) and (directory / RESULT_FILE).is_file():
            return directory
    raise ProblemError(
        404,
        "files-elsewhere",
        "The files are not on this server",
        "the files of this backtest are not below this server's KTRDR_HOME: they were deleted, or its worker has "
        "another KTRDR_HOME; the metrics are in the result",
    )


def read_backtest(home: Path, result: Mapping[str, Any]) -> BacktestResult:
    """Read the whole result from its files."""
    from ktrdr.core.backtesting.results import read_result

    return read_result(result_directory(home, result))

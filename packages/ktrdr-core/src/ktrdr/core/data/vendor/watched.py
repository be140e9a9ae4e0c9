"""DuckDB queries with progress reports and cancellation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb

from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["Watch"]

_SECONDS = 0.2
_T = TypeVar("_T")


@dataclass(slots=True)
class Watch:
    """Progress reports and cancellation of one step.

    Attributes:
        progress: receives the reports.
        cancellation: stops the query.
        step: name of the step.
        message: a few words for the reports.
        percent: the last reported value; it never decreases, even if a query has to be repeated.
    """

    progress: Progress
    cancellation: Cancellation
    step: str
    message: str
    percent: int = 0

    def run(
        self,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        parameters: Mapping[str, object],
        *,
        share: tuple[float, float],
    ) -> duckdb.DuckDBPyConnection:
        """Execute ``sql`` and return its result; ``share`` is the fraction of the step at its start and end.

        Raises:
            CancelledError: the cancellation was requested; the query was stopped.
            duckdb.Error: as ``execute``.
        """
        return self._follow(connection, lambda: connection.execute(sql, dict(parameters)), share)

    def arrays(
        self,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        parameters: Mapping[str, object],
        *,
        share: tuple[float, float],
    ) -> dict[str, Any]:
        """Execute ``sql`` as :meth:`run` does, and return the result as arrays by column."""
        return self._follow(connection, lambda: connection.execute(sql, dict(parameters)).fetchnumpy(), share)

    def _follow(self, connection: duckdb.DuckDBPyConnection, work: Callable[[], _T], share: tuple[float, float]) -> _T:
        connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        begin, end = share
        with ThreadPoolExecutor(max_workers=1) as pool:
            query = pool.submit(work)
            try:
                percent = 0.0
                while wait([query], timeout=_SECONDS).not_done:
                    self.cancellation.raise_if_requested()
                    # DuckDB returns -1 while the progress is unknown; progress must not decrease.
                    percent = max(percent, connection.query_progress())
                    self._tell(begin + (end - begin) * percent / 100)
            except BaseException:
                connection.interrupt()
                raise
        return query.result()

    def _tell(self, fraction: float) -> None:
        self.percent = max(self.percent, int(100 * fraction))
        if self.percent:
            self.progress(ProgressEvent(self.step, self.percent, 100, "%", self.percent / 100, self.message))

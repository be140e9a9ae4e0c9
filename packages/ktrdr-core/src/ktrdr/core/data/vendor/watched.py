"""Long DuckDB queries that report how far they are and can be stopped."""

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
    """Who is told about the step ``step`` of some work, and who may stop it.

    ``percent`` is what was told last; it never goes back, though a query may turn out to be in vain.
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
        """Execute ``sql``, which takes the step from one to the other fraction in ``share``, and return its result.

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
        """Do the same and return the result as arrays by column."""
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
                    # -1 before and after DuckDB knows: progress does not go back.
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

"""Progress of training, at most ten reports a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ktrdr.core.work import Progress, ProgressEvent

__all__ = ["SECONDS_BETWEEN", "Reporter"]

SECONDS_BETWEEN = 0.125
"""Least time between two reports but the last: eight a second, and the last report, which is sent at once."""


class Reporter:
    """Sends reports at a minimum distance in time, and always the last one.

    Args:
        progress: receives the reports.
        total: number of units of the training.
        unit: name of the unit.
        seconds: the minimum distance.
    """

    def __init__(self, progress: Progress, total: int, unit: str, seconds: float = SECONDS_BETWEEN) -> None:
        self._progress = progress
        self._total = total
        self._unit = unit
        self._seconds = seconds
        self._last = time.monotonic()
        self._latest: ProgressEvent | None = None

    def report(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        """Report that ``done`` units are finished."""
        self._latest = ProgressEvent(
            "training", done, self._total, self._unit, min(done / self._total, 1.0), metrics=dict(metrics or {})
        )
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._send(self._latest, now)

    def finish(self) -> None:
        """Send the last report, as that of a complete step."""
        latest = self._latest
        if latest is not None:
            self._send(ProgressEvent("training", latest.done, latest.total, latest.unit, 1.0, "", latest.metrics), 0.0)

    def _send(self, event: ProgressEvent, now: float) -> None:
        self._last = now
        self._progress(event)

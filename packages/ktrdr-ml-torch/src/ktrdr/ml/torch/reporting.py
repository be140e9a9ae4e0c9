"""Progress of training, at most ten reports a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ktrdr.core.work import Progress, ProgressEvent

__all__ = ["Reporter"]

# Eight a second, and the last report, which is sent at once.
_SECONDS_BETWEEN = 0.125


class Reporter:
    """Sends reports at a minimum distance in time, and always the last one.

    Args:
        progress: receives them.
        total: number of units of the training.
        unit: ``epochs`` or ``members``.
    """

    def __init__(self, progress: Progress, total: int, unit: str) -> None:
        self._progress, self._total, self._unit = progress, total, unit
        self._last = time.monotonic()
        self.metrics: Mapping[str, float] = {}

    def due(self, now: float) -> bool:
        """Return True if a report at ``now`` would be sent; fast enough to call after every batch."""
        return now - self._last >= _SECONDS_BETWEEN

    def report(self, now: float, done: int, part: float) -> None:
        """Report that ``done`` units are complete, and a ``part`` of others, in units."""
        if self.due(now):
            self._last = now
            self._send(done, (done + part) / self._total, "")

    def finish(self, done: int, message: str) -> None:
        """Report the end of the training after ``done`` units."""
        self._send(done, 1.0, message)

    def _send(self, done: int, fraction: float, message: str) -> None:
        event = ProgressEvent("training", done, self._total, self._unit, min(fraction, 1.0), message, self.metrics)
        self._progress(event)

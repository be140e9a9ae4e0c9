"""Progress of training, at most ten reports a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ktrdr.core.work import Progress, ProgressEvent

__all__ = ["Reporter"]

# Eight a second, and the last report, which is sent at once.
_SECONDS_BETWEEN = 0.125


class Reporter:
    """Sends reports at a minimum distance in time, and always the last one."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._last = time.monotonic()
        self.metrics: Mapping[str, float] = {}

    def due(self, now: float) -> bool:
        """Return True if a report at ``now`` would be sent; fast enough to call after every batch."""
        return now - self._last >= _SECONDS_BETWEEN

    def report(self, now: float, epoch: int, share: float) -> None:
        """Report that ``epoch`` epochs are complete, and a ``share`` of the next one."""
        if self.due(now):
            self._last = now
            self._send(epoch, (epoch + share) / self._epochs, "")

    def finish(self, epoch: int, message: str) -> None:
        """Report the end of the training after ``epoch`` epochs."""
        self._send(epoch, 1.0, message)

    def _send(self, done: int, fraction: float, message: str) -> None:
        event = ProgressEvent("training", done, self._epochs, "epochs", min(fraction, 1.0), message, self.metrics)
        self._progress(event)

"""Runs the steps of long work, with progress reports and cancellation between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["Steps"]

T = TypeVar("T")


def _silent(result: object) -> str:
    return ""


class Steps:
    """Runs steps one after another, reports the start and end of each, and stops between them on request."""

    def __init__(self, progress: Progress, cancellation: Cancellation) -> None:
        self._progress = progress
        self._cancellation = cancellation

    def run(self, step: str, function: Callable[[], T], say: Callable[[T], str] = _silent) -> T:
        """Run ``function`` and return its result; ``say`` describes the result in a few words for the last report."""
        self._cancellation.raise_if_requested()
        self._progress(ProgressEvent(step))
        result = function()
        self._progress(ProgressEvent(step, fraction=1.0, message=say(result)))
        return result

    def each(
        self,
        step: str,
        symbols: Iterable[str],
        function: Callable[[str], T],
        say: Callable[[dict[str, T]], str] = _silent,
    ) -> dict[str, T]:
        """Return ``{symbol: function(symbol)}``, in order, with a report after every symbol."""
        names = tuple(symbols)
        # "1 of 1" would not inform anybody.
        total, unit = (len(names), "symbols") if len(names) > 1 else (0, "")
        results: dict[str, T] = {}
        for done, symbol in enumerate(names):
            self._cancellation.raise_if_requested()
            self._progress(ProgressEvent(step, done, total, unit, done / len(names), symbol))
            results[symbol] = function(symbol)
        self._progress(ProgressEvent(step, total, total, unit, 1.0, say(results)))
        return results

"""Cooperative cancellation."""

from __future__ import annotations

import threading

from ktrdr.core.errors import CancelledError

__all__ = ["Cancellation"]


class Cancellation:
    """A flag that one thread sets and long work asks for at least once per batch."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason = "cancelled"

    @property
    def requested(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._event.is_set()

    @property
    def reason(self) -> str:
        """Why: what was given to :meth:`cancel`."""
        return self._reason

    def cancel(self, reason: str = "cancelled") -> None:
        """Ask the work to stop at its next look at the flag. Safe from a signal handler and from any thread."""
        self._reason = reason
        self._event.set()

    def raise_if_requested(self) -> None:
        """Raise :class:`~ktrdr.core.errors.CancelledError` if cancellation was asked for."""
        if self._event.is_set():
            raise CancelledError(self._reason)

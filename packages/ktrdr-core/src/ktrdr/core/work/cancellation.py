"""Cooperative cancellation."""

from __future__ import annotations

import threading

from ktrdr.core.errors import CancelledError

__all__ = ["Cancellation", "EitherCancellation"]


class Cancellation:
    """A flag that any thread can set, and that long work checks at least once per batch."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason = "cancelled"

    @property
    def requested(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._event.is_set()

    @property
    def reason(self) -> str:
        """The reason given to :meth:`cancel`."""
        return self._reason

    def cancel(self, reason: str = "cancelled") -> None:
        """Request that the work stops when it next checks the flag. Safe in a signal handler and in any thread."""
        self._reason = reason
        self._event.set()

    def raise_if_requested(self) -> None:
        """Raise :class:`~ktrdr.core.errors.CancelledError` if cancellation was requested."""
        if self._event.is_set():
            raise CancelledError(self._reason)


class EitherCancellation(Cancellation):
    """Requested if one of several is, such as that of a population or that of its member.

    Args:
        parts: to ask, in this order; ``None`` is never requested.
    """

    def __init__(self, *parts: Cancellation | None) -> None:
        super().__init__()
        self._parts = [part for part in parts if part is not None]

    @property
    def requested(self) -> bool:
        """True once one of them is requested."""
        return any(part.requested for part in self._parts)

    def raise_if_requested(self) -> None:
        """Raise the error of the first that is requested."""
        for part in self._parts:
            part.raise_if_requested()

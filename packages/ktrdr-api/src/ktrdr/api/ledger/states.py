"""States of an operation and the transitions between them."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["STATES", "TERMINAL", "State", "sources_of"]

State = Literal["queued", "running", "completed", "failed", "cancelled"]

STATES: tuple[State, ...] = get_args(State)
TERMINAL: frozenset[State] = frozenset({"completed", "failed", "cancelled"})

_TRANSITIONS: dict[State, frozenset[State]] = {
    # An operation returns to the queue when its worker is lost or drains, or when a failed or cancelled one is resumed.
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"queued"}),
    "completed": frozenset({"running"}),
    "failed": frozenset({"queued", "running"}),
    "cancelled": frozenset({"queued", "running"}),
}


def sources_of(target: State) -> frozenset[State]:
    """Return the states from which an operation may change to ``target``."""
    return _TRANSITIONS[target]

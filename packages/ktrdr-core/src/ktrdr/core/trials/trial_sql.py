"""Small statements that the parts of a ledger of trials share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ktrdr.core.trials.row import hash_of
from ktrdr.core.trials.trial_database import Session

__all__ = ["BATCH", "batches", "broken_row", "is_whole", "read_meta", "select_in", "write_meta"]

BATCH = 500
"""Rows that are read or written at once."""


def read_meta(session: Session) -> dict[str, str]:
    """Return what a ledger says of itself: ``id``, ``schema``, ``created``, ``head`` (hash of its last row), ``before``
    (highest version of each model from before it), ``broken`` (what is known to be damaged)."""
    return dict(session.execute("SELECT name, value FROM trial_meta"))  # type: ignore[arg-type]


def write_meta(session: Session, name: str, value: str) -> None:
    """Put a value in place of what was said under this name."""
    session.execute(
        "INSERT INTO trial_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def select_in(session: Session, statement: str, values: Sequence[Any], rest: str = "") -> dict[Any, Any]:
    """Return ``{first column: second}`` of a statement that ends with ``IN``; at most a batch of values."""
    if not values:
        return {}
    marks = ", ".join("?" * len(values))
    return dict(session.execute(f"{statement} ({marks}){rest}", values))  # type: ignore[arg-type]


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield items, :data:`BATCH` at a time."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def broken_row(digest: str, what: str) -> str:
    """Return the sentence that a row was changed, say."""
    return f"row {digest[:16]} of the ledger of trials {what}"


def is_whole(digest: str, content: Any) -> bool:
    """Return True if a row is what its hash says."""
    # SQLite keeps bytes where there should be a text.
    return isinstance(content, str) and hash_of(content) == digest

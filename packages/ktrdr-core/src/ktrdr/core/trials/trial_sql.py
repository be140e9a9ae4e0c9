"""Small SQL statements that the modules of the ledger share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ktrdr.core.trials.row import hash_of
from ktrdr.core.trials.trial_database import Session

__all__ = ["BATCH", "batches", "broken_row", "is_whole", "read_meta", "select_in", "write_meta"]

BATCH = 500
"""Number of rows that are read or written at once."""


def read_meta(session: Session) -> dict[str, str]:
    """Return the metadata of a ledger.

    ``id``, ``schema``, ``created``, ``head`` (hash of its last row), ``before`` (highest version of each model from
    before the ledger) and ``broken`` (known damage).
    """
    return dict(session.execute("SELECT name, value FROM trial_meta"))  # type: ignore[arg-type]


def write_meta(session: Session, name: str, value: str) -> None:
    """Set a value of the metadata."""
    session.execute(
        "INSERT INTO trial_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def select_in(session: Session, statement: str, values: Sequence[Any], rest: str = "") -> dict[Any, Any]:
    """Execute a statement that ends with ``IN`` for at most a batch of values; return ``{first column: second}``."""
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
    """Return a sentence about a broken row, such as that it was changed."""
    return f"row {digest[:16]} of the ledger of trials {what}"


def is_whole(digest: str, content: Any) -> bool:
    """Return True if the content of a row matches its hash."""
    # SQLite may hold bytes where text is expected.
    return isinstance(content, str) and hash_of(content) == digest

"""Tables of the ledger. The first migration defines the constraints, which the database enforces."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, ForeignKey, Integer, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ktrdr.core.errors import ErrorRecord

__all__ = ["AttemptRow", "Base", "ErrorJson", "EventRow", "OperationRow", "UtcDateTime"]


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC time; SQLite stores no time zone, so it is added when a time is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Refuse naive times."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time in the ledger must have a time zone")
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Return an aware time."""
        return value.replace(tzinfo=dt.UTC) if value is not None and value.tzinfo is None else value


class ErrorJson(TypeDecorator[ErrorRecord]):
    """An error in the JSON of :class:`ErrorRecord`, which also reads the form of earlier versions."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: ErrorRecord | None, dialect: Dialect) -> dict[str, Any] | None:
        """Return the JSON value to store."""
        return None if value is None else value.to_json()

    def process_result_value(self, value: Any, dialect: Dialect) -> ErrorRecord | None:
        """Return the error of a stored JSON value."""
        return None if value is None else ErrorRecord.from_json(value)


class Base(DeclarativeBase):
    """Base of the tables."""


class OperationRow(Base):
    """One operation. ``id`` sorts by time of creation; ``attempt`` counts from 1, to recognize outdated reports."""

    __tablename__ = "operations"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    job: Mapped[dict[str, Any]] = mapped_column(JSON)
    requires: Mapped[list[str]] = mapped_column(JSON)
    waiting_for: Mapped[str | None] = mapped_column(Text)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    retry_of: Mapped[str | None] = mapped_column(String(26))
    worker: Mapped[str | None] = mapped_column(String(255))
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[ErrorRecord | None] = mapped_column(ErrorJson)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    heartbeat_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))


class AttemptRow(Base):
    """One attempt of an operation, and how it ended."""

    __tablename__ = "operation_attempts"

    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    worker: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(Text)
    counts: Mapped[bool] = mapped_column(Boolean, default=False)


class EventRow(Base):
    """An event for listeners; ``seq`` is the id of the Server-Sent Event."""

    __tablename__ = "operation_events"
    # Numbers are never reused, not even that of a deleted newest row: listeners remember them.
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), index=True)
    at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)

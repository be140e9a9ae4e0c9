"""Tables of the ledger. Which states cannot be is said in the first migration, and enforced by the database."""

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
    """An aware UTC time; SQLite stores no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Refuse naive times."""
        if value is not None and value.tzinfo is None:
            raise ValueError("times in the ledger are aware")
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Return an aware time."""
        return value.replace(tzinfo=dt.UTC) if value is not None and value.tzinfo is None else value


class ErrorJson(TypeDecorator[ErrorRecord]):
    """An error as JSON, as it travels: what earlier versions wrote is read too."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: ErrorRecord | None, dialect: Dialect) -> dict[str, Any] | None:
        """Return what is stored."""
        return None if value is None else value.to_json()

    def process_result_value(self, value: Any, dialect: Dialect) -> ErrorRecord | None:
        """Return what was stored."""
        return None if value is None else ErrorRecord.from_json(value)


class Base(DeclarativeBase):
    """Base of the tables."""


class OperationRow(Base):
    """One operation. ``id`` sorts by time of creation; ``attempt`` counts from 1 and fences off late news."""

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
    """How one attempt of an operation ended."""

    __tablename__ = "operation_attempts"

    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    worker: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(Text)
    counts: Mapped[bool] = mapped_column(Boolean, default=False)


class EventRow(Base):
    """What a listener is told; ``seq`` is the id of the Server-Sent Event."""

    __tablename__ = "operation_events"
    # Never give a number again, not even that of the newest row when it was deleted: listeners remember it.
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), index=True)
    at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)

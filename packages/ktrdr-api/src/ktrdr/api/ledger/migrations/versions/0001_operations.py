"""Tables of operations, their attempts and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ktrdr.api.ledger.rows import UtcDateTime

revision = "0001"
down_revision = None

CHECKS = {
    "known_state": "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')",
    "ended_has_an_end": "(state IN ('queued', 'running')) = (finished_at IS NULL)",
    "running_somewhere": "state <> 'running' OR (worker IS NOT NULL AND started_at IS NOT NULL)",
    "only_queued_waits": "state = 'queued' OR waiting_for IS NULL",
    "completed_has_a_result": "(state = 'completed') = (result IS NOT NULL)",
    "failed_has_an_error": "(state = 'failed') = (error IS NOT NULL)",
    "attempts_count_from_1": "attempt >= 1",
}
"""Constraints that the database enforces on every row."""


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "operations",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("job", sa.JSON, nullable=False),
        sa.Column("requires", sa.JSON, nullable=False),
        sa.Column("waiting_for", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("retry_of", sa.String(26)),
        sa.Column("worker", sa.String(255)),
        sa.Column("progress", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("heartbeat_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("idempotency_key", sa.String(255), unique=True),
        sa.Column("idempotency_digest", sa.String(64)),
        *(sa.CheckConstraint(text, name=name) for name, text in CHECKS.items()),
    )
    op.create_table(
        "operation_attempts",
        sa.Column("operation_id", sa.String(26), sa.ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("outcome", sa.Text),
        sa.Column("counts", sa.Boolean, nullable=False),
    )
    op.create_table(
        "operation_events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column(
            "operation_id",
            sa.String(26),
            sa.ForeignKey("operations.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("operation_events", "operation_attempts", "operations"):
        op.drop_table(table)

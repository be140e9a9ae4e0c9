"""Alembic's entry: always given an open connection by :func:`ktrdr.api.ledger.database.migrate`."""

from __future__ import annotations

from alembic import context

from ktrdr.api.ledger.rows import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()

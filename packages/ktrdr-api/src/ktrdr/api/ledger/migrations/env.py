"""Entry point of Alembic; :meth:`ktrdr.api.ledger.database.Database.migrate` passes an open connection."""

from __future__ import annotations

from alembic import context

from ktrdr.api.ledger.rows import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()

"""Alembic migrations of the ledger, run when the API starts."""

"""The ledger of operations: their jobs, states, progress and results, in SQLite or PostgreSQL."""

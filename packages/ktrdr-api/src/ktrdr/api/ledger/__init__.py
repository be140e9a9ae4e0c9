"""The ledger of operations: what was asked for, how far it is, how it ended. SQLite or PostgreSQL."""

"""The life of an operation, between the ledger and the engine."""

"""Fuzzy sets: how much a value belongs to `low`, `high` and the like."""

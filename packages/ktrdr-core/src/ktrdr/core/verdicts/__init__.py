"""Verdicts: whether a strategy has an edge. Evidence, one documented rule, and the store of verdicts."""

"""Stored evaluations of strategies."""

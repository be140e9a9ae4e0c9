"""Workflows from a job to its result, such as training a strategy; they connect stores, plugins and engines."""

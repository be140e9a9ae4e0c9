"""Training: one module per step, and the executor that calls them in order."""

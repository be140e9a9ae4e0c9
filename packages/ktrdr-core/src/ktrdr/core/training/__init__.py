"""Training of models: one module per step, and the executor that runs the steps in order."""

"""From a model's outputs to trades, equity and figures: decisions, simulation, metrics, results."""

"""Sweeps: many backtests of one model, each with different settings of its strategy."""

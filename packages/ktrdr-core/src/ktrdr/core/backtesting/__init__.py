"""Backtests of trained models: decisions, simulation of orders, metrics and results."""

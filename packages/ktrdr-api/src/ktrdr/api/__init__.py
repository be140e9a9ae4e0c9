"""KTRDR API: a FastAPI backend that orchestrates and never needs an ML framework."""

__version__ = "0.1.0"

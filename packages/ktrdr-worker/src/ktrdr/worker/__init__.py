"""Dask worker of KTRDR with start-up validation and capabilities."""

__version__ = "0.1.0"

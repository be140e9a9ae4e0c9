"""Dask worker of KTRDR: start-up checks, capabilities, and execution of operations."""

__version__ = "0.1.0"

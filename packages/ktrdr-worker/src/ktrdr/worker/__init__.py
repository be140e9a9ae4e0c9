"""Dask worker of KTRDR with start-up validation and capabilities."""

"""Execution of operations: the interface of an engine, and the engines on Dask."""

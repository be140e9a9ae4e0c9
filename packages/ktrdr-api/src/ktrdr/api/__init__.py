"""HTTP API of KTRDR: a FastAPI server that queues and distributes work; it needs no ML framework."""

__version__ = "0.1.0"

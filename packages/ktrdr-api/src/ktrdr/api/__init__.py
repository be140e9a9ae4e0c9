"""FastAPI backend of KTRDR: orchestration without an ML framework."""

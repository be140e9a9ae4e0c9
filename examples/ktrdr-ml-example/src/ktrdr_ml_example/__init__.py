"""A complete ML backend of KTRDR in numpy, to start one's own from."""

__version__ = "1.0.0"

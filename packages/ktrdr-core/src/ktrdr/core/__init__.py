"""KTRDR core: domain, feature pipeline, plugin contract, model store and command line, without an ML framework."""

__version__ = "0.1.0"

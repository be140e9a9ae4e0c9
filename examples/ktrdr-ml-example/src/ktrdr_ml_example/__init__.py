"""A complete ML backend of KTRDR in numpy, as a template for other backends."""

__version__ = "1.0.0"

"""scikit-learn backend of KTRDR: the baseline every neural model should beat."""

__version__ = "0.1.0"

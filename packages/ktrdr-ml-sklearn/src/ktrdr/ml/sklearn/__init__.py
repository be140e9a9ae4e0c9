"""scikit-learn backend of KTRDR: baselines that a neural model should beat."""

__version__ = "0.1.0"

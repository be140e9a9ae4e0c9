"""scikit-learn backend of KTRDR: the baseline every neural model should beat."""

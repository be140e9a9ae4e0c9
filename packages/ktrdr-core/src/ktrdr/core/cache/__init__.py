"""Cache of arrays that are expensive to compute, below ``KTRDR_HOME/cache``."""

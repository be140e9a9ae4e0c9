"""Bounds that hold in more than one room."""

from __future__ import annotations

__all__ = ["LARGEST_SEED", "LARGEST_VERSION", "LONGEST_STRATEGY", "MOST_EPOCHS"]

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes, that of numpy and of scikit-learn too."""

MOST_EPOCHS = 1_000_000
"""Passes over the training part."""

LONGEST_STRATEGY = 131_072
"""Characters of a strategy file."""

LARGEST_VERSION = 999_999_999
"""Of a model."""

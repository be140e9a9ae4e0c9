"""Bounds that hold in more than one room."""

from __future__ import annotations

__all__ = [
    "LARGEST_SEED",
    "LARGEST_VERSION",
    "LEAST_FREE_DISK",
    "LONGEST_LINE",
    "LONGEST_STRATEGY",
    "MOST_COLUMNS",
    "MOST_EPOCHS",
]

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes, that of numpy and of scikit-learn too."""

MOST_EPOCHS = 1_000_000
"""Passes over the training part."""

LONGEST_STRATEGY = 131_072
"""Characters of a strategy file."""

LONGEST_LINE = 65_536
"""Bytes of a line in a text file of bars: what reads such files takes minutes for lines of millions of columns."""

MOST_COLUMNS = 4_000
"""Of a text file of bars. One with all stocks of an exchange side by side has some thousands."""

LARGEST_VERSION = 999_999_999
"""Of a model."""

LEAST_FREE_DISK = 100_000_000
"""Bytes: a server with less is not ready. A training's checkpoints and a report take some 10 MB."""

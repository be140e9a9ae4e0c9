"""Bounds that hold in more than one room, and those of what comes from strangers."""

from __future__ import annotations

__all__ = [
    "DEEPEST_JSON",
    "FEWEST_JUDGED_SAMPLES",
    "FEWEST_SAMPLES_PER_INPUT",
    "FEWEST_TRADES",
    "FREE_UNPACKING",
    "LARGEST_BUNDLE_FILE",
    "LARGEST_JSON",
    "LARGEST_MANIFEST",
    "LARGEST_SEED",
    "LARGEST_TENSOR_HEADER",
    "LARGEST_VERSION",
    "LARGEST_WINDOW",
    "LEAST_FREE_DISK",
    "LONGEST_LINE",
    "LONGEST_NUMBER",
    "LONGEST_STRATEGY",
    "MOST_BUNDLE_FILES",
    "MOST_BUNDLE_UNPACKING",
    "MOST_COLUMNS",
    "MOST_EPOCHS",
    "MOST_JSON_VALUES",
    "MOST_MANIFEST_VALUES",
    "MOST_MEMBERS",
    "MOST_NORMALIZERS",
    "MOST_SCHEMA_VALUES",
    "MOST_TENSORS",
    "MOST_UNPACKING",
]

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes, that of numpy and of scikit-learn too."""

MOST_EPOCHS = 1_000_000
"""Passes over the training part."""

LONGEST_STRATEGY = 131_072
"""Characters of a strategy file."""

LARGEST_VERSION = 10**19 - 1
"""Of a model. A store counts from 1; but imports of before brought any number, and what follows them is greater."""

MOST_NORMALIZERS = 100_000
"""Of a model: one for each symbol and raw input. They are told before a training, and fit into its bundle."""

LARGEST_WINDOW = 1_000_000
"""Rows that one prediction of a model looks at."""

LONGEST_LINE = 65_536
"""Bytes of a line in a text file of bars: what reads such files takes minutes for lines of millions of columns."""

MOST_COLUMNS = 4_000
"""Of a text file of bars. One with all stocks of an exchange side by side has some thousands."""

LEAST_FREE_DISK = 100_000_000
"""Bytes: a server with less is not ready. A training's checkpoints and a report take some 10 MB."""

FEWEST_SAMPLES_PER_INPUT = 10
"""Training samples; with fewer a warning is due. The rule of ten events per variable: P. Peduzzi and others, "A
Simulation Study of the Number of Events per Variable in Logistic Regression Analysis" (Journal of Clinical
Epidemiology, 1996)."""

FEWEST_JUDGED_SAMPLES = 100
"""Samples of a part that a model is judged by; with fewer a warning is due. A share of 100 has a standard error of at
most 5 percentage points: baselines and models that are any good are rarely further apart than twice that."""

FEWEST_TRADES = 30
"""Trades of a backtest; with fewer a warning is due. The win rate of 30 has a standard error of 9 percentage points,
and below about as many the mean of results with a skew is not yet normally distributed, as its error supposes."""

# What follows bounds the work that a file of unknown origin can cause, before any of it is parsed.

LARGEST_JSON = 64 * 2**20
"""Bytes of a file of JSON, and of all of a bundle together."""

MOST_JSON_VALUES = 1_000_000
"""Values in a file of JSON, of whatever depth, and in all of a bundle together: 100,000 epochs of a training."""

MOST_MANIFEST_VALUES = 200_000
"""Values in a bundle's manifest: a strategy of 10,000 features has half of that."""

MOST_SCHEMA_VALUES = 5_000_000
"""Values in the JSON of a skops file: a random forest of 10,000 trees."""

DEEPEST_JSON = 64
"""Nesting of JSON."""

LONGEST_NUMBER = 40
"""Digits of a whole number in JSON."""

LARGEST_MANIFEST = 8 * 2**20
"""Bytes of a bundle's manifest: a strategy of 10,000 features has 5 MiB."""

LARGEST_BUNDLE_FILE = 4 * 2**30
"""Bytes of one file of a bundle, and of all that an exported one unpacks to."""

MOST_BUNDLE_FILES = 64
"""Files of a bundle, beside its manifest."""

MOST_MEMBERS = 60_000
"""Files in the archives among a bundle's files: a random forest of 10,000 trees has 50,000."""

LARGEST_TENSOR_HEADER = 4 * 2**20
"""Bytes of the header of a safetensors file, and of all of a bundle together."""

MOST_TENSORS = 20_000
"""Tensors of a safetensors file."""

MOST_BUNDLE_UNPACKING = 10
"""Times its own size that an exported bundle may unpack to, beyond :data:`FREE_UNPACKING`: ours are not compressed."""

MOST_UNPACKING = 50
"""The same for a vendor's file; text of prices unpacks to 5 to 20 times its size."""

FREE_UNPACKING = 8 * 2**20
"""Bytes that any compressed file may unpack to."""

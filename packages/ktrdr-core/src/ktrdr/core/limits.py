"""Limits that several rooms share, and limits on untrusted files."""

from __future__ import annotations

__all__ = [
    "DEEPEST_JSON",
    "FEWEST_JUDGED_SAMPLES",
    "FEWEST_SAMPLES_PER_INPUT",
    "FEWEST_TRADES",
    "FEWEST_VERDICT_SEEDS",
    "FREE_UNPACKING",
    "LARGEST_BUNDLE_FILE",
    "LARGEST_JSON",
    "LARGEST_MANIFEST",
    "LARGEST_OUT_OF_SAMPLE",
    "LARGEST_SEED",
    "LARGEST_TENSOR_HEADER",
    "LARGEST_TWINS",
    "LARGEST_VERSION",
    "LARGEST_WINDOW",
    "LEAST_FREE_DISK",
    "LINEAR_WORLDS",
    "LONGEST_DURATION_DAYS",
    "LONGEST_LINE",
    "LONGEST_NUMBER",
    "LONGEST_STRATEGY",
    "MOST_BARS_OF_A_PART",
    "MOST_BUNDLE_FILES",
    "MOST_BUNDLE_UNPACKING",
    "MOST_COLUMNS",
    "MOST_ENSEMBLE_MEMBERS",
    "MOST_EPOCHS",
    "MOST_FOLDS",
    "MOST_JSON_VALUES",
    "MOST_MANIFEST_VALUES",
    "MOST_MEMBERS",
    "MOST_NORMALIZERS",
    "MOST_SCHEMA_VALUES",
    "MOST_SEEDS",
    "MOST_TENSORS",
    "MOST_UNPACKING",
    "NULL_WORLDS",
    "POPULATION_MEMORY",
    "POPULATION_MEMORY_VARIABLE",
    "QUICK_WORLDS",
]

LARGEST_SEED = 2**32 - 1
"""Largest seed that every random number generator takes, including those of numpy and scikit-learn."""

MOST_EPOCHS = 1_000_000
"""Largest number of passes over the training part."""

MOST_ENSEMBLE_MEMBERS = 64
"""Largest number of members of an ensemble. The mean of 64 independent models has an eighth of the spread of one, that
of 128 has an eleventh."""

MOST_SEEDS = 1_000
"""Largest number of seeds of one training: the metrics of 1,000 members take a tenth of the largest manifest."""

MOST_FOLDS = 1_000
"""Largest number of folds of an evaluation, each of which is trained once for every seed: 12 groups with 5 or 6 test
groups give 792 or 924."""

QUICK_WORLDS = 20
"""Null worlds of each family of the quick form of a verdict: with fewer than 19 no p-value is 5 %."""

NULL_WORLDS = 100
"""Null worlds of each family of a verdict. It is no setting: who could add worlds until a p-value is small enough would
find an edge where there is none in 6.6 % of verdicts instead of 5 % (simulated)."""

LINEAR_WORLDS = 10
"""Worlds of each kind that keep the autocorrelation: enough to show where a linear edge lies, and no test."""

FEWEST_VERDICT_SEEDS = 5
"""Smallest number of seeds of a verdict that is not quick."""

LONGEST_DURATION_DAYS = 36_500
"""Largest number of days of a part of walk-forward validation: 100 years."""

MOST_BARS_OF_A_PART = 1_000_000_000
"""Largest number of bars of a part of walk-forward validation: more than any file of bars holds."""

LONGEST_STRATEGY = 131_072
"""Largest number of characters of a strategy file."""

LARGEST_VERSION = 10**19 - 1
"""Largest version of a model. Versions count from 1, but older imports kept versions of any size."""

MOST_NORMALIZERS = 100_000
"""Largest number of normalizers of a model, one per symbol and raw input, so that they fit into its bundle."""

LARGEST_WINDOW = 1_000_000
"""Largest number of rows that one prediction of a model uses."""

LONGEST_LINE = 65_536
"""Largest number of bytes of a line in a text file of bars: the reader takes minutes for millions of columns."""

MOST_COLUMNS = 4_000
"""Largest number of columns of a text file of bars. A file with all stocks of an exchange has some thousands."""

LEAST_FREE_DISK = 100_000_000
"""Free bytes that a server needs to be ready. Checkpoints of a training and a report take some 10 MB."""

FEWEST_SAMPLES_PER_INPUT = 10
"""Training samples per input below which a warning is given. The rule of ten events per variable: P. Peduzzi and
others, "A Simulation Study of the Number of Events per Variable in Logistic Regression Analysis" (Journal of Clinical
Epidemiology, 1996)."""

FEWEST_JUDGED_SAMPLES = 100
"""Samples of the validation or test part below which a warning is given. A share of 100 samples has a standard error of
at most 5 percentage points, and good models are rarely more than twice that better than their baselines."""

FEWEST_TRADES = 30
"""Trades of a backtest below which a warning is given. The win rate of 30 trades has a standard error of 9 percentage
points, and with fewer trades the mean of skewed results is not normally distributed, as its standard error assumes."""

# The following limits bound the work that an untrusted file can cause, before it is parsed.

LARGEST_JSON = 64 * 2**20
"""Largest number of bytes of a JSON file, and of all JSON files of a bundle together."""

MOST_JSON_VALUES = 1_000_000
"""Largest number of values at all depths of a JSON file, and of all JSON files of a bundle together: 100,000 epochs."""

MOST_MANIFEST_VALUES = 200_000
"""Largest number of values in a manifest: a strategy with 10,000 features has half of that."""

MOST_SCHEMA_VALUES = 5_000_000
"""Largest number of values in the JSON of a skops file: a random forest of 10,000 trees."""

DEEPEST_JSON = 64
"""Largest depth of JSON."""

LONGEST_NUMBER = 40
"""Largest number of digits of an integer in JSON."""

LARGEST_MANIFEST = 8 * 2**20
"""Largest number of bytes of a manifest: that of a strategy with 10,000 features has 5 MiB."""

LARGEST_BUNDLE_FILE = 4 * 2**30
"""Largest number of bytes of a file of a bundle, and of all unpacked files of an exported bundle."""

MOST_BUNDLE_FILES = 512
"""Largest number of files of a bundle, without its manifest: 8 for each member of the largest ensemble."""

MOST_MEMBERS = 60_000
"""Largest number of files in the archives of a bundle: a random forest of 10,000 trees has 50,000."""

LARGEST_TENSOR_HEADER = 4 * 2**20
"""Largest number of bytes of the header of a safetensors file, and of all headers of a bundle together."""

LARGEST_TWINS = 256 * 2**20
"""Largest number of bytes of the arrays of all portable twins of a bundle: 6 million nodes of trees, or 64 million
weights. Reading them takes some three times as much memory, and servers read bundles with a limit."""

LARGEST_OUT_OF_SAMPLE = 256 * 2**20
"""Largest number of bytes of the out-of-sample predictions of a bundle: 8 million bars of three classes, 20 years of
minutes. Checking them takes some three times as much memory, and servers read bundles with a limit."""

MOST_TENSORS = 20_000
"""Largest number of tensors of a safetensors file."""

MOST_BUNDLE_UNPACKING = 10
"""Largest ratio of the unpacked size of an exported bundle to its size, above :data:`FREE_UNPACKING`: exports are not
compressed."""

MOST_UNPACKING = 50
"""The same ratio for a file of a data vendor: prices as text unpack to 5 to 20 times their compressed size."""

FREE_UNPACKING = 8 * 2**20
"""Unpacked bytes that every compressed file may have, whatever the ratio."""

POPULATION_MEMORY = 512_000_000
"""Bytes that the training of a population may take by default, beyond the features of its members."""

POPULATION_MEMORY_VARIABLE = "KTRDR_POPULATION_MEMORY"
"""Environment variable with another number of them."""

"""Bounds that hold in more than one room."""

from __future__ import annotations

__all__ = [
    "FEWEST_JUDGED_SAMPLES",
    "FEWEST_SAMPLES_PER_INPUT",
    "FEWEST_TRADES",
    "LARGEST_SEED",
    "LARGEST_VERSION",
    "LONGEST_STRATEGY",
    "MOST_EPOCHS",
]

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes, that of numpy and of scikit-learn too."""

MOST_EPOCHS = 1_000_000
"""Passes over the training part."""

LONGEST_STRATEGY = 131_072
"""Characters of a strategy file."""

LARGEST_VERSION = 999_999_999
"""Of a model."""

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

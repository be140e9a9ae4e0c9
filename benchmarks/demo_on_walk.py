"""The demo's strategy on stored hours of a random walk, which benchmarks of many trainings share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING

from made_up import random_walk

if TYPE_CHECKING:
    from ktrdr.core.strategy.loader import LoadedStrategy

__all__ = ["TWO_YEARS", "demo_on_walk"]

TWO_YEARS = 17_520
"""Hours of two years."""

STEP = 0.0006
"""Standard deviation of an hourly return of the walk, about that of EURUSD."""


@contextmanager
def demo_on_walk(bars: int) -> Iterator[LoadedStrategy]:
    """Yield the strategy, with six groups of which two are tested; everything is stored in a home that is removed.

    Nothing can be learned from a walk, so early stopping ends the trainings.

    Args:
        bars: number of hours.
    """
    import torch

    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.strategy.model import CpcvValidation, DateRange

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        os.environ["KTRDR_HOME"] = home
        BarStore(Path(home) / "data").write(random_walk(bars, timeframe="1h", step=STEP))
        loaded = load_strategy(str(resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")))
        data = loaded.strategy.training_data.model_copy(update={"date_range": DateRange()})
        folds = CpcvValidation(groups=6, test_groups=2)
        strategy = loaded.strategy.model_copy(update={"training_data": data, "validation": folds})
        yield replace(loaded, strategy=strategy)

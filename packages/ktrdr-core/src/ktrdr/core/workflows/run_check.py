"""Look for look-ahead in a strategy."""

from __future__ import annotations

import os

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.features.causality import CheckReport, LabelValues, check_pipeline
from ktrdr.core.features.inputs import derived_timeframes, inputs_for
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.workflows.places import bars_in

__all__ = ["check"]


def check(
    strategy: LoadedStrategy | str | os.PathLike[str],
    *,
    symbol: str | None = None,
    sample: bool = False,
    cuts: int = 100,
    last: int = 20_000,
    seed: int = 0,
    bar_store: BarStore | None = None,
    progress: Progress = NO_PROGRESS,
) -> CheckReport:
    """Cut the data off at random bars, compute every feature and label again, and compare.

    Args:
        strategy: the path of its file, or the loaded strategy.
        symbol: whose bars; by default the strategy's first.
        sample: use the shipped EURUSD sample instead of stored bars.
        cuts: how many random bars the data are cut off at.
        last: how many of the most recent base bars are used.
        seed: of the random bars.
        bar_store: holds the bars; by default ``$KTRDR_HOME/data``.
        progress: receives reports.

    Returns:
        What each feature and the label was found to read: ``report.leaking`` names those that depend on later bars.

    Raises:
        BadInputError: the strategy has errors, or there are no bars for it.
    """
    loaded = strategy if isinstance(strategy, LoadedStrategy) else load_strategy(strategy)
    training = loaded.strategy.training
    store = bars_in(bar_store)
    pipeline = FeaturePipeline(loaded.strategy)
    bars = inputs_for(loaded.strategy, pipeline.timeframes, symbol=symbol, sample=sample, store=store)
    base = bars[pipeline.timeframes[0]]
    derived = pipeline.timeframes[1:] if sample else derived_timeframes(store, base.symbol, pipeline.timeframes)
    first = base.time[max(0, len(base) - last)] if len(base) else None
    recent = {name: part.between(first, None) for name, part in bars.items()}
    declared = make_labels(training.labels, recent[pipeline.timeframes[0]])

    def labels(part: Bars) -> LabelValues:
        made = make_labels(training.labels, part)
        return LabelValues(made.values, made.span_end)

    return check_pipeline(
        pipeline,
        recent,
        labels=labels,
        look_ahead=declared.look_ahead,
        derived=derived,
        cuts=cuts,
        seed=seed,
        progress=progress,
    )

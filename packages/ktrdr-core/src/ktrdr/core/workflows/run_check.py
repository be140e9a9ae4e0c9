"""Workflow that checks a strategy for look-ahead bias."""

from __future__ import annotations

import os

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
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
    """Check a strategy for look-ahead bias.

    The data is cut off at random bars, and the bars after them get other prices; every feature and label is computed
    again, and the values are compared.

    Args:
        strategy: path of the strategy file, or the loaded strategy.
        symbol: symbol of the bars; by default the strategy's first.
        sample: use the shipped EURUSD sample instead of stored bars.
        cuts: number of random bars at which the data is cut off.
        last: number of base bars to use, the most recent ones.
        seed: seed of the random choice.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        progress: receives events of each step.

    Returns:
        Results for each feature and the labels; ``report.leaking`` has the ids of those that depend on later bars.

    Raises:
        BadInputError: the strategy has errors, or there are no suitable bars.
    """
    if cuts < 1:
        raise BadInputError(f"the data must be cut off at 1 bar or more, not at {cuts}")
    if seed < 0:
        raise BadInputError(f"the seed of the random bars must be at least 0, not {seed}")
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

"""Samples of a training: features and labels of all symbols, split into parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import Training
from ktrdr.core.training.labelling import count_labels, label_symbol
from ktrdr.core.training.preparation import first_rows, stack_symbols
from ktrdr.core.training.split import PARTS, SymbolSplit, split_rows
from ktrdr.core.training.symbol_features import SymbolFeatures
from ktrdr.core.work.steps import Steps

__all__ = ["Samples", "prepare_samples"]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of a training.

    Attributes:
        features: float32 ``(n, columns)``, rows of all symbols one after another; those of a single symbol cannot be
            written to if they are from the cache.
        first_row: row of ``features`` at which each symbol begins.
        labels: labels of all bars, by symbol.
        split: samples of each part, by symbol.
        losses: warnings about rows that missing volume leaves without features.
    """

    features: np.ndarray
    first_row: Mapping[str, int]
    labels: Mapping[str, LabelSet]
    split: Mapping[str, SymbolSplit]
    losses: tuple[str, ...]

    def rows(self, part: str) -> dict[str, np.ndarray]:
        """Return the samples of one part, by symbol."""
        return {symbol: getattr(own, part) for symbol, own in self.split.items()}


def prepare_samples(
    pipeline: FeaturePipeline,
    training: Training,
    bars: Mapping[str, Mapping[str, Bars]],
    window: int,
    caches: Mapping[str, SymbolCache],
    steps: Steps,
    *,
    divided: str = "",
) -> Samples:
    """Compute features and labels, and split them into parts.

    Args:
        pipeline: pipeline of the strategy; it gets the normalizers.
        training: settings of labels and parts.
        bars: bars by symbol and timeframe.
        window: number of rows of a sample.
        caches: cache for each symbol's bars. Features from it are the same, to the last bit, as computed ones.
        steps: reports the progress.
        divided: clause about the parts, for the progress.

    Raises:
        BadInputError: a symbol has no features, no labels, or no sample in a part.
    """
    features = {symbol: SymbolFeatures(pipeline, own, caches[symbol]) for symbol, own in bars.items()}
    base = {symbol: own[pipeline.timeframes[0]] for symbol, own in bars.items()}
    steps.each("indicators", bars, lambda symbol: features[symbol].calculate_indicators())
    steps.each("fuzzy sets", bars, lambda symbol: features[symbol].fuzzify())
    labels = steps.each("labels", bars, lambda symbol: label_symbol(training.labels, base[symbol]), _labels_in_words)
    losses = {symbol: loss for symbol, own in features.items() if (loss := own.volume_loss) is not None}
    split = steps.each(
        "split",
        bars,
        lambda symbol: split_rows(
            symbol,
            features[symbol].warm,
            labels[symbol],
            training.data_split,
            embargo=training.embargo,
            window=window,
            lacking=f"{losses[symbol].reason}; {losses[symbol].remedy}" if symbol in losses else "",
        ),
        lambda split: f"{_split_in_words(split)}{f' ({divided})' if divided else ''}",
    )
    lengths = {symbol: len(own) for symbol, own in base.items()}
    matrix = steps.run(
        "features",
        # `pop` frees the memory of a symbol's features as soon as its matrix is copied.
        lambda: stack_symbols(
            (features.pop(symbol).normalize(split[symbol].train, window) for symbol in lengths),
            lengths,
            len(pipeline.columns),
        ),
        lambda made: f"{made.shape[1]} columns, {len(made):,} rows",
    )
    statements = tuple(f"{symbol} {base[symbol].timeframe}: {loss.statement}" for symbol, loss in losses.items())
    return Samples(matrix, first_rows(lengths), labels, split, statements)


def _labels_in_words(labels: Mapping[str, LabelSet]) -> str:
    total: dict[str, int] = {}
    for own in labels.values():
        for name, count in count_labels(own).items():
            total[name] = total.get(name, 0) + count
    return ", ".join(f"{name} {count:,}" for name, count in total.items())


def _split_in_words(split: Mapping[str, SymbolSplit]) -> str:
    return ", ".join(f"{part} {sum(len(getattr(own, part)) for own in split.values()):,}" for part in PARTS)

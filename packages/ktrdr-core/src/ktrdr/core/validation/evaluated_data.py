"""Data of an evaluation: features and labels of all bars, computed once for all folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.features.missing_volume import VolumeLoss
from ktrdr.core.features.normalizers import normalized_columns
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.plugins.contract import TrainingData
from ktrdr.core.strategy.model import Training
from ktrdr.core.training.labelling import label_symbol
from ktrdr.core.training.preparation import first_rows, fit_normalizers, make_part, stack_symbols, weigh_samples
from ktrdr.core.training.split import complete_windows
from ktrdr.core.training.symbol_features import SymbolFeatures
from ktrdr.core.validation.fold_plan import FoldRows
from ktrdr.core.work.steps import Steps

__all__ = ["EvaluatedData", "prepare_data"]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedData:
    """Features and labels of all bars.

    Attributes:
        pipeline: pipeline of the strategy.
        training: settings of the labels and of the samples' weights.
        window: number of rows of a sample.
        base: base bars, by symbol.
        matrices: features before normalization, by symbol.
        labels: labels of all bars, by symbol.
        complete: mask of the rows that have ``window`` complete rows up to and including them, by symbol.
        shared: float32 ``(n, columns)``: rows of all symbols one after another, if no column is normalized; else
            ``None``.
        losses: rows without features because volume is missing, by symbol; only symbols that have such rows.
    """

    pipeline: FeaturePipeline
    training: Training
    window: int
    base: Mapping[str, Bars]
    matrices: Mapping[str, FeatureMatrix]
    labels: Mapping[str, LabelSet]
    complete: Mapping[str, np.ndarray]
    shared: np.ndarray | None
    losses: Mapping[str, VolumeLoss]

    @property
    def usable(self) -> dict[str, np.ndarray]:
        """Mask of the rows that can be samples, by symbol: with a label and complete features."""
        return {symbol: self.complete[symbol] & self.labels[symbol].labelled for symbol in self.base}

    def fit(self, train: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the normalizers of a fold, fitted on its training rows and on no other rows, by symbol.

        A symbol without training samples, which the fold neither trains with nor predicts, has none.

        Args:
            train: int64 rows of the training samples, by symbol.
        """
        known = {symbol: rows for symbol, rows in train.items() if len(rows)}
        if self.shared is not None:
            return {}
        fit_normalizers(self.pipeline, {symbol: self.matrices[symbol] for symbol in known}, known, self.window)
        return {symbol: self.pipeline.fitted(symbol) for symbol in known}

    def features(self, symbol: str, first: int, end: int, fitted: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the normalized features of some rows of a symbol, float32 ``(rows, columns)``.

        Args:
            symbol: the symbol.
            first: first row.
            end: row behind the last.
            fitted: result of :meth:`fit`.
        """
        own = self.matrices[symbol]
        if self.shared is not None:
            return own.values[first:end]
        self.pipeline.use_fitted(symbol, fitted[symbol])
        part = FeatureMatrix(symbol, own.time[first:end], own.values[first:end], own.columns)
        return self.pipeline.normalize(part).values

    def training_data(self, rows: FoldRows, fitted: Mapping[str, np.ndarray]) -> TrainingData:
        """Return the samples of a fold's training; the test part is none of them.

        All folds share one array of features if no column is normalized. Else a fold has the rows from its first to
        its last sample.

        Args:
            rows: samples of the fold.
            fitted: result of :meth:`fit`.
        """
        weigh = self.training.sample_weights == "uniqueness"
        weights = weigh_samples(rows.train, self.labels) if weigh else None
        if self.shared is not None:
            begin = first_rows({symbol: len(bars) for symbol, bars in self.base.items()})
            features = self.shared
        else:
            spans = {symbol: self._span(rows, symbol) for symbol in fitted}
            lengths = {symbol: end - first for symbol, (first, end) in spans.items()}
            features = stack_symbols(
                (self.features(symbol, *span, fitted) for symbol, span in spans.items()),
                lengths,
                len(self.pipeline.columns),
            )
            begin = dict.fromkeys(self.base, 0) | {
                symbol: start - spans[symbol][0] for symbol, start in first_rows(lengths).items()
            }
        return TrainingData(
            features,
            make_part(rows.train, self.labels, begin, weights),
            make_part(rows.validation, self.labels, begin),
        )

    def _span(self, rows: FoldRows, symbol: str) -> tuple[int, int]:
        """Return the rows that the windows of a symbol's training and validation samples lie in, half-open."""
        own = np.concatenate((rows.train[symbol], rows.validation[symbol]))
        return int(own.min()) - self.window + 1, int(own.max()) + 1


def prepare_data(
    pipeline: FeaturePipeline,
    training: Training,
    bars: Mapping[str, Mapping[str, Bars]],
    window: int,
    caches: Mapping[str, SymbolCache],
    steps: Steps,
    part: str = "",
) -> EvaluatedData:
    """Compute features and labels.

    Args:
        pipeline: pipeline of the strategy.
        training: settings of labels and weights.
        bars: bars by symbol and timeframe.
        window: number of rows of a sample.
        caches: cache for each symbol's bars. Features from it are the same, to the last bit, as computed ones.
        steps: reports the progress.
        part: what the names of the steps begin with.

    Raises:
        BadInputError: a symbol has no features or no labels.
    """
    features = {symbol: SymbolFeatures(pipeline, own, caches[symbol]) for symbol, own in bars.items()}
    base = {symbol: own[pipeline.timeframes[0]] for symbol, own in bars.items()}
    steps.each(f"{part}indicators", bars, lambda symbol: features[symbol].calculate_indicators())
    steps.each(f"{part}fuzzy sets", bars, lambda symbol: features[symbol].fuzzify())
    labels = steps.each(f"{part}labels", bars, lambda symbol: label_symbol(training.labels, base[symbol]))
    matrices = steps.each(f"{part}features", bars, lambda symbol: features[symbol].raw())
    lengths = {symbol: len(own) for symbol, own in base.items()}
    shared = None
    if not normalized_columns(pipeline.columns):
        shared = stack_symbols((matrix.values for matrix in matrices.values()), lengths, len(pipeline.columns))
        # Views: the memory of the single matrices is free again.
        matrices = {
            symbol: FeatureMatrix(symbol, own.time, shared[start : start + len(own)], pipeline.columns)
            for (symbol, own), start in zip(base.items(), first_rows(lengths).values(), strict=True)
        }
    losses = {symbol: loss for symbol, own in features.items() if (loss := own.volume_loss) is not None}
    complete = {symbol: complete_windows(own.warm, window) for symbol, own in features.items()}
    return EvaluatedData(pipeline, training, window, base, matrices, labels, complete, shared, losses)

"""Features of one symbol for a training, restored from the cache or computed and kept in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.features.missing_volume import VolumeLoss
from ktrdr.core.features.normalizers import normalized_columns
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.training.preparation import calculate_indicators, fit_normalizers, fuzzify

__all__ = ["SymbolFeatures"]

_ROWS, _MATRIX = "rows", "matrix"


class SymbolFeatures:
    """Features of one symbol, computed in the steps of a training.

    There are two kinds of entries in the cache. One tells which rows have all features, which the split into parts
    depends on. The other is the finished matrix, which depends on the split if columns are normalized. If both are
    found, no indicator is computed.

    Args:
        pipeline: pipeline of the strategy; it gets the normalizers of the symbol.
        bars: the symbol's bars per timeframe.
        cache: cache for ``bars``.
    """

    def __init__(self, pipeline: FeaturePipeline, bars: Mapping[str, Bars], cache: SymbolCache) -> None:
        self._pipeline, self._bars, self._cache = pipeline, bars, cache
        self._base = bars[pipeline.timeframes[0]]
        self._keeps = cache.keeps(pipeline.indicator_types)
        self._values: Mapping[Source, np.ndarray] = {}
        self._matrix: FeatureMatrix | None = None
        self._rows = self._restored_rows()

    @property
    def warm(self) -> np.ndarray:
        """Mask of the rows that have all features, bool ``(bars,)``."""
        assert self._rows is not None  # after the step `fuzzify`
        return self._rows[0]

    @property
    def volume_loss(self) -> VolumeLoss | None:
        """Rows that have no features because volume is missing."""
        assert self._rows is not None  # after the step `fuzzify`
        return self._rows[1]

    def calculate_indicators(self) -> None:
        """Compute the indicators, unless the rows with all features are known."""
        if self._rows is None:
            self._values = calculate_indicators(self._pipeline, self._bars, self._cache)

    def fuzzify(self) -> None:
        """Compute the matrix without normalization, unless the rows with all features are known.

        Raises:
            BadInputError: no row has all features.
        """
        if self._rows is None:
            matrix = self._computed()
            loss = self._pipeline.volume_loss(self._bars, matrix)
            self._matrix, self._rows = matrix, (matrix.warm, loss)
            if self._keeps:
                counts = [0, 0] if loss is None else [loss.rows, loss.known]
                self._cache.write(self._key(_ROWS), {"warm": self.warm, "loss": np.array(counts, np.int64)})

    def normalize(self, train_rows: np.ndarray, window: int) -> np.ndarray:
        """Return the matrix, float32 ``(bars, features)``, and give the pipeline the normalizers of the symbol.

        A matrix from the cache cannot be written to.

        Args:
            train_rows: int64 rows of the training samples.
            window: number of rows of a sample.
        """
        columns, symbol = self._pipeline.columns, self._base.symbol
        normalized = normalized_columns(columns)
        key, layout = "", {"values": ("<f4", (len(self._base), len(columns))), "fitted": ("<f8", (len(normalized), 2))}
        if self._keeps:
            rows = [hashlib.sha256(train_rows.astype("<i8").data).hexdigest(), window]
            methods = [[position, column.normalization] for position, column in normalized]
            # Without normalization, the matrix does not depend on the split.
            key = self._key(_MATRIX, *([methods, rows] if normalized else []))
            found = self._cache.read(key, layout, mapped=True)
            if found is not None:
                self._pipeline.use_fitted(symbol, found["fitted"])
                return found["values"]
        matrix = self._matrix if self._matrix is not None else self._computed()
        # Not needed any more: the normalized matrix is a copy.
        self._matrix = None
        fit_normalizers(self._pipeline, {symbol: matrix}, {symbol: train_rows}, window)
        values = self._pipeline.normalize(matrix).values
        if self._keeps:
            self._cache.write(key, {"values": values, "fitted": self._pipeline.fitted(symbol)})
        return values

    def raw(self) -> FeatureMatrix:
        """Return the matrix without normalization, which depends on no split.

        Values from the cache cannot be written to. They are those that :meth:`normalize` returns if no column is
        normalized, and have the same entry.
        """
        columns, values = self._pipeline.columns, None
        key = self._key(_MATRIX) if self._keeps else ""
        if self._keeps:
            layout = {"values": ("<f4", (len(self._base), len(columns))), "fitted": ("<f8", (0, 2))}
            found = self._cache.read(key, layout, mapped=True)
            values = None if found is None else found["values"]
        if values is None:
            matrix = self._matrix if self._matrix is not None else self._computed()
            values, self._matrix = matrix.values, None
            if self._keeps:
                self._cache.write(key, {"values": values, "fitted": np.zeros((0, 2))})
        return FeatureMatrix(self._base.symbol, self._base.time, values, columns)

    def _computed(self) -> FeatureMatrix:
        values = self._values or calculate_indicators(self._pipeline, self._bars, self._cache)
        # Frees the memory of the indicators as soon as the matrix is computed.
        self._values = {}
        return fuzzify(self._pipeline, self._bars, values)

    def _key(self, kind: str, *parts: object) -> str:
        return self._cache.key(kind, self._pipeline.timeframes, self._pipeline.describe(), *parts)

    def _restored_rows(self) -> tuple[np.ndarray, VolumeLoss | None] | None:
        if not self._keeps:
            return None
        found = self._cache.read(self._key(_ROWS), {"warm": ("|b1", (len(self._base),)), "loss": ("<i8", (2,))})
        if found is None:
            return None
        lost, known = found["loss"].tolist()
        # Where volume is missing is found again: the message names the strategy's own indicators.
        loss = VolumeLoss(lost, known, self._pipeline.missing_volume(self._bars)) if lost else None
        return found["warm"], loss

"""Feature pipeline from bars to the input matrix of a model, shared by training and backtest."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.data import alignment
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.assembly import assemble
from ktrdr.core.features.columns import FeatureColumn, FeatureMatrix, crisp_columns, feature_columns
from ktrdr.core.features.missing_volume import MissingVolume, VolumeLoss, find_missing_volume, with_volume
from ktrdr.core.features.normalizers import (
    Normalizer,
    apply_normalizers,
    fit_normalizer,
    normalized_columns,
    normalizers_from_json,
)
from ktrdr.core.features.sources import Source, describe_source, indicator_values, sources_of, warmup_of
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.strategy.model import Strategy

__all__ = ["FeaturePipeline", "content_hash"]


class FeaturePipeline:
    """Computes the feature matrix of one symbol from its bars.

    A row contains what is known at the close of its base bar, and depends on no later bar. All columns are NaN in a row
    before every input is warm, within ``history_required``, or in which any input has no value. Symbols are never
    mixed: a matrix is computed from the bars of one symbol, and normalized with the normalizers of that symbol.

    Args:
        strategy: a strategy from the loader.
        crisp: one column of plain values per fuzzy input instead of its memberships, for models that have memberships
            of their own.
    """

    def __init__(self, strategy: Strategy, *, crisp: bool = False) -> None:
        self._strategy = strategy
        self._columns = crisp_columns(strategy) if crisp else feature_columns(strategy)
        self._sources = sources_of(self._columns)
        self._base = strategy.training_data.base_timeframe
        self._normalizers: dict[str, dict[str, Normalizer]] = {}

    @property
    def columns(self) -> tuple[FeatureColumn, ...]:
        """Columns in model input order."""
        return self._columns

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Timeframes that the pipeline needs: the base timeframe first, then the others in order of first use."""
        return tuple(dict.fromkeys((self._base, *(timeframe for timeframe, _ in self._sources))))

    @property
    def warmup(self) -> int:
        """Number of base bars before the first complete row: ``history_required``, or more if the indicators need more.

        It is exact if every input is of the base timeframe. Otherwise it is an upper bound for a market that never
        closes, on data that may begin within a bar of a longer timeframe.
        """
        needed = self._strategy.training_data.history_required or 0
        return max(needed, *(self._column_warmup(column) for column in self._columns))

    def _column_warmup(self, column: FeatureColumn) -> int:
        warmup = warmup_of(self._strategy, column.indicator)
        if column.timeframe != self._base:
            own, base = Timeframe(column.timeframe).seconds, Timeframe(self._base).seconds
            # If the data begins just after the open of a longer bar, that bar is missing.
            span = (warmup + 1) * own + max(own - base, 0)
            warmup = -(-span // base) - 1
        return warmup + column.lag

    @property
    def indicator_types(self) -> set[str]:
        """Types of the indicators that the columns read."""
        return {self._strategy.indicators[name.partition(".")[0]].type for _, name in self._sources}

    def describe(self) -> list[Any]:
        """Return what :meth:`compute` depends on, besides the bars, as JSON-ready values.

        Names that a strategy gives to its indicators and fuzzy sets are not part of it.
        """
        columns = [
            [
                column.kind,
                describe_source(self._strategy, (column.timeframe, column.indicator)),
                None if column.function is None else [column.function.type, column.function.parameters],
                column.lag,
            ]
            for column in self._columns
        ]
        return [self._base, self._strategy.training_data.history_required or 0, columns]

    def indicator_values(self, bars: Mapping[str, Bars], cache: SymbolCache | None = None) -> dict[Source, np.ndarray]:
        """Return the float64 values of each ``(timeframe, indicator)`` on the bars of its own timeframe.

        Args:
            bars: one symbol's bars per timeframe.
            cache: cache for ``bars``; ``None`` to compute all values. Values from a cache cannot be written to.
        """
        self._check(bars)
        return indicator_values(self._strategy, self._sources, bars, cache)

    def compute(self, bars: Mapping[str, Bars], *, complete_rows: bool = True) -> FeatureMatrix:
        """Return the features of one symbol, with raw columns not normalized.

        Args:
            bars: one symbol's bars per timeframe; at least :attr:`timeframes`.
            complete_rows: ``False`` keeps the known values of incomplete rows; for diagnosis, never for a model.

        Raises:
            BadInputError: a timeframe is missing, or the bars are of several symbols.
        """
        return self.assemble(bars, self.indicator_values(bars), complete_rows=complete_rows)

    def assemble(
        self, bars: Mapping[str, Bars], values: Mapping[Source, np.ndarray], *, complete_rows: bool = True
    ) -> FeatureMatrix:
        """Return the result of :meth:`compute` from the ``values`` that :meth:`indicator_values` returned."""
        base = self._check(bars)
        matrix = self._assemble(self._columns, bars, values, complete_rows)
        return FeatureMatrix(base.symbol, base.time, matrix, self._columns)

    def _assemble(
        self,
        columns: Sequence[FeatureColumn],
        bars: Mapping[str, Bars],
        values: Mapping[Source, np.ndarray],
        complete_rows: bool,
    ) -> np.ndarray:
        base = bars[self._base]
        visible = {
            timeframe: None if timeframe == self._base else alignment.visible_index(base, bars[timeframe])
            for timeframe in self.timeframes
        }
        withheld = self._strategy.training_data.history_required or 0
        return assemble(columns, values, visible, len(base), withheld=withheld, complete_rows=complete_rows)

    def volume_loss(
        self, bars: Mapping[str, Bars], matrix: FeatureMatrix, rows: slice | np.ndarray = slice(None)
    ) -> VolumeLoss | None:
        """Return how many rows have no features because volume is missing, and where; ``None`` if there are none.

        Args:
            bars: one symbol's bars per timeframe, as in :meth:`compute`.
            matrix: result of :meth:`compute` for ``bars``.
            rows: base bars to count: ascending positions, a mask or a slice.
        """
        base = self._check(bars)
        counted = np.arange(len(base))[rows]
        if not len(counted):
            return None
        missing = self.missing_volume(bars, int(counted[0]))
        if not missing:
            return None
        filled = with_volume(bars, above_zero=any(each.above_zero for each in missing))
        # Many columns read the same values; one of them tells whether a row is complete.
        readers = {(column.timeframe, column.indicator, column.lag): column for column in self._columns}
        complete = self._assemble(tuple(readers.values()), filled, self.indicator_values(filled), True)
        known = ~np.isnan(complete[counted, 0])
        lost = int(np.count_nonzero(known & ~matrix.warm[counted]))
        return VolumeLoss(lost, int(np.count_nonzero(known)), missing) if lost else None

    def missing_volume(self, bars: Mapping[str, Bars], first: int = 0) -> tuple[MissingVolume, ...]:
        """Return the missing volume that may affect base bars from position ``first`` on.

        Args:
            bars: one symbol's bars per timeframe, as in :meth:`compute`.
            first: position of a base bar.
        """
        # Bars before the warm-up of the first row do not affect it.
        since = bars[self._base].time[max(first - self.warmup, 0)]
        recent = {timeframe: bars[timeframe].between(since, None) for timeframe in self.timeframes}
        return find_missing_volume(self._strategy, self._sources, recent)

    def fit(self, matrices: Mapping[str, FeatureMatrix], train_rows: Mapping[str, np.ndarray]) -> FeaturePipeline:
        """Fit the normalizers of each symbol on its own training rows, replacing those of an earlier fit of it.

        A lagged column shares the normalizer of the column that it repeats, so a value is the same number at every lag.

        Args:
            matrices: results of :meth:`compute` by symbol.
            train_rows: positions or a mask of the training rows, by symbol.

        Returns:
            This pipeline.

        Raises:
            BadInputError: a symbol has no complete training row.
        """
        fitted: dict[str, dict[str, Normalizer]] = {}
        for symbol, matrix in matrices.items():
            self._check_columns(matrix)
            self.require_rows(matrix, train_rows[symbol])
            by_input: dict[tuple[Any, ...], Normalizer] = {}
            entries: dict[str, Normalizer] = {}
            for position, column in normalized_columns(self._columns):
                key = (column.timeframe, column.indicator, column.normalization)
                if key not in by_input:
                    assert column.normalization is not None  # normalized_columns returns no other columns
                    by_input[key] = fit_normalizer(column.normalization, matrix.values[:, position][train_rows[symbol]])
                entries[column.id] = by_input[key]
            fitted[symbol] = entries
        self._normalizers = {**self._normalizers, **fitted}
        return self

    def fitted(self, symbol: str) -> np.ndarray:
        """Return offset and scale of each normalized column of ``symbol``, float64 ``(columns, 2)``."""
        found = self._normalizers_of(symbol)
        numbers = [(found[column.id].offset, found[column.id].scale) for _, column in normalized_columns(self._columns)]
        return np.array(numbers, dtype=np.float64).reshape(-1, 2)

    def use_fitted(self, symbol: str, fitted: np.ndarray) -> None:
        """Take the normalizers of ``symbol`` from the result of :meth:`fitted`, in place of a fit."""
        entries: dict[str, Normalizer] = {}
        for (_, column), (offset, scale) in zip(normalized_columns(self._columns), fitted.tolist(), strict=True):
            assert column.normalization is not None  # normalized_columns returns no other columns
            entries[column.id] = Normalizer(column.normalization, offset, scale)
        self._normalizers = {**self._normalizers, symbol: entries}

    def normalize(self, matrix: FeatureMatrix) -> FeatureMatrix:
        """Return a copy of ``matrix`` with its raw columns normalized by the normalizers of its symbol.

        Raises:
            BadInputError: there are columns to normalize, but no normalizers were fitted for the symbol.
        """
        self._check_columns(matrix)
        if not normalized_columns(self._columns):
            return matrix
        normalizers = self._normalizers_of(matrix.symbol)
        values = matrix.values.copy()
        apply_normalizers(values, self._columns, normalizers)
        return FeatureMatrix(matrix.symbol, matrix.time, values, matrix.columns)

    def transform(self, bars: Mapping[str, Bars]) -> FeatureMatrix:
        """Return the input matrix of the model: the same bytes as ``normalize(compute(bars))``, without the copy."""
        matrix = self.compute(bars)
        if normalized_columns(self._columns):
            apply_normalizers(matrix.values, self._columns, self._normalizers_of(matrix.symbol))
        return matrix

    def normalizers(self) -> dict[str, dict[str, Any]]:
        """Return the normalizers as a JSON-ready map: symbol -> column id -> ``{method, offset, scale}``."""
        return {
            symbol: {identifier: normalizer.to_json() for identifier, normalizer in entries.items()}
            for symbol, entries in self._normalizers.items()
        }

    def with_normalizers(self, normalizers: Mapping[str, Any]) -> FeaturePipeline:
        """Return a copy of this pipeline with the normalizers that :meth:`normalizers` returned.

        Raises:
            BadInputError: the normalizers are damaged or belong to other features.
        """
        other = copy.copy(self)
        other._normalizers = normalizers_from_json(normalizers, self._columns)
        return other

    def require_rows(
        self, matrix: FeatureMatrix, rows: np.ndarray | None = None, *, bars: Mapping[str, Bars] | None = None
    ) -> None:
        """Raise an error with the reason if no row is complete.

        Args:
            matrix: the matrix to check.
            rows: positions or a mask of the training rows, to check only these; ``None`` for all rows.
            bars: bars that the matrix was computed from, to find out whether missing volume is the reason.

        Raises:
            BadInputError: no row is complete.
        """
        complete = matrix.warm if rows is None else matrix.warm[rows]
        if complete.any():
            return
        part = "" if rows is None else f" among the {len(complete)} rows for training"
        loss = None if bars is None else self.volume_loss(bars, matrix, slice(None) if rows is None else rows)
        if loss is not None:
            raise BadInputError(
                f"no bar of {matrix.symbol} {self._base} has all features{part}: {loss.reason}; {loss.remedy}"
            )
        slowest = max(self._columns, key=self._column_warmup)
        raise BadInputError(
            f"no bar of {matrix.symbol} {self._base} has all features{part}: the data has {len(matrix.time)} bars, and"
            f" `{slowest.id}` needs {self._column_warmup(slowest)} before its first value (the whole strategy needs"
            f" {self.warmup}); use more bars, or a shorter period of the indicator"
        )

    def _normalizers_of(self, symbol: str) -> dict[str, Normalizer]:
        if symbol not in self._normalizers:
            known = ", ".join(self._normalizers) or "none"
            raise BadInputError(
                f"no normalizers were fitted for `{symbol}` (fitted: {known}); train on `{symbol}`, or use a symbol"
                " the model was trained on"
            )
        return self._normalizers[symbol]

    def _check(self, bars: Mapping[str, Bars]) -> Bars:
        missing = [timeframe for timeframe in self.timeframes if timeframe not in bars]
        if missing:
            raise BadInputError(
                f"strategy `{self._strategy.name}` needs bars of {', '.join(self.timeframes)};"
                f" {', '.join(missing)} is missing; pass the bars of every timeframe"
            )
        symbols = {bars[timeframe].symbol for timeframe in self.timeframes}
        if len(symbols) > 1:
            raise BadInputError(
                f"features are computed for one symbol at a time; pass the bars of one of {', '.join(sorted(symbols))}"
            )
        for timeframe in self.timeframes:
            if bars[timeframe].timeframe.name != timeframe:
                raise BadInputError(
                    f"the bars given as {timeframe} are {bars[timeframe].timeframe} bars; pass {timeframe} bars"
                )
        return bars[self._base]

    def _check_columns(self, matrix: FeatureMatrix) -> None:
        if matrix.columns != self._columns:
            raise BadInputError(
                f"the features of `{matrix.symbol}` were computed for another strategy: they are"
                f" {', '.join(matrix.ids)}, not {', '.join(column.id for column in self._columns)}"
            )


def content_hash(matrix: FeatureMatrix) -> str:
    """Return the SHA-256 (hex) of symbol, times, feature ids and values."""
    digest = hashlib.sha256()
    head = "\n".join((matrix.symbol, str(len(matrix.time)), *matrix.ids))
    digest.update(head.encode() + b"\0")
    digest.update(np.ascontiguousarray(matrix.time.astype("<M8[ns]", copy=False)).view("<i8").data)
    digest.update(np.ascontiguousarray(matrix.values.astype("<f4", copy=False)).data)
    return digest.hexdigest()

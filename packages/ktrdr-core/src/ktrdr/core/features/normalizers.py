"""Normalization of raw indicator values by two numbers per symbol and column, fitted on the training rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.strategy.model import Normalization

__all__ = ["Normalizer", "apply_normalizers", "fit_normalizer", "normalized_columns", "normalizers_from_json"]

_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Normalization ``(value - offset) / scale``, in float64.

    ``zscore``: mean and standard deviation; ``minmax``: minimum and range, so that training values lie in ``[0, 1]``;
    ``robust``: median and interquartile range. A column that is constant on the training rows has scale 1.
    """

    method: Normalization
    offset: float
    scale: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map whose numbers are read back exactly."""
        return {"method": self.method, "offset": self.offset, "scale": self.scale}


def normalized_columns(columns: Sequence[FeatureColumn]) -> list[tuple[int, FeatureColumn]]:
    """Return the columns that have a normalizer, with their positions."""
    return [
        (position, column)
        for position, column in enumerate(columns)
        if column.kind == "raw" and column.normalization not in (None, "none")
    ]


def fit_normalizer(method: Normalization, values: np.ndarray) -> Normalizer:
    """Return a normalizer fitted to ``values``, float32 ``(n,)`` with at least one value; NaN are left out."""
    # A float64 sum of float32 numbers is exact for any realistic number of bars, so a constant column has spread 0.
    known = values[~np.isnan(values)].astype(np.float64)
    match method:
        case "zscore":
            offset, scale = float(known.mean()), float(known.std())
        case "minmax":
            offset, scale = float(known.min()), float(known.max() - known.min())
        case "robust":
            lower, offset, upper = (float(value) for value in np.quantile(known, (0.25, 0.5, 0.75)))
            scale = upper - lower
        case "none":
            offset, scale = 0.0, 1.0
    return Normalizer(method, offset, scale if scale > 0 and math.isfinite(1 / scale) else 1.0)


def apply_normalizers(
    matrix: np.ndarray, columns: Sequence[FeatureColumn], normalizers: Mapping[str, Normalizer]
) -> None:
    """Normalize ``matrix`` (float32 ``(n, columns)``) in place."""
    affected = normalized_columns(columns)
    for start in range(0, len(matrix) if affected else 0, _BLOCK):
        block = matrix[start : start + _BLOCK]
        for position, column in affected:
            normalizer = normalizers[column.id]
            value = block[:, position].astype(np.float64)
            value -= normalizer.offset
            value /= normalizer.scale
            block[:, position] = value


def normalizers_from_json(
    given: Mapping[str, Any], columns: Sequence[FeatureColumn]
) -> dict[str, dict[str, Normalizer]]:
    """Return normalizers per symbol and column id from the maps of :meth:`Normalizer.to_json`.

    Raises:
        BadInputError: an entry is missing, unknown in ``columns``, of another method, or without usable numbers.
    """
    expected = {column.id: column.normalization for _, column in normalized_columns(columns)}
    read: dict[str, dict[str, Normalizer]] = {}
    for symbol, entries in given.items():
        if not isinstance(entries, Mapping) or set(entries) != set(expected):
            raise BadInputError(
                f"the normalizers of `{symbol}` are not those of this strategy's features"
                f" ({', '.join(expected) or 'none'}); train the model again"
            )
        read[symbol] = {
            identifier: _from_json(symbol, identifier, entries[identifier], method)
            for identifier, method in expected.items()
        }
    return read


def _from_json(symbol: str, identifier: str, entry: Any, method: Normalization | None) -> Normalizer:
    if isinstance(entry, Mapping) and set(entry) == {"method", "offset", "scale"} and entry["method"] == method:
        offset, scale = entry["offset"], entry["scale"]
        if all(isinstance(number, int | float) and math.isfinite(number) for number in (offset, scale)) and scale > 0:
            return Normalizer(entry["method"], float(offset), float(scale))
    raise BadInputError(
        f"the normalizer of `{identifier}` for `{symbol}` is damaged: expected method {method}, a finite offset and a"
        f" positive scale, found {entry!r}; train the model again"
    )

"""Fuzzification: the second half of the feature pipeline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source

__all__ = ["fuzzify"]


def fuzzify(
    pipeline: FeaturePipeline, bars: Mapping[str, Bars], indicator_values: Mapping[Source, np.ndarray]
) -> FeatureMatrix:
    """Return one symbol's matrix: its indicator values aligned, lagged and read through fuzzy sets.

    Raw columns are not normalized yet: that needs the training rows.

    Raises:
        BadInputError: no row has all features; the message names the input that needs the most bars.
    """
    matrix = pipeline.assemble(bars, indicator_values)
    pipeline.require_rows(matrix)
    return matrix

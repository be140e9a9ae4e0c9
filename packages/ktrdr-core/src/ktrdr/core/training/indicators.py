"""Indicator calculation: the first half of the feature pipeline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source

__all__ = ["calculate_indicators"]


def calculate_indicators(pipeline: FeaturePipeline, bars: Mapping[str, Bars]) -> dict[Source, np.ndarray]:
    """Return one symbol's indicator values: float64 per ``(timeframe, indicator)``, on that timeframe's own bars."""
    return pipeline.indicator_values(bars)

"""Folds of an evaluation: which bars train, choose the best epoch, and judge; and the paths that join the folds.

All symbols share one timeline, the opens of the base bars of any of them before the reserve, so that a part begins and
ends for all symbols at the same time. Positions and ranges are those of this timeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Fold", "FoldPlan", "FoldRows", "Range", "Segment"]

Range = tuple[int, int]
"""Half-open range of positions of the timeline."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Bars of one training and of its test.

    Attributes:
        number: from 1.
        train: ranges of the bars to fit with, ascending, after purge and embargo.
        validation: ranges of the bars that choose the best epoch, cut from the fold's training part, after purge and
            embargo.
        test: ranges of the bars to predict, ascending; adjacent groups are joined.
    """

    number: int
    train: tuple[Range, ...]
    validation: tuple[Range, ...]
    test: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a path: the bars from ``start`` to ``end`` (half-open) are predicted by the models of ``fold``."""

    start: int
    end: int
    fold: int


@dataclass(frozen=True, slots=True, eq=False)
class FoldPlan:
    """Folds of an evaluation, and the paths of out-of-sample predictions that they give.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: the timeline, opens of bars before the reserve, UTC.
        folds: the trainings.
        paths: each path predicts every tested bar once; its segments are ascending. Walk-forward and holdout have one.
        look_ahead: bars that are purged.
        embargo: further bars that are left out on both sides of a test part.
        reserve: ``datetime64[ns]`` open of the first bar of the reserve; ``None`` without a reserve.
    """

    time: np.ndarray
    folds: tuple[Fold, ...]
    paths: tuple[tuple[Segment, ...], ...]
    look_ahead: int
    embargo: int
    reserve: np.datetime64 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FoldRows:
    """Samples of one fold: int64 ascending rows of each symbol's own base bars, by symbol.

    Attributes:
        train: samples to fit with.
        validation: samples to choose the best epoch with.
        test: samples to judge; rows of the test part that have a label and complete features.
    """

    train: Mapping[str, np.ndarray]
    validation: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]

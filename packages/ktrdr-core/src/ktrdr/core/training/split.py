"""Chronological split of samples into a training, a validation and a test part, without leakage.

The bars of each symbol are split in this order by fractions of **all** its bars. So the start of the test part depends
only on the data and on ``data_split``, and strategies with different indicators or labels are evaluated on the same
bars.

- Purge: a label depends on bars after its row. A row whose label *may* reach the next part, ``look_ahead`` bars later,
  is left out, even if its own label is known earlier: near a boundary, only large moves are known earlier, and keeping
  them would bias the part. The end of the data is such a boundary, too.
- Embargo: in addition to the purge, the first bars of a part after a boundary are left out (López de Prado, Advances in
  Financial Machine Learning, 2018, section 7.4).
- Windows: a sample of a model with a window of ``window`` rows needs that many complete rows. In the validation and
  test parts, a window may begin in the previous part: features are known at their time, like the history of an
  indicator. Only labels must not cross a boundary.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.models.manifest import Period, SplitBoundaries
from ktrdr.core.strategy.model import DataSplit, HoldoutValidation, Strategy

__all__ = ["PARTS", "SymbolSplit", "complete_windows", "divided", "part_ranges", "split_periods", "split_rows"]

PARTS = ("train", "validation", "test")
"""Names of the parts of the data, in time order."""


@dataclass(frozen=True, slots=True, eq=False)
class SymbolSplit:
    """Samples of one symbol.

    Attributes:
        train: int64 ``(m,)`` ascending rows of the symbol's feature matrix; for a window, its last row.
        validation: rows of the validation part, as ``train``.
        test: rows of the test part, as ``train``.
        ranges: half-open range of bars of each part, without the embargo; empty for a part with a fraction of 0.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    ranges: dict[str, tuple[int, int]]


def divided(strategy: Strategy) -> tuple[Strategy, str]:
    """Return the strategy with the fractions of its parts in ``training.data_split``, and a clause about them.

    Those of ``validation: {type: holdout}`` are its own. The other kinds divide the data many times over, which a
    training cannot: it uses the default fractions, and the clause says so.

    Args:
        strategy: a strategy from the loader, with overrides.
    """
    section = strategy.validation
    if section is None:
        return strategy, ""
    split, clause = DataSplit(), ""
    if isinstance(section, HoldoutValidation):
        split = DataSplit(train=section.train, validation=section.validation, test=section.test)
    else:
        shares = f"{split.train:.0%}, {split.validation:.0%} and {split.test:.0%}"
        clause = f"{shares} of the bars, as the folds of `validation: {section.type}` are those of `ktrdr evaluate`"
    training = strategy.training.model_copy(update={"data_split": split})
    return strategy.model_copy(update={"training": training}), clause


def part_ranges(n: int, data_split: DataSplit, embargo: float) -> dict[str, tuple[int, int]]:
    """Split ``n`` bars into parts.

    Args:
        n: number of bars of the symbol.
        data_split: fractions that sum to 1.
        embargo: fraction of ``n`` left out after each boundary, rounded up to whole bars.

    Returns:
        Half-open range of bars by part; empty, ``(end, end)``, for a part with a fraction of 0 or shorter than the
        embargo.
    """
    shares = (data_split.train, data_split.validation, data_split.test)
    last_used = max(position for position, share in enumerate(shares) if share > 0)
    # Rounded first, because 0.01 * 5700 is above 57 in floating point and must not become 58.
    left_out = math.ceil(round(embargo * n, 6))
    ranges: dict[str, tuple[int, int]] = {}
    end = 0
    for position, part in enumerate(PARTS):
        begin = end
        if shares[position] > 0:
            end = n if position == last_used else round(sum(shares[: position + 1]) * n)
        first = begin + left_out if begin > 0 else begin
        ranges[part] = (min(first, end), end)
    return ranges


def split_rows(
    symbol: str,
    warm: np.ndarray,
    labels: LabelSet,
    data_split: DataSplit,
    *,
    embargo: float,
    window: int = 1,
    lacking: str = "",
) -> SymbolSplit:
    """Choose the samples of each part for one symbol.

    A sample is a row in the range of the part that has a label and ``window`` consecutive complete rows up to and
    including it, and whose label cannot reach beyond the range.

    Args:
        symbol: the symbol, for messages.
        warm: bool ``(n,)``: rows whose features are complete (:attr:`FeatureMatrix.warm`).
        labels: labels of the same bars.
        data_split: fractions of the parts.
        embargo: fraction of the bars left out after each boundary.
        window: number of rows that one sample uses.
        lacking: clause that says what the features lack, for the message about a part without a complete row.

    Raises:
        BadInputError: a part with a fraction above 0 has no sample.
    """
    if len(warm) != len(labels):
        raise ValueError(f"{len(warm)} rows of features, {len(labels)} labels")
    ranges = part_ranges(len(warm), data_split, embargo)
    usable = complete_windows(warm, window) & labels.labelled
    rows: dict[str, np.ndarray] = {}
    for part, (first, end) in ranges.items():
        last = max(first, end - labels.look_ahead)
        rows[part] = first + np.flatnonzero(usable[first:last])
        if getattr(data_split, part) > 0 and not len(rows[part]):
            if lacking and end > first and not warm[first:end].any():
                raise BadInputError(f"{symbol} has no {part} sample, as no bar there has all features: {lacking}")
            raise BadInputError(_no_sample(symbol, part, end - first, labels.look_ahead, embargo, usable[first:end]))
    return SymbolSplit(**rows, ranges=ranges)


def split_periods(split: SymbolSplit, bars: Bars, reserve: Period | None = None) -> SplitBoundaries:
    """Return the period of each part for the manifest: open of its first bar to close of its last bar, UTC.

    Embargoed bars belong to no part.

    Args:
        split: samples of the symbol.
        bars: base bars of the symbol, without the reserve.
        reserve: period of the reserve; ``None`` without one.
    """
    periods = {
        part: Period(start=_utc(bars.time[first]), end=_utc(bars.close_time[end - 1]))
        for part, (first, end) in split.ranges.items()
        if end > first
    }
    return SplitBoundaries(**periods, reserve=reserve)


def _utc(time: np.datetime64) -> dt.datetime:
    return time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)


def complete_windows(warm: np.ndarray, window: int) -> np.ndarray:
    """Return on which rows the last ``window`` rows, including the row itself, are all warm: bool ``(n,)``."""
    if window == 1:
        return warm
    counts = np.concatenate(([0], np.cumsum(warm)))
    complete = np.zeros(len(warm), dtype=np.bool_)
    complete[window - 1 :] = counts[window:] - counts[:-window] == window
    return complete


def _no_sample(symbol: str, part: str, bars: int, look_ahead: int, embargo: float, usable: np.ndarray) -> str:
    if usable.any():
        why = f"every label in its {bars:,} bars may reach past their end, as labels look {look_ahead:,} bars ahead"
    elif bars:
        why = f"none of its {bars:,} bars has complete features and a label"
    else:
        why = f"an embargo of {embargo:g} leaves it no bars"
    return (
        f"{symbol} has no {part} sample: {why}; use more data, or shorter periods in the indicators or"
        " in `training.labels`, or change `training.embargo`, or the fractions under `training.data_split` or"
        " `validation`"
    )

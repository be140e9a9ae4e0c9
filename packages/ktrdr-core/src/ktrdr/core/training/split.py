"""Which rows a model is fitted on, which choose its best epoch, and which judge it: chronological, without a leak.

The bars of each symbol are cut into a training, a validation and a test part, in this order, by shares of **all** its
bars: where a test part begins depends on the data and on ``data_split`` alone, so that strategies with different
indicators, or different labels, are judged on the same bars.

- Purge: a label is made from bars after its row. A row whose label *may* reach the next part, ``look_ahead`` bars on,
  is left out. It is also left out if its own label happens to be settled before: near a boundary those are the large
  moves alone, and a part that keeps them is no fair sample. The end of the data is such a boundary too.
- Embargo: the first bars of a part after a boundary are left out, beside the purge (López de Prado, Advances in
  Financial Machine Learning, 2018, section 7.4).
- Windows: a sample of a model that looks at ``window`` rows needs that many complete rows. In the validation and test
  parts they may begin in the part before: they are features, known at the time, as every indicator's own history is.
  Only labels must not cross.
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
from ktrdr.core.strategy.model import DataSplit

__all__ = ["PARTS", "SymbolSplit", "part_ranges", "split_periods", "split_rows"]

PARTS = ("train", "validation", "test")
"""Parts of the data, in time order."""


@dataclass(frozen=True, slots=True, eq=False)
class SymbolSplit:
    """Samples of one symbol.

    Attributes:
        train, validation, test: int64 ``(m,)`` ascending rows of the symbol's feature matrix; of a window, the last.
        ranges: per part, the half-open range of bars it may use, embargo excluded; empty for a part without a share.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    ranges: dict[str, tuple[int, int]]


def part_ranges(n: int, data_split: DataSplit, embargo: float) -> dict[str, tuple[int, int]]:
    """Cut ``n`` bars into parts.

    Args:
        n: bars of the symbol.
        data_split: shares that sum to 1.
        embargo: share of ``n`` left out after each boundary, rounded up to whole bars.

    Returns:
        Half-open range of bars per part; empty, ``(end, end)``, for one without a share, or shorter than the embargo.
    """
    shares = (data_split.train, data_split.validation, data_split.test)
    last_used = max(position for position, share in enumerate(shares) if share > 0)
    # Rounded first: shares are decimal fractions, and 0.01 of 5,700 bars are 57 and not 58.
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

    A sample is a row with a label and with ``window`` consecutive complete rows up to and including it, that lies in
    the part's range and whose label cannot reach beyond it.

    Args:
        symbol: for messages.
        warm: bool ``(n,)``: rows whose features are complete (:attr:`FeatureMatrix.warm`).
        labels: of the same bars.
        data_split, embargo: of the strategy.
        window: rows one sample looks at.
        lacking: what the features lack, for the message about a part without a complete row; a clause.

    Raises:
        BadInputError: a part that has a share has no sample.
    """
    if len(warm) != len(labels):
        raise ValueError(f"{len(warm)} rows of features, {len(labels)} labels")
    ranges = part_ranges(len(warm), data_split, embargo)
    usable = _complete_windows(warm, window) & labels.labelled
    rows: dict[str, np.ndarray] = {}
    for part, (first, end) in ranges.items():
        last = max(first, end - labels.look_ahead)
        rows[part] = first + np.flatnonzero(usable[first:last])
        if getattr(data_split, part) > 0 and not len(rows[part]):
            if lacking and end > first and not warm[first:end].any():
                raise BadInputError(f"{symbol} has no {part} sample, as no bar there has all features: {lacking}")
            raise BadInputError(_no_sample(symbol, part, end - first, labels.look_ahead, embargo, usable[first:end]))
    return SymbolSplit(**rows, ranges=ranges)


def split_periods(split: SymbolSplit, bars: Bars) -> SplitBoundaries:
    """Return when each part is, for the manifest: from the open of its first bar to the close of its last, UTC.

    Embargoed bars belong to no part.

    Args:
        split: of the symbol.
        bars: the base bars it was made for.
    """
    periods = {
        part: Period(start=_utc(bars.time[first]), end=_utc(bars.close_time[end - 1]))
        for part, (first, end) in split.ranges.items()
        if end > first
    }
    return SplitBoundaries(**periods)


def _utc(time: np.datetime64) -> dt.datetime:
    return time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)


def _complete_windows(warm: np.ndarray, window: int) -> np.ndarray:
    """Return where the last ``window`` rows, the row itself among them, are all warm: bool ``(n,)``."""
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
        f"{symbol} has no {part} sample: {why}; give it more data, or shorten what the indicators or"
        " `training.labels` need, or change `training.data_split` or `training.embargo`"
    )

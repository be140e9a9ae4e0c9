"""Warnings about the bars of a backtest: suspicious jumps of the price, and missing volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ktrdr.core.backtesting.signals import VOLUME_WINDOW, volume_ratio
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.jumps import jump_warnings
from ktrdr.core.features.missing_volume import VolumeLoss, measure_missing
from ktrdr.core.strategy.model import Strategy

__all__ = ["data_warnings"]

_FILTER = "decisions.filters.volume_filter"


def data_warnings(
    strategy: Strategy,
    base: Sequence[Bars],
    first: Sequence[int],
    warmup: int,
    losses: Mapping[str, VolumeLoss],
) -> tuple[str, ...]:
    """Return one sentence per warning.

    Args:
        strategy: the model's strategy.
        base: base bars of each symbol, up to the last traded bar.
        first: position of the first traded bar in the base bars of each symbol.
        warmup: bars before the first traded bar that its features are computed from. Earlier jumps are in no feature
            and no trade.
        losses: bars without features because of missing volume, by symbol; only symbols that have such bars.
    """
    warnings = [*jump_warnings([bars[max(begin - warmup, 0) :] for bars, begin in zip(base, first, strict=True)])]
    for bars, begin in zip(base, first, strict=True):
        name = f"{bars.symbol} {bars.timeframe}"
        if bars.symbol in losses:
            warnings.append(f"{name}: {losses[bars.symbol].statement}")
        if strategy.decisions.filters.volume_filter is None:
            continue
        if (loss := _stopped(bars, begin)) is not None:
            warnings.append(
                f"{name}: {_FILTER} stops every signal on {loss.rows:,} of {loss.known:,} bars because volume is"
                f" missing: {loss.reason}; import bars that have a volume, or train without the filter"
            )
    return tuple(warnings)


def _stopped(bars: Bars, first: int) -> VolumeLoss | None:
    """Return the traded bars on which the volume filter stops signals because volume is missing; None if none."""
    missing = measure_missing(bars[max(first - VOLUME_WINDOW + 1, 0) :], _FILTER, VOLUME_WINDOW)
    if missing is None:
        return None
    known = ~np.isnan(volume_ratio(np.nan_to_num(bars.volume, nan=1.0))[first:])
    lost = int(np.count_nonzero(known & np.isnan(volume_ratio(bars.volume)[first:])))
    return VolumeLoss(lost, int(np.count_nonzero(known)), (missing,)) if lost else None

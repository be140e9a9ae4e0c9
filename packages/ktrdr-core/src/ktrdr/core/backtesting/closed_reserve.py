"""The reserve of a model's data: bars that its training and its evaluation did not use, kept for a last test.

The reserve is that of each symbol; a symbol that the model was not trained on has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_end, format_time, instant_of
from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import Manifest, Period
from ktrdr.core.trials.look import Span

__all__ = ["bounds_of", "check_closed", "opened_reserve", "reserve_span", "reserves_of"]

_DAY = np.timedelta64(1, "D")


def reserves_of(manifest: Manifest, symbols: Collection[str]) -> dict[str, Period]:
    """Return the reserve of each of ``symbols`` that has one."""
    split = manifest.data.split
    own = {symbol: split[symbol].reserve for symbol in symbols if symbol in split}
    return {symbol: reserve for symbol, reserve in own.items() if reserve is not None}


def reserve_span(manifest: Manifest, symbols: Collection[str]) -> Span | None:
    """Return the bars of the reserve of ``symbols``, by which its openings are counted; ``None`` without a reserve."""
    reserves = reserves_of(manifest, symbols)
    if not reserves:
        return None
    start = min(reserve.start for reserve in reserves.values())
    end = max(reserve.end for reserve in reserves.values())
    return Span(tuple(sorted(reserves)), int(start.timestamp()), int(end.timestamp()), manifest.data.world)


def bounds_of(reserve: Span) -> tuple[np.datetime64, np.datetime64]:
    """Return start and end of a reserve, ``datetime64[ns]``."""
    start, end = (np.datetime64(seconds, "s").astype("datetime64[ns]") for seconds in (reserve.start, reserve.end))
    return start, end


def opened_reserve(manifest: Manifest, bars: Mapping[str, Bars]) -> Span | None:
    """Return :func:`reserve_span` if any of the traded ``bars`` is in the reserve, else ``None``."""
    return reserve_span(manifest, bars) if _inside(manifest, bars) else None


def check_closed(
    manifest: Manifest,
    bars: Mapping[str, Bars],
    start: np.datetime64 | None,
    end: np.datetime64 | None,
    *,
    sweep: bool = False,
) -> None:
    """Check that no bar that opens in ``[start, end)`` is in the reserve.

    Args:
        manifest: manifest of the model.
        bars: base bars by symbol.
        start: first open to trade, ``datetime64[ns]``; ``None`` for no limit.
        end: bars open before this time; ``None`` for no limit.
        sweep: whether a sweep is to trade them; it has no option that opens the reserve.

    Raises:
        BadInputError: there is such a bar.
    """
    inside = _inside(manifest, {symbol: each.between(start, end) for symbol, each in bars.items()})
    if not inside:
        return
    reserve = reserve_span(manifest, bars)
    assert reserve is not None  # it has bars
    first, last = bounds_of(reserve)
    # The last whole day before the reserve, and the first one after it.
    before = first.astype("datetime64[D]") - _DAY
    after = (last - np.timedelta64(1, "ns")).astype("datetime64[D]") + _DAY
    how = (
        "a sweep would choose on it; backtest the settings that it chooses with --reserve"
        if sweep
        else "or open the reserve with --reserve: each different look at it counts"
    )
    raise BadInputError(
        f"{inside:,} of the bars to trade are in the reserve of {manifest.ref}, {format_time(first)} to"
        f" {format_end(last)}, which is kept for a last test; choose days until {before} or from"
        f" {after}{';' if sweep else ','} {how}"
    )


def _inside(manifest: Manifest, bars: Mapping[str, Bars]) -> int:
    return sum(
        len(bars[symbol].between(instant_of(reserve.start), instant_of(reserve.end)))
        for symbol, reserve in reserves_of(manifest, bars).items()
    )

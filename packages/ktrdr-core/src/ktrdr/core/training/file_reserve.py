"""The bars that the reserve is the end of: those of the strategy file's own dates, whatever dates a run has."""

from __future__ import annotations

from collections.abc import Collection

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.strategy.model import DateRange
from ktrdr.core.training.preparation import span_of

__all__ = ["bars_of_file"]


def bars_of_file(store: BarStore, symbols: Collection[str], timeframe: str, dates: DateRange) -> dict[str, Bars]:
    """Return the base bars of each symbol on the dates of the strategy file; a symbol without any is left out.

    The dates of a run must not choose the reserve: bars that one run keeps closed, another could then test.

    Args:
        store: store of the bars.
        symbols: symbols of the run.
        timeframe: the base timeframe.
        dates: dates of the strategy file, without overrides.

    Raises:
        BadInputError: no symbol has such a bar.
    """
    found = {symbol: stored_inputs(store, symbol, [timeframe], *span_of(dates))[timeframe] for symbol in symbols}
    if not any(map(len, found.values())):
        raise BadInputError(
            f"there are no {timeframe} bars from {dates.start or 'the beginning'} to {dates.end or 'the end'}, the"
            " dates of the strategy file, at whose end the reserve is; write other dates in its `date_range`"
        )
    return {symbol: bars for symbol, bars in found.items() if len(bars)}

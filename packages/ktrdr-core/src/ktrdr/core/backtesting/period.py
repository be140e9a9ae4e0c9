"""Choice of the bars that a backtest trades, and a warning if the model was trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.closed_reserve import bounds_of, check_closed, reserve_span
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_end, format_time, instant_of
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.manifest import Manifest, Period

__all__ = ["BacktestPeriod", "choose_period", "history_start", "overlap_warnings"]


@dataclass(frozen=True, slots=True)
class BacktestPeriod:
    """Period of a backtest.

    Attributes:
        start, end: traded bars open in ``[start, end)``; ``datetime64[ns]``, UTC; ``None`` for no limit.
        statement: one sentence on how the period was chosen.
    """

    start: np.datetime64 | None
    end: np.datetime64 | None
    statement: str


def history_start(manifest: Manifest) -> np.datetime64 | None:
    """Return the start of the strategy's training data, ``datetime64[ns]``; ``None`` for the first stored bar.

    A backtest reads bars from there too, so that its features continue those of the training.
    """
    start = manifest.strategy.training_data.date_range.start
    return None if start is None else np.datetime64(start, "ns")


def choose_period(
    manifest: Manifest, settings: BacktestSettings, bars: Mapping[str, Bars], *, sweep: bool = False
) -> BacktestPeriod:
    """Return the period of a backtest.

    It is the requested days. Without a start it is data the model has not seen: the bars after its training data and
    their reserve, or the test part of the training data if there are no later bars. The reserve is traded only if the
    settings open it; then it is the period of a backtest without days.

    Args:
        manifest: manifest of the model.
        settings: settings of the backtest.
        bars: base bars per symbol, from the start of the training data to the last stored bar.
        sweep: whether the period is that of a sweep.

    Raises:
        BadInputError: there are no bars that the model has not seen, or they are in the reserve.
    """
    end = None if settings.end is None else np.datetime64(settings.end, "ns") + np.timedelta64(1, "D")
    reserve = reserve_span(manifest, bars)
    if settings.reserve and reserve is None:
        raise BadInputError(
            f"model {manifest.ref} has no reserve of {', '.join(bars)}, so there is nothing to open; leave --reserve"
            " out, or set `validation.reserve` in the strategy and train it again"
        )
    if settings.start is not None:
        until = "the end of the data" if settings.end is None else str(settings.end)
        start = np.datetime64(settings.start, "ns")
        if not settings.reserve:
            check_closed(manifest, bars, start, end, sweep=sweep)
        return BacktestPeriod(start, end, f"{settings.start} to {until}, as requested")
    data_end = instant_of(manifest.data.end)
    reserve_start, reserve_end = (data_end, data_end) if reserve is None else bounds_of(reserve)
    if settings.reserve:
        return _reserve(manifest, reserve_start, reserve_end, end)
    seen_until = max(data_end, reserve_end)
    if end is not None and data_end < end <= seen_until:
        check_closed(manifest, bars, data_end, end, sweep=sweep)
    what = "the training data" if reserve is None else "the training data and the reserve"
    trained = f"{what} of {manifest.ref}, which end at {format_end(seen_until)}"
    if end is not None and end <= seen_until:
        raise BadInputError(f"a backtest until {settings.end} lies within {trained}; give a start too, or a later end")
    if all(len(each.between(seen_until, end)) for each in bars.values()):
        return BacktestPeriod(seen_until, end, f"all bars after {trained}")
    tests = [manifest.data.split[symbol].test for symbol in bars if symbol in manifest.data.split]
    known = [test for test in tests if test is not None]
    if end is not None or len(known) < len(bars):
        missing = ", ".join(symbol for symbol, each in bars.items() if not len(each.between(seen_until, end)))
        raise BadInputError(
            f"there are no bars of {missing} after {trained}, so the model has seen all of them; import later bars, or"
            " give start and end to trade bars it has seen"
        )
    return BacktestPeriod(
        max(instant_of(test.start) for test in known),
        max(instant_of(test.end) for test in known),
        f"the test part of the training data of {manifest.ref}, as there are no later bars: the model was not fitted to"
        " it, but the strategy may have been chosen by it",
    )


def _reserve(
    manifest: Manifest, start: np.datetime64, until: np.datetime64, end: np.datetime64 | None
) -> BacktestPeriod:
    """Return the reserve, from ``start`` to ``until``, or to ``end`` if that is earlier."""
    if end is not None and end <= start:
        raise BadInputError(
            f"the reserve of {manifest.ref} begins at {format_time(start)}, after the end asked for; leave --reserve"
            " out, or give a later end"
        )
    return BacktestPeriod(
        start,
        until if end is None else min(end, until),
        f"the reserve of {manifest.ref}, which its training and its evaluation did not use",
    )


def overlap_warnings(manifest: Manifest, bars: Mapping[str, Bars]) -> tuple[str, ...]:
    """Return one sentence if any of the traded ``bars`` were used to fit the model or to choose its best epoch.

    Bars of the test part of the training data do not count.
    """
    total = sum(len(each) for each in bars.values())
    seen = 0
    for symbol, each in bars.items():
        for period in _fitted(manifest, symbol):
            seen += len(each.between(instant_of(period.start), instant_of(period.end)))
    if not seen:
        return ()
    parts = [period for symbol in bars for period in _fitted(manifest, symbol)]
    first, last = min(instant_of(period.start) for period in parts), max(instant_of(period.end) for period in parts)
    return (
        f"{seen:,} of the {total:,} bars ({seen / total:.0%}) overlap the data the model was trained on"
        f" ({format_time(first)} to {format_end(last)}): the result says little about data it has not seen",
    )


def _fitted(manifest: Manifest, symbol: str) -> Sequence[Period]:
    if symbol not in manifest.data.symbols:
        return ()
    split = manifest.data.split.get(symbol)
    if split is None:
        return (Period(start=manifest.data.start, end=manifest.data.end),)
    return tuple(period for period in (split.train, split.validation) if period is not None)

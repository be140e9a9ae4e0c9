"""From a model's outputs to signals: the part of the ``decisions`` section that needs no position.

What depends on the position (position awareness, shorts, separation) is decided where the position is known, in
:mod:`ktrdr.core.backtesting.fills`; :class:`SignalRules` says what it is. Everything here is one pass over arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import Decisions

__all__ = ["VOLUME_WINDOW", "SignalRules", "Signals", "decide", "passed_in_words", "volume_ratio"]

VOLUME_WINDOW = 20
"""Bars of the mean that ``filters.volume_filter`` compares with, the bar itself among them."""


_PASSED: Mapping[str, str] = MappingProxyType(
    {
        "bars": "bars",
        "predicted": "with a prediction",
        "buy or sell": "BUY or SELL",
        "confidence_threshold": "above the confidence threshold",
        "cost_model": "above the cost of a round trip",
        "volume_filter": "with enough volume",
        "executed": "executed",
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Signals of one symbol.

    Attributes:
        direction: int8 ``(n,)``: 1 to buy, -1 to sell, 0 to do nothing, known at the close of the bar.
        passed: how many bars are left after each filter, in the order in which they are applied.
    """

    direction: np.ndarray
    passed: dict[str, int]


@dataclass(frozen=True, slots=True)
class SignalRules:
    """How signals become orders, given the position.

    A buy closes a short, a sell closes a long; neither turns the position round, the next signal may open the other
    side. From flat, a buy opens a long; a sell opens a short if ``allow_short_from_flat``, and is ignored otherwise.

    Attributes:
        position_awareness: a signal that the position already expresses is ignored. If False it counts as executed:
            it trades nothing, as there is one position per symbol, but the bars of ``min_separation`` and of
            ``max_holding_period`` are counted from it anew.
        allow_short_from_flat: see above.
        min_separation: bars since the decision of the last executed signal before another is executed.
    """

    position_awareness: bool = True
    allow_short_from_flat: bool = False
    min_separation: int = 0

    @classmethod
    def of(cls, decisions: Decisions) -> SignalRules:
        """Return the rules a strategy's ``decisions`` ask for."""
        return cls(
            position_awareness=decisions.position_awareness,
            allow_short_from_flat=decisions.allow_short_from_flat,
            min_separation=decisions.filters.min_signal_separation,
        )


def passed_in_words(passed: Mapping[str, int]) -> str:
    """Return :attr:`Signals.passed`, with what was ``executed`` if it is known, for a person."""
    return ", ".join(f"{count:,} {_PASSED.get(name, name)}" for name, count in passed.items())


def decide(
    outputs: np.ndarray, decisions: Decisions, ratio: np.ndarray | None = None, symbol: str | None = None
) -> Signals:
    """Turn a model's outputs into signals.

    A class is chosen if it is more probable than every other one, so a tie is ``HOLD``, and acted on if its probability
    is above ``confidence_threshold``. A value is acted on if its size is above ``round_trip_cost *
    min_edge_multiplier``. A row with NaN is ``HOLD``. With ``volume_filter``, so is a bar whose volume is below that
    multiple of the mean of 20 bars, or for which that is not known.
    :mod:`ktrdr.core.comparisons` says what is equal.

    Args:
        outputs: float64 ``(n, 3)`` probabilities of BUY, HOLD, SELL, or float64 ``(n,)`` values.
        decisions: of the strategy.
        ratio: float64 ``(n,)``, :func:`volume_ratio` of the bars; needed where there is a volume filter.
        symbol: whose bars they are, for messages.

    Raises:
        BadInputError: the shape does not fit ``output_format``, or there is a volume filter and no volume at all.
    """
    n = len(outputs)
    passed = {"bars": n}
    if decisions.output_format == "classification":
        if outputs.shape != (n, 3):
            raise BadInputError(f"a classifier of BUY, HOLD, SELL gives ({n}, 3) probabilities, not {outputs.shape}")
        buy, hold, sell = outputs[:, 0], outputs[:, 1], outputs[:, 2]
        known = ~(np.isnan(buy) | np.isnan(hold) | np.isnan(sell))
        # A comparison with NaN is False: such rows are no signal.
        long = buy > highest_equal(np.maximum(hold, sell))
        short = sell > highest_equal(np.maximum(hold, buy))
        long &= known
        short &= known
        passed["predicted"] = int(np.count_nonzero(known))
        passed["buy or sell"] = int(np.count_nonzero(long) + np.count_nonzero(short))
        level = highest_equal(decisions.confidence_threshold)
        long &= buy > level
        short &= sell > level
        passed["confidence_threshold"] = int(np.count_nonzero(long) + np.count_nonzero(short))
    else:
        if outputs.shape != (n,):
            raise BadInputError(f"a regression gives ({n},) values, not {outputs.shape}")
        edge = highest_equal(decisions.cost_model.round_trip_cost * decisions.cost_model.min_edge_multiplier)
        long, short = outputs > edge, outputs < -edge
        passed["predicted"] = int(np.count_nonzero(~np.isnan(outputs)))
        passed["cost_model"] = int(np.count_nonzero(long) + np.count_nonzero(short))
    direction = long.view(np.int8) - short.view(np.int8)
    least = decisions.filters.volume_filter
    if least is not None:
        if ratio is None or (n and np.isnan(ratio).all()):
            of = "" if symbol is None else f" of {symbol}"
            raise BadInputError(
                f"the strategy has a volume_filter, and no 20 bars in a row{of} have a volume that is not 0 on all of"
                " them; import bars with volume, or remove the filter and train again"
            )
        direction[~(ratio >= lowest_equal(least))] = 0
        passed["volume_filter"] = int(np.count_nonzero(direction))
    return Signals(direction, passed)


def volume_ratio(volume: np.ndarray) -> np.ndarray:
    """Return volume over its mean of 20 bars, float64 ``(n,)``; NaN where one of them is missing or all are zero."""
    n = len(volume)
    ratio = np.full(n, np.nan)
    if n < VOLUME_WINDOW:
        return ratio
    # Added up window by window, so that the same bars give the same bits wherever the array starts.
    total = np.zeros(n - VOLUME_WINDOW + 1)
    for lag in range(VOLUME_WINDOW):
        total += volume[lag : lag + len(total)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio[VOLUME_WINDOW - 1 :] = volume[VOLUME_WINDOW - 1 :] * VOLUME_WINDOW / total
    return ratio

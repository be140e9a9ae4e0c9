"""Signals from a model's outputs: the part of the ``decisions`` section that does not depend on the position.

The rules that depend on the position (position awareness, shorts, separation) are :class:`SignalRules`, and
:mod:`ktrdr.core.backtesting.fills` applies them. All functions here are vectorized.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.errors import BadInputError
from ktrdr.core.short_texts import counted, object_repr
from ktrdr.core.strategy.model import Decisions

__all__ = ["VOLUME_WINDOW", "SignalRules", "Signals", "decide", "passed_in_words", "volume_ratio"]

VOLUME_WINDOW = 20
"""Bars of the mean volume that ``filters.volume_filter`` compares with; the bar itself is one of them."""

# Rows per block: intermediate arrays of this size stay in the processor's cache.
_BLOCK = 1 << 15
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
        passed: number of bars that are left after each filter, in the order in which filters are applied.
    """

    direction: np.ndarray
    passed: dict[str, int]

    def __repr__(self) -> str:
        buys, sells = (int(np.count_nonzero(self.direction == side)) for side in (1, -1))
        return object_repr(self, counted(len(self.direction), "bar"), f"{buys:,} BUY", f"{sells:,} SELL")


@dataclass(frozen=True, slots=True)
class SignalRules:
    """Rules by which signals become orders, given the position.

    A buy signal closes a short position, a sell signal closes a long one. Neither reverses the position: only a later
    signal can open the other side. Without a position, a buy signal opens a long position, and a sell signal opens a
    short one if ``allow_short_from_flat`` is True.

    Attributes:
        position_awareness: True ignores a signal in the direction of the open position. False executes it: it trades
            nothing, as there is one position per symbol, but refreshes the position: ``min_separation`` and
            ``max_holding_period`` are counted from this signal.
        allow_short_from_flat: whether a sell signal opens a short position.
        min_separation: least number of bars between the decisions of two executed signals.
    """

    position_awareness: bool = True
    allow_short_from_flat: bool = False
    min_separation: int = 0

    @classmethod
    def of(cls, decisions: Decisions) -> SignalRules:
        """Return the rules in a strategy's ``decisions``."""
        return cls(
            position_awareness=decisions.position_awareness,
            allow_short_from_flat=decisions.allow_short_from_flat,
            min_separation=decisions.filters.min_signal_separation,
        )


def passed_in_words(passed: Mapping[str, int]) -> str:
    """Return :attr:`Signals.passed` as text; ``executed`` is one of the steps if it is known."""
    return ", ".join(f"{count:,} {_PASSED.get(name, name)}" for name, count in passed.items())


def decide(
    outputs: np.ndarray, decisions: Decisions, ratio: np.ndarray | None = None, symbol: str | None = None
) -> Signals:
    """Turn a model's outputs into signals.

    BUY or SELL becomes a signal if it is more probable than every other class and its probability is above
    ``confidence_threshold``; a tie is ``HOLD``. A predicted value becomes a signal if its absolute value is above
    ``round_trip_cost * min_edge_multiplier``. A row with NaN is ``HOLD``. With ``volume_filter``, a bar is also
    ``HOLD`` if its volume is unknown or below that multiple of the mean of 20 bars. Probabilities and values are
    compared with the tolerance of :mod:`ktrdr.core.comparisons`.

    Args:
        outputs: float64 ``(n, 3)`` probabilities of BUY, HOLD, SELL, or float64 ``(n,)`` values.
        decisions: the strategy's ``decisions``.
        ratio: float64 ``(n,)``, :func:`volume_ratio` of the bars; required if there is a volume filter.
        symbol: symbol of the bars, for messages.

    Returns:
        The signals, and the number of bars that passed each filter.

    Raises:
        BadInputError: the shape does not fit ``output_format``, or there is a volume filter and no volume at all.
    """
    n = len(outputs)
    passed = {"bars": n}
    if decisions.output_format == "classification":
        if outputs.shape != (n, 3):
            raise BadInputError(f"a classifier of BUY, HOLD, SELL gives ({n}, 3) probabilities, not {outputs.shape}")
        direction, counts = _most_probable(outputs, highest_equal(decisions.confidence_threshold))
        passed |= counts
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
                f"the strategy has a volume_filter, but there are no 20 bars in a row{of} with known volumes that are"
                " not all 0; import bars with volume, or remove the filter and train again"
            )
        direction[~(ratio >= lowest_equal(least))] = 0
        passed["volume_filter"] = int(np.count_nonzero(direction))
    return Signals(direction, passed)


def _most_probable(outputs: np.ndarray, level: float) -> tuple[np.ndarray, dict[str, int]]:
    """Return the signals of a classifier, and the number of bars that passed each filter.

    Args:
        outputs: float64 ``(n, 3)`` probabilities of BUY, HOLD, SELL.
        level: the probability must be above it.

    Returns:
        int8 ``(n,)``, and the counts.
    """
    n = len(outputs)
    direction = np.empty(n, dtype=np.int8)
    predicted = chosen = 0
    for start in range(0, n, _BLOCK):
        buy, hold, sell = (np.ascontiguousarray(column) for column in outputs[start : start + _BLOCK].T)
        known = ~(np.isnan(buy) | np.isnan(hold) | np.isnan(sell))
        # A comparison with NaN is False, so rows with NaN give no signal.
        long = buy > highest_equal(np.maximum(hold, sell))
        short = sell > highest_equal(np.maximum(hold, buy))
        long &= known
        short &= known
        predicted += int(np.count_nonzero(known))
        chosen += int(np.count_nonzero(long) + np.count_nonzero(short))
        long &= buy > level
        short &= sell > level
        np.subtract(long.view(np.int8), short.view(np.int8), out=direction[start : start + _BLOCK])
    above = int(np.count_nonzero(direction))
    return direction, {"predicted": predicted, "buy or sell": chosen, "confidence_threshold": above}


def volume_ratio(volume: np.ndarray) -> np.ndarray:
    """Return volume divided by its mean of the last 20 bars.

    Args:
        volume: float64 ``(n,)``; NaN where it is unknown.

    Returns:
        float64 ``(n,)``; NaN where one of the 20 volumes is unknown or all are 0.
    """
    n = len(volume)
    ratio = np.full(n, np.nan)
    if n < VOLUME_WINDOW:
        return ratio
    # Each window is summed separately, so that the same bars give the same bits wherever the array starts.
    total = np.zeros(n - VOLUME_WINDOW + 1)
    for lag in range(VOLUME_WINDOW):
        total += volume[lag : lag + len(total)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio[VOLUME_WINDOW - 1 :] = volume[VOLUME_WINDOW - 1 :] * VOLUME_WINDOW / total
    return ratio

"""What no data can show, and what a verdict therefore asks the person who reads it."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_name
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.verdicts.findings import named

__all__ = ["questions_of"]

_COMMON = (
    "Were rules, indicators, periods or dates chosen after looking at a chart or a result of these bars, in another"
    " program or by another person? Those are trials that the ledger does not know: add their number with `--trials`.",
    "Could orders of this size have been filled at the open of the next bar, at the prices of these bars, with the"
    " commission and slippage of this verdict, also at night and on news?",
    "Are these prices those that you could have traded at: your broker's or exchange's, bid and ask, and not"
    " mid-prices, settlements or an index?",
    "Will what the edge comes from last? Name who loses the money that this strategy earns, and why they go on.",
    "Would you have kept trading through the largest drawdown of the median account, with your own money?",
)


def questions_of(strategy: Strategy, series: Sequence[Bars]) -> tuple[str, ...]:
    """Return the questions that only a person can answer, at least five.

    Args:
        strategy: the strategy that is judged.
        series: base bars of each symbol.
    """
    symbols = [bars.symbol for bars in series]
    around_the_clock = [bars.symbol for bars in series if calendar_name(bars) == "24/7"]
    exchange = [bars.symbol for bars in series if calendar_name(bars) not in ("24/7", "FX")]
    if len(symbols) > 1:
        chosen = (
            f"Do the {len(symbols):,} symbols ({named(symbols)}) include those that have died since the first bar, and"
            " were they chosen by a rule that was known then? A list of today's survivors has an edge of its own."
        )
    else:
        chosen = (
            f"Why {symbols[0]}? A symbol chosen because it is known to have survived, risen or trended has an edge that"
            " no test on its bars can show."
        )
    asked = [chosen, *_COMMON]
    if exchange:
        asked.append(
            f"Are dividends and splits of {named(exchange)} adjusted with what was known at the time, and were the"
            " prices that the strategy reads ever revised afterwards?"
        )
    if around_the_clock:
        asked.append(
            f"Could money be moved in and out of the venue of {named(around_the_clock)} all the time, and what would"
            " its failure have cost?"
        )
    if "FX" in map(calendar_name, series):
        asked.append("What does it cost to hold these positions overnight? Swap rates are no part of the costs here.")
    if strategy.decisions.allow_short_from_flat:
        asked.append("Could these symbols have been sold short on every one of these days, and at what borrowing cost?")
    return tuple(asked)

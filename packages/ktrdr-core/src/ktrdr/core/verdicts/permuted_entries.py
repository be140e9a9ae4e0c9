"""The trades of an account at other times: the same sizes, directions and lengths in random order.

If the times of the trades say nothing about the returns that follow, every order of the positions and of the pauses
between them is as likely as the one that was traded. So a Sharpe ratio that few random orders reach comes from the
times, not from the exposure or from the drift of the market. Sources: D. R. Aronson, "Evidence-Based Technical
Analysis" (2006), chapter 5, on T. Masters' Monte Carlo permutation; B. Phipson and G. K. Smyth, "Permutation P-values
Should Never Be Zero" (Statistical Applications in Genetics and Molecular Biology, 2010) for the p-value.

Each position counts with the share of the equity that it had at its entry, on every bar that it was open in, with the
return from open to open, and pays costs at both ends. So an exit inside a bar counts with the whole bar. The account
that is compared with the random orders is computed in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.account import Account
from ktrdr.core.backtesting.trades import bars_held
from ktrdr.core.comparisons import lowest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.synthetic.random_streams import uniforms
from ktrdr.core.verdicts.verdict_result import PermutedEntries
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["ORDERS", "permuted_entries_of"]

ORDERS = 1_000
"""Number of random orders: a p-value of 5 % then has a standard error of 0.7 percentage points."""

_ORDERS_BETWEEN_LOOKS = 50


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """Positions and pauses of one symbol, in the order of time.

    Attributes:
        share: float64 ``(k,)``: value of the position as a share of the equity, negative if short; 0 for a pause.
        length: int64 ``(k,)``: bars; together those of the symbol.
        moves: float64 ``(n,)``: return of each bar, from its open to the next.
        rows: positions of the bars on the timeline of all symbols together.
    """

    share: np.ndarray
    length: np.ndarray
    moves: np.ndarray
    rows: np.ndarray | slice

    def returns(self, order: np.ndarray | slice, cost: float) -> np.ndarray:
        """Return the returns of the account per bar, float64 ``(n,)``, with the segments in another order."""
        share, length = self.share[order], self.length[order]
        returns: np.ndarray = np.repeat(share, length) * self.moves
        traded = share != 0
        end = np.cumsum(length)[traded]
        paid = cost * np.abs(share[traded])
        returns[end - length[traded]] -= paid
        returns[end - 1] -= paid
        return returns


def permuted_entries_of(
    account: Account, cost: float, *, seed: int, orders: int = ORDERS, cancellation: Cancellation | None = None
) -> PermutedEntries | None:
    """Return the Sharpe ratio of an account beside those of the same trades in random orders.

    Args:
        account: the account. The trades of each symbol are put into an order of their own.
        cost: commission and slippage together, as a share of the traded value per side.
        seed: seed of the orders. The first orders of a larger number are those of a smaller one.
        orders: number of them.
        cancellation: stops on request.

    Returns:
        The ratios; one that is not defined counts as 0. ``None`` if the account never trades.

    Raises:
        CancelledError: on request.
    """
    if not len(account.simulation.trades):
        return None
    symbols = _segments(account)
    bars, root = len(account.simulation.time), math.sqrt(account.periods_per_year)

    def ratio(orders_of_symbols: Sequence[np.ndarray | slice]) -> float:
        total = np.zeros(bars)
        for own, order in zip(symbols, orders_of_symbols, strict=True):
            total[own.rows] += own.returns(order, cost)
        spread = float(total.std(ddof=1)) if bars > 1 else 0.0
        return float(total.mean()) / spread * root if spread > 0 else 0.0

    observed = ratio([slice(None)] * len(symbols))
    ratios = np.empty(orders)
    for number in range(orders):
        if cancellation is not None and number % _ORDERS_BETWEEN_LOOKS == 0:
            cancellation.raise_if_requested()
        ratios[number] = ratio(
            [
                np.argsort(uniforms(seed, number * len(symbols) + place, len(own.share)), kind="stable")
                for place, own in enumerate(symbols)
            ]
        )
    # Equal orders may differ by rounding, as their trades are added up in another order.
    better = int(np.count_nonzero(ratios >= lowest_equal(observed)))
    return PermutedEntries(
        observed=observed,
        permutations=orders,
        p=(1 + better) / (1 + orders),
        quantiles=tuple(np.quantile(ratios, np.linspace(0, 1, 101)).tolist()),
    )


def _segments(account: Account) -> list[_Segments]:
    """Return the positions and pauses of every symbol that was traded."""
    simulation, trades = account.simulation, account.simulation.trades
    held = bars_held(trades)
    found = []
    for number, market in enumerate(account.markets):
        own = np.flatnonzero(trades.market == number)
        if not len(own):
            continue
        time, n = market.bars.time, len(market.bars)
        start, length = trades.entry_bar[own], held[own]
        before = np.searchsorted(simulation.time, time[start]) - 1
        equity = np.where(before < 0, simulation.capital, simulation.equity[before])
        # A pause comes before each position and after the last one; some have no bar.
        lengths = np.zeros(2 * len(own) + 1, dtype=np.int64)
        shares = np.zeros(len(lengths))
        lengths[1::2] = length
        lengths[::2] = np.append(start, n) - np.append(0, start + length)
        shares[1::2] = trades.side[own] * trades.units[own] * trades.entry_price[own] / equity
        kept = lengths > 0
        rows = slice(None) if n == len(simulation.time) else np.searchsorted(simulation.time, time)
        found.append(_Segments(shares[kept], lengths[kept], _moves(market.bars), rows))
    return found


def _moves(bars: Bars) -> np.ndarray:
    """Return the return of each bar from its open to the next; of the last one to its close."""
    after = np.append(bars.open[1:], bars.close[-1])
    return np.divide(after, bars.open, out=np.ones(len(bars)), where=bars.open > 0) - 1

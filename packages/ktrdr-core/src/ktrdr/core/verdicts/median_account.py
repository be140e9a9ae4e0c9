"""The median account of an evaluation, traded again: at other costs, or with signals that come later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.account import Account, trade
from ktrdr.core.backtesting.metrics import AccountCurve, account_metrics
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.backtesting.summary import account_curve
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.data.bars import Bars
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.path_accounts import inputs_of
from ktrdr.core.verdicts.signal_delay import later_outputs
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["MedianAccount", "median_account"]


@dataclass(frozen=True, slots=True, eq=False)
class MedianAccount:
    """Everything that the account with the lower median of the Sharpe ratios was traded from.

    Attributes:
        strategy: its ``decisions`` and ``risk`` are the rules.
        inputs: bars of each symbol; those before ``first`` are history.
        outputs: predictions of the traded bars of each symbol, float64 ``(n, classes)`` or ``(n,)``.
        settings: capital and costs.
        cancellation: stops a simulation on request.
    """

    strategy: Strategy
    inputs: tuple[SymbolInput, ...]
    outputs: tuple[np.ndarray, ...]
    settings: BacktestSettings
    cancellation: Cancellation | None = None

    @property
    def paid(self) -> float:
        """Commission and slippage together, as a share of the traded value per side."""
        return self.settings.commission + self.settings.slippage

    def trade(self, costs: Costs | None = None, delay: int = 0) -> Account:
        """Trade the predictions.

        Args:
            costs: instead of those of the settings.
            delay: number of bars by which every prediction comes later.

        Raises:
            CancelledError: on request.
        """
        settings = self.settings
        if costs is not None:
            settings = settings.model_copy(update={"commission": costs.commission, "slippage": costs.slippage})
        outputs = [later_outputs(own, delay) for own in self.outputs]
        return trade(self.strategy, self.inputs, outputs, settings, self.cancellation)

    def curve(self, account: Account) -> AccountCurve:
        """Return the equity of an account that :meth:`trade` returned."""
        return account_curve(account, self.settings)

    def sharpe_and_profit_at(self, cost: float) -> tuple[float | None, float]:
        """Return annual Sharpe ratio and profit in cash at another cost.

        Args:
            cost: commission and slippage together, as a share of the traded value per side. Both change in proportion;
                if none was paid, the cost is commission.

        Returns:
            The ratio, ``None`` where it is not defined, and the profit.
        """
        share = self.settings.commission / self.paid if self.paid else 1.0
        account = self.trade(Costs(share * cost, (1 - share) * cost))
        profit = float(account.simulation.equity[-1]) - self.settings.capital
        return self._sharpe(account), profit

    def sharpe_after(self, delay: int) -> float | None:
        """Return the annual Sharpe ratio with every prediction later; ``None`` where it is not defined.

        Args:
            delay: number of bars.
        """
        return self._sharpe(self.trade(delay=delay))

    def _sharpe(self, account: Account) -> float | None:
        sharpe: float | None = account_metrics(self.curve(account), brief=True)["sharpe"]
        return sharpe


def median_account(
    evaluation: Evaluation, bars: Mapping[str, Mapping[str, Bars]], cancellation: Cancellation | None = None
) -> MedianAccount:
    """Return the median account of an evaluation.

    Args:
        evaluation: it was made now, not read from the store.
        bars: the bars that it was made from, without the reserve: by symbol and timeframe, the base timeframe first.
        cancellation: stops a simulation on request.

    Raises:
        ValueError: the bars are not those of the evaluation.
    """
    predictions = evaluation.out_of_sample
    bounds = {symbol: _rows(symbol, bars[symbol], own.time) for symbol, own in predictions.items()}
    return MedianAccount(
        evaluation.strategy,
        inputs_of({symbol: bars[symbol] for symbol in predictions}, bounds, "tested period"),
        tuple(own.outputs for own in predictions.values()),
        BacktestSettings.model_validate(evaluation.facts.account),
        cancellation,
    )


def _rows(symbol: str, bars: Mapping[str, Bars], time: np.ndarray) -> tuple[int, int]:
    """Return the half-open range of rows of the base bars with these opens."""
    base = next(iter(bars.values()))
    first = int(np.searchsorted(base.time, time[0]))
    end = first + len(time)
    if not np.array_equal(base.time[first:end], time):
        raise ValueError(f"the bars of {symbol} are not those that the evaluation predicted")
    return first, end

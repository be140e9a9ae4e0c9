"""What a user may set about a backtest, beside the strategy itself."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

from ktrdr.core.errors import BadInputError

__all__ = ["BacktestSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSettings:
    """Checked when it is made.

    Attributes:
        capital: at the start, in the currency of the prices.
        commission: share of the traded notional, per side; 0.0002 is two basis points.
        slippage: share of the price by which every fill is worse than the price it aims at.
        start, end: first and last day, UTC, both inclusive; ``None`` for both means what the model has not seen, if
            there are such bars.
        symbols: to trade, sharing the capital; ``None`` for those of the strategy.
        device: of prediction, ``"auto"`` or a name the plugin knows.
        trials: strategies that were tried before this one was chosen, for the deflated Sharpe ratio; ``None`` takes the
            version of the model, as every version is one that was trained.
        explain: for how many trades, those with the largest results, won or lost, the model is asked what each feature
            did to its decision. That takes a model of some kinds milliseconds each; 0 asks for none.
        seed: of the bootstrap behind the interval of the Sharpe ratio.

    Raises:
        BadInputError: a number is out of range, or the dates are in the wrong order.
    """

    capital: float = 10_000.0
    commission: float = 0.0
    slippage: float = 0.0
    start: dt.date | None = None
    end: dt.date | None = None
    symbols: tuple[str, ...] | None = None
    device: str = "auto"
    trials: int | None = None
    explain: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.capital) and self.capital > 0):
            raise BadInputError(f"capital must be above 0, not {self.capital:g}")
        for name in ("commission", "slippage"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise BadInputError(
                    f"{name} is a share of the traded value, at least 0 and below 1, not {value:g};"
                    " write two basis points as 0.0002"
                )
        if self.start is not None and self.end is not None and self.end < self.start:
            raise BadInputError(f"the backtest would end ({self.end}) before it starts ({self.start})")
        if self.symbols is not None and len(set(self.symbols)) != len(self.symbols):
            raise BadInputError(f"a symbol is named twice: {', '.join(self.symbols)}")
        if self.symbols is not None and not self.symbols:
            raise BadInputError("no symbols are given; leave them out to trade those of the strategy")
        if self.trials is not None and self.trials < 1:
            raise BadInputError(f"trials must be at least 1, not {self.trials}")
        if self.explain < 0:
            raise BadInputError(f"explain must be at least 0, not {self.explain}")
        if self.seed < 0:
            raise BadInputError(f"seed must be at least 0, not {self.seed}")

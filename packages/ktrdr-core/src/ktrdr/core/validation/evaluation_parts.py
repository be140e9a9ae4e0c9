"""An evaluation in memory: its facts, the curves of its accounts, and the predictions of its median path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.models.out_of_sample import OutOfSample
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.trials.look import Look
from ktrdr.core.validation.evaluation_result import EvaluationFacts

__all__ = ["Curves", "Evaluation", "OutOfSample"]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Equity of every account over the tested bars.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars of all symbols together, UTC.
        equity: float64 ``(accounts, n)``, in the order of :attr:`EvaluationFacts.paths`.
        buy_and_hold: float64 ``(n,)``.
        close: float64 ``(n,)``: closes of the first symbol, the last known one where it has no bar.
    """

    time: np.ndarray
    equity: np.ndarray
    buy_and_hold: np.ndarray
    close: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        facts: everything that is printed and sent.
        strategy: the strategy with every override of the run.
        text: the strategy file, unchanged.
        curves: equity of the accounts.
        out_of_sample: predictions of the median path, by symbol.
        look: the record for the ledger of trials; ``None`` of a stored evaluation.
        reserve_look: that of the opened reserve; ``None`` if it was not opened, and of a stored evaluation.
    """

    facts: EvaluationFacts
    strategy: Strategy
    text: str
    curves: Curves
    out_of_sample: Mapping[str, OutOfSample]
    look: Look | None = None
    reserve_look: Look | None = None

    @property
    def looks(self) -> tuple[Look, ...]:
        """All records for the ledger of trials."""
        return tuple(look for look in (self.look, self.reserve_look) if look is not None)

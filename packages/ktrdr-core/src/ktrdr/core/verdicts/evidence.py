"""The evidence that decides a verdict; what else is found is shown only."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ktrdr.core.validation.evaluation_result import EvaluationFacts
from ktrdr.core.validation.evaluation_sentences import median_account
from ktrdr.core.verdicts.verdict_result import Deflation, NullWorlds, ValidityFinding

__all__ = ["Evidence", "evidence_from"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What decides.

    Attributes:
        validity: the checks of validity; an edge needs at least one, and all clean.
        nulls: null worlds, by family.
        deflation: Sharpe ratio of the median account beside the trials; ``None`` where it has none.
        total_return: of the median account after costs, 0.1 for 10 %; ``None`` where it is not known.
        trades: number of trades of the median account.
        paid: commission and slippage together, as a share of the traded value per side.
        reserve_return: total return on the opened reserve after costs, the median of the seeds; ``None`` if the reserve
            is closed.
    """

    validity: tuple[ValidityFinding, ...]
    nulls: tuple[NullWorlds, ...] = ()
    deflation: Deflation | None = None
    total_return: float | None = None
    trades: int = 0
    paid: float = 0.0
    reserve_return: float | None = None


def evidence_from(
    validity: Sequence[ValidityFinding],
    evaluation: EvaluationFacts | None = None,
    nulls: Sequence[NullWorlds] = (),
    deflation: Deflation | None = None,
) -> Evidence:
    """Return the evidence that decides, with the figures of the median account.

    Args:
        validity: the checks of validity.
        evaluation: the evaluation; ``None`` if a check found something.
        nulls: null worlds, by family.
        deflation: that of the median account.

    Returns:
        The evidence.
    """
    if evaluation is None:
        return Evidence(tuple(validity))
    metrics = median_account(evaluation).metrics
    return Evidence(
        tuple(validity),
        tuple(nulls),
        deflation,
        total_return=metrics.get("total_return"),
        trades=int(metrics.get("trades") or 0),
        paid=evaluation.account["commission"] + evaluation.account["slippage"],
        reserve_return=_on_reserve(evaluation),
    )


def _on_reserve(evaluation: EvaluationFacts) -> float | None:
    reserve = evaluation.reserve
    if reserve is None or not reserve.seeds:
        return None
    # An account without a return has lost everything.
    return statistics.median(
        -1.0 if (own := each.metrics.get("total_return")) is None else own for each in reserve.seeds
    )

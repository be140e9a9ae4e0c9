"""Records of an evaluation for the ledger of trials: one for its tested bars, and one for an opened reserve."""

from __future__ import annotations

from ktrdr.core.backtesting.backtest_look import KEPT_METRICS, account_terms, span_of
from ktrdr.core.data.loading import fingerprint
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.trials.daily_returns import daily_returns, day_ends
from ktrdr.core.trials.look import Look
from ktrdr.core.validation.path_accounts import TradedPaths

__all__ = ["evaluation_look"]

_OVERRIDES = {"symbols", "start", "end", "seed", "epochs", "seeds"}


def evaluation_look(
    strategy: Strategy,
    text: str,
    settings: EvaluationSettings,
    accounts: TradedPaths,
    *,
    training_data: str,
    operation: str | None,
    kind: str = "evaluation",
) -> Look:
    """Return the record of an evaluation: one trial, however many trainings it has.

    Other seeds are another trial, as whoever evaluates again with them could keep the result that is better.

    Args:
        strategy: the strategy with every override of the run.
        text: text of the strategy file.
        settings: of the evaluation.
        accounts: all accounts; the record has the metrics and the returns of the median one.
        training_data: fingerprint of the bars before the reserve.
        operation: id of the operation that the run is an attempt of, if any.
        kind: kind of the look: ``verdict`` for the evaluation that a verdict rests on, which is the same trial.
    """
    traded, metrics = accounts.traded, accounts.results[accounts.median].metrics
    return Look(
        kind=kind,
        strategy=choice_hash(strategy),
        text=text,
        changes=settings.model_dump(mode="json", exclude_defaults=True, include=_OVERRIDES),
        parent=None,
        seed=None,
        seeds=tuple(dict.fromkeys(own.seed for own in accounts.results)),
        training_data=training_data,
        data=fingerprint(own.digest for own in traded.inputs),
        timeframe=strategy.training_data.base_timeframe,
        span=span_of(traded.bars),
        account=account_terms(traded.settings),
        metrics={name: metrics[name] for name in KEPT_METRICS}
        | {"members": [[own.path, own.seed, own.metrics["sharpe"]] for own in accounts.results]},
        returns=daily_returns(accounts.equity[accounts.median], traded.settings.capital, day_ends(accounts.time)),
        model=strategy.name,
        operation=operation,
    )

"""The facts of a verdict, put together from what was asked and what was found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.backtest_look import account_terms
from ktrdr.core.backtesting.metrics import AccountCurve
from ktrdr.core.data.worlds import common_world
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.short_texts import counted
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_facts import provenance_of
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.verdicts.break_even import break_even_of
from ktrdr.core.verdicts.deflation import deflation_of
from ktrdr.core.verdicts.evidence import evidence_from
from ktrdr.core.verdicts.median_account import median_account
from ktrdr.core.verdicts.null_evidence import FAMILIES, LINEAR_KINDS, linear_worlds, null_worlds, observed_ratio
from ktrdr.core.verdicts.permuted_entries import permuted_entries_of
from ktrdr.core.verdicts.questions import questions_of
from ktrdr.core.verdicts.rule import Ruling, rule
from ktrdr.core.verdicts.signal_delay import delay_of
from ktrdr.core.verdicts.trial_evidence import trial_evidence
from ktrdr.core.verdicts.verdict_hash import evidence_hash, verdict_hash
from ktrdr.core.verdicts.verdict_parts import Verdict, VerdictCurves
from ktrdr.core.verdicts.verdict_result import ValidityFinding, VerdictFacts
from ktrdr.core.verdicts.verdict_setup import VerdictSetup
from ktrdr.core.verdicts.world_log import World
from ktrdr.core.verdicts.world_trainings import WorldAccount, curve_rows
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Found", "Question", "found_verdict", "invalid_verdict"]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a verdict was asked.

    Attributes:
        setup: strategy, bars, folds and settings.
        plugins: the installed backends.
        trials: ledger of the trials.
        text: text of the strategy file.
    """

    setup: VerdictSetup
    plugins: PluginManager
    trials: TrialLedger
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found out of sample.

    Attributes:
        evaluation: the evaluation; its look has been recorded.
        observed: accounts on the real bars by the training of the worlds, one for each seed; fewer than half failed.
        worlds: the account of each world.
    """

    evaluation: Evaluation
    observed: Sequence[WorldAccount]
    worlds: Mapping[World, WorldAccount]


def invalid_verdict(question: Question, validity: Sequence[ValidityFinding]) -> Verdict:
    """Return the verdict on a strategy or bars with a fault. No result was looked at, so nothing is recorded.

    Args:
        question: what was asked.
        validity: the checks.
    """
    # No trial decides here, and those of a worker's own ledger would give each worker another hash.
    facts = _facts(question, validity, rule(evidence_from(validity)), other_trials=0)
    return Verdict(facts, question.text, None, strategy=question.setup.evaluation.strategy)


def found_verdict(
    question: Question, validity: Sequence[ValidityFinding], found: Found, cancellation: Cancellation
) -> Verdict:
    """Return the verdict on what was found.

    Args:
        question: what was asked.
        validity: the checks; all are clean.
        found: what was found out of sample.
        cancellation: stops the simulations on request.

    Raises:
        CancelledError: on request.
    """
    setup, evaluation = question.setup, found.evaluation
    assert evaluation.facts.trial_count is not None  # it was recorded now
    count = TrialCount.from_json(dict(evaluation.facts.trial_count))
    median = median_account(evaluation, setup.evaluation.bars, cancellation)
    account = median.trade()
    curve = median.curve(account)
    deflation = deflation_of(curve.returns, curve.periods_per_year, _years(curve), count)
    values: dict[str, list[float | None]] = {
        kind: [own.sharpe for (each, _), own in found.worlds.items() if each == kind]
        for kind in (*FAMILIES, *LINEAR_KINDS)
    }
    observed = observed_ratio([own.sharpe for own in found.observed])
    nulls = null_worlds(observed, values)
    superior, overfitting, notes = trial_evidence(question.trials, evaluation.looks[0], seed=setup.world_seed)
    facts = _facts(
        question,
        validity,
        rule(evidence_from(validity, evaluation.facts, nulls, deflation)),
        other_trials=count.number - 1,
        evaluation=evaluation.facts,
        nulls=nulls,
        linear=linear_worlds(observed, values),
        deflation=deflation,
        superior_ability=superior,
        overfitting=overfitting,
        permuted_entries=permuted_entries_of(account, median.paid, seed=setup.world_seed, cancellation=cancellation),
        break_even=break_even_of(median.sharpe_and_profit_at, median.paid),
        delay=delay_of(median.sharpe_after),
        notes=(*notes, *_failed(values)),
        warnings=evaluation.facts.warnings,
    )
    return Verdict(facts, question.text, _curves(setup, found), setup.evaluation.strategy, evaluation, evaluation.looks)


def _facts(
    question: Question,
    validity: Sequence[ValidityFinding],
    ruling: Ruling,
    *,
    other_trials: int,
    **found: object,
) -> VerdictFacts:
    """Return the facts: what was asked, the ruling, and the evidence by name."""
    setup, settings = question.setup, question.setup.settings
    evaluation = setup.evaluation
    distribution = question.plugins.record(evaluation.plugin.name).distribution
    provenance = provenance_of(distribution, evaluation.plugin.requires)
    choice, account = choice_hash(evaluation.strategy), account_terms(setup.account)
    facts = VerdictFacts.model_validate(
        {
            "word": ruling.word,
            "sentence": ruling.sentence,
            "made": dt.datetime.now(dt.UTC).replace(microsecond=0),
            "hash": verdict_hash(
                choice=choice,
                bars=setup.data_fingerprint,
                seeds=setup.seeds,
                worlds=settings.worlds_used,
                account=account,
                reserve=setup.reserve_fingerprint,
                other_trials=other_trials,
                versions=provenance.environment.packages,
            ),
            "evidence_hash": "",
            "strategy": evaluation.strategy.name,
            "choice": choice,
            "seeds": setup.seeds,
            "quick": settings.quick,
            "worlds": settings.worlds_used,
            "symbols": tuple(setup.base),
            "timeframe": evaluation.strategy.training_data.base_timeframe,
            "world": common_world(setup.base.values()),
            "data_fingerprint": setup.data_fingerprint,
            "reserve_fingerprint": setup.reserve_fingerprint,
            "account": account,
            "validity": tuple(validity),
            "conditions": ruling.conditions,
            "reasons": ruling.reasons,
            "questions": questions_of(evaluation.strategy, list(setup.base.values())),
            "provenance": provenance,
            **found,
        }
    )
    return facts.model_copy(update={"evidence_hash": evidence_hash(facts)})


def _years(curve: AccountCurve) -> float:
    return len(curve.equity) / curve.periods_per_year


def _failed(values: Mapping[str, Sequence[float | None]]) -> list[str]:
    """Return a sentence for each kind of world in which trainings failed."""
    return [
        f"The training failed in {counted(failed, 'world')} of {len(own):,} ({kind.replace('_', ' ')}); each counts as"
        " at least as good as the strategy."
        for kind, own in values.items()
        if (failed := sum(value is None for value in own))
    ]


def _curves(setup: VerdictSetup, found: Found) -> VerdictCurves:
    """Return the curves of the pictures; worlds that failed have none."""
    curves, capital = found.evaluation.curves, setup.settings.capital
    rows = curve_rows(len(curves.time))
    worlds = {
        kind: [own.equity for (each, _), own in found.worlds.items() if each == kind and len(own.equity)]
        for kind in dict.fromkeys(kind for kind, _ in found.worlds)
    }
    return VerdictCurves(
        curves.time[rows],
        curves.equity[:, rows] / capital,
        curves.buy_and_hold[rows] / capital,
        np.stack([own.equity for own in found.observed if len(own.equity)]),
        {kind: np.stack(own) if own else np.zeros((0, len(rows))) for kind, own in worlds.items()},
    )

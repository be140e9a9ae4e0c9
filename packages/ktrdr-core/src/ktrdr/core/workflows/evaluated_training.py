"""The evaluation that a training starts from, as plain values that the training room knows."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.times import instant_of
from ktrdr.core.models.manifest import EvaluationRecord, Period
from ktrdr.core.training.evaluated_source import EvaluatedSource
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_result import EvaluationFacts, PartTimes

__all__ = ["source_of"]


def source_of(evaluation: Evaluation) -> EvaluatedSource:
    """Return what a training from a stored evaluation has to know about it."""
    facts = evaluation.facts
    end: np.datetime64 = instant_of(facts.period.end if facts.reserve is None else facts.reserve.period.start)
    return EvaluatedSource(_record(facts), end, facts.data_fingerprint, evaluation.out_of_sample)


def _record(facts: EvaluationFacts) -> EvaluationRecord:
    return EvaluationRecord(
        reference=facts.evaluation,
        kind=facts.validation.type,
        folds=len(facts.folds),
        seeds=len(facts.seeds),
        trained_with=facts.seeds,
        accounts=len(facts.paths),
        median=facts.median_path,
        tested=_period(facts.tested),
        bars={},
        spread={name: spread.model_dump() for name, spread in facts.spread.items()},
        metrics={name: interval.model_dump() for name, interval in facts.metrics.items()},
        account=facts.account,
        reserve=None if facts.reserve is None else _period(facts.reserve.period),
        best_epoch=facts.best_epoch,
    )


def _period(times: PartTimes) -> Period:
    return Period(start=times.start, end=times.end)

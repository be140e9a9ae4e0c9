"""Kinds of jobs: training, backtest, sweep, evaluation and verdict.

The API, its ledger and workers exchange the kind of a job and a JSON map, never code. The map is flat: it has the
subject of the job (strategy or model) and its settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import (
    BacktestSettings,
    EvaluationSettings,
    Settings,
    SweepSettings,
    TrainingSettings,
    VerdictSettings,
)
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.names import REFERENCE_PATTERN

__all__ = [
    "JOB_KINDS",
    "BacktestJob",
    "EvaluationJob",
    "ModelReference",
    "StrategyText",
    "SweepJob",
    "TrainingJob",
    "VerdictJob",
    "parse_job",
]

StrategyText = Annotated[str, Field(min_length=1, max_length=LONGEST_STRATEGY)]
"""The text of a strategy file."""

ModelReference = Annotated[str, Field(pattern=f"^{REFERENCE_PATTERN}$", examples=["rsi_reversion/1"])]
"""A stored model: ``name/version``, or ``name`` for its latest version."""


class TrainingJob(TrainingSettings):
    """Train a strategy. The job has the text of the file, so that later changes of the file do not matter.

    A job with an ``evaluation`` has the text of the evaluated strategy, which tells what a worker needs.
    """

    strategy: StrategyText


class BacktestJob(BacktestSettings):
    """Backtest a stored model on stored data."""

    model: ModelReference


class SweepJob(SweepSettings):
    """Backtest a stored model once for every combination of settings."""

    model: ModelReference


class EvaluationJob(EvaluationSettings):
    """Evaluate a strategy on folds of stored data. The job has the text of the file."""

    strategy: StrategyText


class VerdictJob(VerdictSettings):
    """Judge whether a strategy has an edge. The job has the text of the file."""

    strategy: StrategyText


JOB_KINDS: Mapping[str, type[Settings]] = {
    "training": TrainingJob,
    "backtest": BacktestJob,
    "sweep": SweepJob,
    "evaluation": EvaluationJob,
    "verdict": VerdictJob,
}
"""Class of each kind of job, by name."""


def parse_job(kind: str, data: Mapping[str, Any]) -> Settings:
    """Return the job that ``data`` describes.

    Raises:
        BadInputError: the kind is unknown, or a key is missing, unknown or wrong.
    """
    if kind not in JOB_KINDS:
        raise BadInputError(f"there is no job of kind `{kind}`; known: {', '.join(JOB_KINDS)}")
    try:
        return read_settings(JOB_KINDS[kind], data)
    except BadInputError as error:
        raise BadInputError(f"{kind} job: {error}") from None

"""Jobs: plain descriptions of long work, from which it can be carried out anywhere.

What travels between the API, the ledger and a worker is a kind and a JSON map, never code. A job is its subject and
its settings, in one flat map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings, Settings, SweepSettings, TrainingSettings
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.names import REFERENCE_PATTERN

__all__ = ["JOB_KINDS", "BacktestJob", "ModelReference", "StrategyText", "SweepJob", "TrainingJob", "parse_job"]

StrategyText = Annotated[str, Field(min_length=1, max_length=LONGEST_STRATEGY)]
"""A strategy file."""

ModelReference = Annotated[str, Field(pattern=f"^{REFERENCE_PATTERN}$", examples=["rsi_reversion/1"])]
"""A stored model: ``name/version``, or the latest of ``name``."""


class TrainingJob(TrainingSettings):
    """Train a strategy: the text of its file, so that the job does not change when the file does."""

    strategy: StrategyText


class BacktestJob(BacktestSettings):
    """Trade a stored model on stored data."""

    model: ModelReference


class SweepJob(SweepSettings):
    """Trade a stored model once for every combination of settings."""

    model: ModelReference


JOB_KINDS: Mapping[str, type[Settings]] = {"training": TrainingJob, "backtest": BacktestJob, "sweep": SweepJob}
"""Kinds of job by name."""


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

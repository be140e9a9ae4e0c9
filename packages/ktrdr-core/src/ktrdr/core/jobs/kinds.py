"""Jobs: plain descriptions of long work, from which it can be run again anywhere.

What travels between the API, the ledger and a worker is a kind and a JSON map, never code.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ktrdr.core.errors import BadInputError

__all__ = ["JOB_KINDS", "BacktestJob", "Job", "SweepJob", "TrainingJob", "parse_job"]


class Job(BaseModel):
    """Base of all jobs; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingJob(Job):
    """Train a strategy.

    ``strategy`` is the text of the YAML file, so that the job does not change when the file does; what is ``None``
    stands as the strategy says. Days are UTC and inclusive.
    """

    strategy: str = Field(min_length=1, max_length=1_000_000)
    symbols: tuple[str, ...] | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    seed: int | None = None
    epochs: int | None = Field(default=None, ge=1)
    device: str = "auto"


class BacktestJob(Job):
    """Trade a stored model (``name`` or ``name/version``) on stored data. Days are UTC and inclusive."""

    model: str = Field(min_length=1, max_length=200)
    symbols: tuple[str, ...] | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    capital: float = Field(default=10_000.0, gt=0)
    commission: float = Field(default=0.0, ge=0, lt=1)
    slippage: float = Field(default=0.0, ge=0, lt=1)
    trials: int | None = Field(default=None, ge=1)
    explain: int = Field(default=100, ge=0)
    device: str = "auto"
    seed: int = Field(default=0, ge=0)


class SweepJob(Job):
    """Trade a stored model once for every combination of ``settings``: dotted keys below ``decisions`` and ``risk``,
    each with the values to try. ``metric`` orders the result; the rest is as in :class:`BacktestJob`.
    """

    model: str = Field(min_length=1, max_length=200)
    settings: dict[str, tuple[bool | int | float | str | None, ...]] = Field(min_length=1, max_length=20)
    metric: str = "sharpe"
    symbols: tuple[str, ...] | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    capital: float = Field(default=10_000.0, gt=0)
    commission: float = Field(default=0.0, ge=0, lt=1)
    slippage: float = Field(default=0.0, ge=0, lt=1)
    device: str = "auto"


JOB_KINDS: Mapping[str, type[Job]] = {"training": TrainingJob, "backtest": BacktestJob, "sweep": SweepJob}
"""Kinds of job by name."""


def parse_job(kind: str, data: Mapping[str, Any]) -> Job:
    """Return the job that ``data`` describes.

    Raises:
        BadInputError: the kind is unknown, or a key is missing, unknown or wrong.
    """
    if kind not in JOB_KINDS:
        raise BadInputError(f"there is no job of kind `{kind}`; known: {', '.join(JOB_KINDS)}")
    try:
        return JOB_KINDS[kind].model_validate(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or kind
        raise BadInputError(f"{kind} job: {place}: {first['msg']}") from None

"""Overrides of a strategy for one run, written into the strategy that the model keeps."""

from __future__ import annotations

from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.strategy.model import Strategy

__all__ = ["override"]


def override(strategy: Strategy, settings: TrainingSettings) -> Strategy:
    """Return ``strategy`` with what ``settings`` say in place of what it says.

    Raises:
        BadInputError: the dates of both together are reversed.
    """
    data = strategy.training_data
    data_changes: dict[str, Any] = {}
    if settings.symbols is not None:
        data_changes["symbols"] = settings.symbols
    dates = {name: day for name, day in (("start", settings.start), ("end", settings.end)) if day is not None}
    if dates:
        date_range = data.date_range.model_copy(update=dates)
        if date_range.start and date_range.end and date_range.start > date_range.end:
            raise BadInputError(
                f"the dates to train on begin ({date_range.start}) after they end ({date_range.end});"
                " both days are included, so give a start that is not after the end"
            )
        data_changes["date_range"] = date_range

    training = strategy.training
    training_changes: dict[str, Any] = {}
    if settings.seed is not None:
        training_changes["seed"] = settings.seed
    if settings.epochs is not None:
        training_changes["epochs"] = settings.epochs
        # As if the file said so: refused where the model type has no epochs.
        training_changes["given"] = tuple(dict.fromkeys((*training.given, "epochs")))
    return strategy.model_copy(
        update={
            "training_data": data.model_copy(update=data_changes),
            "training": training.model_copy(update=training_changes),
        }
    )

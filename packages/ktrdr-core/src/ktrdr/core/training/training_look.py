"""Record of a training for the ledger of trials: a trial on its validation and test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.models.manifest import DataReference
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.trials.look import Look, Span

__all__ = ["overrides_of", "training_look"]


def training_look(
    strategy: Strategy,
    text: str,
    data: DataReference,
    metrics: Mapping[str, Any],
    *,
    changes: Mapping[str, Any],
    model: str = "",
    operation: str | None = None,
    before_ledger: bool = False,
) -> Look | None:
    """Return the record of a training, or ``None`` if it has neither a validation nor a test part.

    Args:
        strategy: the strategy with every override of the run.
        text: text of the strategy file.
        data: description of the training data.
        metrics: metrics by part.
        changes: :func:`overrides_of` the run.
        model: ``name/version``, once the model is stored.
        operation: id of the operation that the run is an attempt of, if any.
        before_ledger: whether the model was trained before the ledger was created.
    """
    parts = [period for split in data.split.values() for period in (split.validation, split.test) if period is not None]
    if not parts:
        return None
    start, end = min(period.start for period in parts), max(period.end for period in parts)
    return Look(
        kind="training",
        strategy=choice_hash(strategy),
        text=text,
        changes=dict(changes),
        parent=None,
        seed=strategy.training.seed,
        training_data=data.fingerprint,
        data=data.fingerprint,
        timeframe=data.base_timeframe,
        span=Span(tuple(sorted(data.symbols)), int(start.timestamp()), int(end.timestamp()), data.world),
        account={},
        metrics={
            f"{part}_{name}": value
            for part, values in metrics.items()
            if isinstance(values, Mapping)
            for name, value in values.items()
            if isinstance(value, int | float)
        },
        model=model,
        operation=operation,
        before_ledger=before_ledger,
    )


def overrides_of(settings: TrainingSettings) -> dict[str, Any]:
    """Return the overrides of the strategy for one run as a JSON-ready map."""
    return settings.model_dump(mode="json", exclude_defaults=True, exclude={"device"})

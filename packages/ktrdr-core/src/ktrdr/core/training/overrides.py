"""Overrides of a strategy for one training or evaluation; the result keeps the strategy with the overrides."""

from __future__ import annotations

from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import EvaluationSettings, TrainingSettings
from ktrdr.core.limits import MOST_ENSEMBLE_MEMBERS
from ktrdr.core.strategy.model import EnsembleSection, Members, ModelSection, Strategy

__all__ = ["override", "override_evaluated"]


def override(strategy: Strategy, settings: TrainingSettings) -> Strategy:
    """Return a copy of ``strategy`` with the fields of ``settings`` that are not ``None``.

    Raises:
        BadInputError: the resulting start is after the resulting end, or seeds and ensemble do not fit the strategy.
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
                f"the training dates start ({date_range.start}) after they end ({date_range.end});"
                " both days are included, so give a start that is not after the end"
            )
        data_changes["date_range"] = date_range

    training = strategy.training
    training_changes: dict[str, Any] = {}
    if settings.seed is not None:
        training_changes["seed"] = settings.seed
    if settings.epochs is not None:
        training_changes["epochs"] = settings.epochs
        # Counts as given in the file, so it is refused if the model type has no epochs.
        training_changes["given"] = tuple(dict.fromkeys((*training.given, "epochs")))
    return strategy.model_copy(
        update={
            "training_data": data.model_copy(update=data_changes),
            "training": training.model_copy(update=training_changes),
            "model": _model(strategy, settings),
        }
    )


def override_evaluated(strategy: Strategy, settings: EvaluationSettings) -> Strategy:
    """Return a copy of ``strategy`` with the settings of an evaluation that are not ``None``.

    Raises:
        BadInputError: the resulting start is after the resulting end, or the reserve of a strategy without one is to be
            opened.
    """
    if settings.reserve and (strategy.validation is None or not strategy.validation.reserve):
        kind = "cpcv" if strategy.validation is None else strategy.validation.type
        # The section `validation` and the fractions of a split both divide the data, so a strategy has one of them.
        split = " in place of `training.data_split`" if "data_split" in strategy.training.given else ""
        raise BadInputError(
            f"strategy `{strategy.name}` has no reserve that could be opened; write one, such as"
            f" `validation: {{type: {kind}, reserve: 0.15}}`{split}, or leave out `reserve`"
        )
    # Seeds of an evaluation are not those of a training, of which one model is kept.
    return override(strategy, settings.to(TrainingSettings, seeds=None))


def _model(strategy: Strategy, settings: TrainingSettings) -> ModelSection | EnsembleSection:
    """Return the model of the strategy, or the ensemble that the settings make of it."""
    model, seeds = strategy.model, settings.seeds
    if not settings.ensemble:
        if isinstance(model, EnsembleSection) and seeds is not None:
            raise BadInputError(
                f"strategy `{strategy.name}` is an ensemble of {model.members.seeds} seeds already; leave out `seeds`, "
                f"or add `ensemble` to train it with {seeds:,} members"
            )
        return model
    if seeds is None:
        if isinstance(model, EnsembleSection):
            return model
        raise BadInputError("`ensemble` needs the number of its members; add `seeds`, such as 5")
    if seeds > MOST_ENSEMBLE_MEMBERS:
        raise BadInputError(
            f"an ensemble has at most {MOST_ENSEMBLE_MEMBERS} members, not {seeds:,}; lower `seeds`, or leave out "
            "`ensemble`"
        )
    members = Members(seeds=seeds)
    if isinstance(model, EnsembleSection):
        return model.model_copy(update={"members": members})
    return EnsembleSection(of=model, members=members)

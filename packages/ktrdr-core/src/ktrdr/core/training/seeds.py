"""Training of one strategy with several seeds: which of the models is kept, and what is said about the others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import MemberRecord
from ktrdr.core.plugins.contract import MemberOutcome, TrainedModel, TrainingTask
from ktrdr.core.strategy.member_seeds import member_seeds
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["Judged", "judge_members", "kept_number", "member_record", "monitored", "seed_tasks"]

_SECONDS_BETWEEN_REPORTS = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The model that a training keeps.

    Attributes:
        task: that it was trained for, with its seed.
        model: the kept model.
        metrics: its metrics by part.
        members: seed, epoch and metrics of every trained member, the kept one included; empty for a single training.
        warnings: one sentence for each member that could not be trained.
    """

    task: TrainingTask
    model: TrainedModel
    metrics: Mapping[str, Any]
    members: tuple[MemberRecord, ...] = ()
    warnings: tuple[str, ...] = ()


def seed_tasks(task: TrainingTask, number: int) -> list[TrainingTask]:
    """Return tasks with the ``number`` :func:`~ktrdr.core.strategy.member_seeds.member_seeds` from that of ``task``."""
    return [replace(task, seed=seed) for seed in member_seeds(task.seed, number)]


def monitored(task: TrainingTask, model: TrainedModel) -> tuple[str, float]:
    """Return name and value, at the kept epoch, of the metric that chooses the best epoch of a training.

    That is ``early_stopping.monitor``; without early stopping the validation loss, or the training loss if there are no
    validation samples. A backend may report only some epochs: then the value is that of the last one before.
    """
    before = [record.metrics for record in model.history if record.epoch <= model.best_epoch]
    metrics = before[-1] if before else {}
    stopping = task.settings["early_stopping"]
    name = stopping["monitor"] if stopping else "val_loss" if "val_loss" in metrics else "train_loss"
    return name, metrics.get(name, math.nan)


def kept_number(tasks: Sequence[TrainingTask], outcomes: Sequence[MemberOutcome]) -> int:
    """Return the number of the member with the lower median of the monitored metric.

    The members are ordered from best to worst, equal ones by their number; members without a model are the worst. Of
    an even number, the worse of the two in the middle is kept, so that the kept model is not a lucky one.

    Raises:
        BadInputError: the median member has no model, so at least half of the members failed.
    """

    def place(number: int) -> tuple[bool, bool, float, int]:
        outcome = outcomes[number]
        if isinstance(outcome, Exception):
            return True, True, 0.0, number
        name, value = monitored(tasks[number], outcome)
        return False, not math.isfinite(value), -value if name.endswith("accuracy") else value, number

    kept = sorted(range(len(outcomes)), key=place)[len(outcomes) // 2]
    if isinstance(outcomes[kept], Exception):
        raise _too_many_failed(tasks, outcomes)
    return kept


def judge_members(
    tasks: Sequence[TrainingTask],
    outcomes: Sequence[MemberOutcome],
    evaluate: Callable[[TrainedModel, TrainingTask], Mapping[str, Any]],
    *,
    progress: Progress,
    cancellation: Cancellation,
) -> Judged:
    """Evaluate every trained member and return the one to keep; see :func:`kept_number`.

    Args:
        tasks: of the members.
        outcomes: of their trainings, in the same order.
        evaluate: returns the metrics by part of a model.
        progress: receives the number of evaluated members.
        cancellation: checked before each member.

    Raises:
        BadInputError: at least half of the members failed.
        CancelledError: on request.
    """
    kept = kept_number(tasks, outcomes)
    members, failures, found, last = [], [], {}, 0.0
    for number, (task, outcome) in enumerate(zip(tasks, outcomes, strict=True)):
        cancellation.raise_if_requested()
        if time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            progress(ProgressEvent("evaluation", number, len(tasks), "members", number / len(tasks)))
        if isinstance(outcome, Exception):
            failures.append(f"seed {task.seed} is left out, because its training failed: {outcome}")
            continue
        metrics = evaluate(outcome, task)
        if number == kept:
            found = dict(metrics)
        members.append(member_record(task, outcome, metrics))
    progress(ProgressEvent("evaluation", len(tasks), len(tasks), "members", 1.0))
    model = outcomes[kept]
    assert not isinstance(model, Exception)
    return Judged(tasks[kept], model, found, tuple(members), tuple(failures))


def member_record(task: TrainingTask, model: TrainedModel, metrics: Mapping[str, Any]) -> MemberRecord:
    """Return what the manifest says of a member; the storage of the backend adds the facts.

    Args:
        task: that the member was trained for.
        model: the member.
        metrics: its metrics by part; their plain numbers are kept.
    """
    name, value = monitored(task, model)
    return MemberRecord(
        seed=task.seed,
        best_epoch=model.best_epoch,
        metrics=_numbers(metrics),
        monitor=name,
        monitored=value if math.isfinite(value) else None,
    )


def _too_many_failed(tasks: Sequence[TrainingTask], outcomes: Sequence[MemberOutcome]) -> BadInputError:
    failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Exception)]
    told = {str(outcomes[number]) for number in failed}
    if len(failed) == len(outcomes) and len(told) == 1:
        return BadInputError(told.pop())
    return BadInputError(
        f"{len(failed):,} of {len(outcomes):,} seeds failed, so their median has no model; the first of them, seed "
        f"{tasks[failed[0]].seed}: {outcomes[failed[0]]}"
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain numbers of each part; tables and curves of all members would fill a manifest."""
    return {
        part: {name: value for name, value in values.items() if isinstance(value, int | float)}
        for part, values in metrics.items()
    }

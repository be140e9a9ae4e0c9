"""What a verdict is asked: strategy, bars, folds, worlds and account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings, VerdictSettings
from ktrdr.core.limits import LINEAR_WORLDS
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.overrides import override_evaluated
from ktrdr.core.validation.evaluation_setup import EvaluationSetup, set_up
from ktrdr.core.validation.fold_trainings import evaluation_seeds, members_of
from ktrdr.core.verdicts.null_evidence import FAMILIES, LINEAR_KINDS
from ktrdr.core.verdicts.world_folds import world_setup
from ktrdr.core.verdicts.world_log import World
from ktrdr.core.work.steps import Steps

__all__ = ["MOST_WORLD_TRAININGS", "VerdictSetup", "set_up_verdict", "worlds_of"]

MOST_WORLD_TRAININGS = 100_000
"""Largest number of trainings in all worlds of a verdict, members of ensembles included: some hours of a small net."""


@dataclass(frozen=True, eq=False)
class VerdictSetup:
    """What a verdict is asked.

    Attributes:
        evaluation: backend, task, bars and folds of the evaluation.
        settings: settings of the verdict.
    """

    evaluation: EvaluationSetup
    settings: VerdictSettings

    @cached_property
    def folds(self) -> EvaluationSetup:
        """The same with the folds of a world, in which each bar is tested once."""
        return world_setup(self.evaluation)

    @cached_property
    def data_fingerprint(self) -> str:
        """Fingerprint of the bars before the reserve."""
        return fingerprint(bars_digest(bars) for own in self.evaluation.bars.values() for bars in own.values())

    @cached_property
    def reserve_fingerprint(self) -> str:
        """Fingerprint of the bars of the reserve, if it is opened; else empty. Those of a closed one are not read."""
        start = self.evaluation.plan.reserve
        if start is None or not self.settings.reserve:
            return ""
        stored = self.evaluation.stored.values()
        return fingerprint(bars_digest(bars.between(start, None)) for own in stored for bars in own.values())

    @property
    def world_seed(self) -> int:
        """Seed of the worlds. It follows from the bars, so that nobody can choose it."""
        return int(self.data_fingerprint[:8], 16)

    @property
    def base(self) -> Mapping[str, Bars]:
        """Base bars before the reserve, by symbol."""
        return {symbol: next(iter(own.values())) for symbol, own in self.evaluation.bars.items()}

    @property
    def account(self) -> BacktestSettings:
        """Capital and costs of every account."""
        return self.settings.to(BacktestSettings, symbols=None, start=None, end=None, seed=0, reserve=False)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the trainings on the real bars; worlds are trained with the first of them."""
        strategy = self.evaluation.strategy
        return evaluation_seeds(strategy.training.seed, self.settings.evaluation().seeds, strategy.model)


def worlds_of(settings: VerdictSettings) -> list[World]:
    """Return kind and number of the worlds of a verdict.

    Args:
        settings: settings of the verdict.
    """
    null = [(kind, number) for number in range(settings.worlds_used) for kind in FAMILIES]
    linear = [] if settings.quick else [(kind, number) for number in range(LINEAR_WORLDS) for kind in LINEAR_KINDS]
    return [*null, *linear]


def set_up_verdict(
    strategy: Strategy, settings: VerdictSettings, *, bar_store: BarStore, plugins: PluginManager, steps: Steps
) -> VerdictSetup:
    """Choose backend and device, read the bars, and plan the folds.

    Args:
        strategy: a strategy from the loader.
        settings: settings of the verdict, with overrides of the strategy.
        bar_store: store of the bars.
        plugins: the installed backends.
        steps: reports the progress.

    Raises:
        BadInputError: strategy, data, device or overrides are not suitable, or there would be more than
            :data:`MOST_WORLD_TRAININGS` trainings.
    """
    evaluation = set_up(
        override_evaluated(strategy, settings.evaluation()),
        strategy.training_data.date_range,
        bar_store=bar_store,
        plugins=plugins,
        device=settings.device,
        steps=steps,
    )
    setup = VerdictSetup(evaluation, settings)
    worlds, folds = len(worlds_of(settings)), len(setup.folds.plan.folds)
    members = members_of(evaluation.strategy.model)
    if (number := worlds * folds * members) > MOST_WORLD_TRAININGS:
        of_ensembles = f" × {members} members of the ensemble" if members > 1 else ""
        raise BadInputError(
            f"the verdict would have {number:,} trainings ({worlds:,} worlds × {folds:,} folds{of_ensembles}), and the"
            f" limit is {MOST_WORLD_TRAININGS:,}; use fewer folds (`validation`), fewer worlds or the quick form"
        )
    return setup

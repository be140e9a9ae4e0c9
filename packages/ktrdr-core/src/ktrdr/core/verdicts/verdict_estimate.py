"""How long a verdict takes, told before it is made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.fold_trainings import members_of
from ktrdr.core.verdicts.verdict_setup import set_up_verdict, worlds_of
from ktrdr.core.verdicts.world_batches import most_worlds_at_once
from ktrdr.core.verdicts.world_maker import WorldMaker
from ktrdr.core.verdicts.world_trainings import WorldTrainer, world_inputs
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress
from ktrdr.core.work.steps import Steps

__all__ = ["VerdictEstimate", "estimate_verdict"]

# Long enough to tell the time of a training apart from the start of a framework.
_SECONDS_ENOUGH = 5.0


@dataclass(frozen=True, slots=True)
class VerdictEstimate:
    """How long a verdict takes on this machine.

    Attributes:
        seconds: time of all trainings.
        trainings: number of all trainings.
        worlds: number of all worlds.
        measured: number of worlds that were trained to find out.
    """

    seconds: float
    trainings: int
    worlds: int
    measured: int

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "seconds": round(self.seconds, 1),
            "trainings": self.trainings,
            "worlds": self.worlds,
            "measured": self.measured,
        }


def estimate_verdict(
    strategy: Strategy,
    settings: VerdictSettings,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    progress: Progress,
    cancellation: Cancellation,
) -> VerdictEstimate:
    """Train in a few null worlds, and return how long all trainings take. Nothing is looked at out of sample.

    Args:
        strategy: a strategy from the loader.
        settings: settings of the verdict.
        bar_store: store of the bars.
        plugins: the installed backends.
        progress: receives events of each step.
        cancellation: stops the trainings.

    Raises:
        BadInputError: the strategy, the data or the device is not suitable.
        CancelledError: on request.
    """
    steps = Steps(progress, cancellation)
    setup = set_up_verdict(strategy, settings, bar_store=bar_store, plugins=plugins, steps=steps)
    folds = setup.folds
    trainer = WorldTrainer(folds, plugins, setup.account, cancellation)
    make = WorldMaker(setup.base, setup.world_seed).bars
    most = min(most_worlds_at_once(folds, plugins), settings.worlds_used)
    number, measured = 1, 0
    while True:
        start = time.perf_counter()
        worlds = [world_inputs(folds, make("sign_flips", measured + place)) for place in range(number)]
        trainer.accounts(worlds, setup.seeds[:1], progress)
        spent = time.perf_counter() - start
        measured += number
        if spent >= _SECONDS_ENOUGH or number >= most:
            break
        number = min(most, 8 * number)
    wanted, seeds = len(worlds_of(settings)), len(setup.seeds)
    bars = (wanted + seeds) * _trained_bars(folds) + seeds * _trained_bars(setup.evaluation)
    members = members_of(setup.evaluation.strategy.model)
    trainings = (wanted + seeds) * len(folds.plan.folds) + seeds * len(setup.evaluation.plan.folds)
    return VerdictEstimate(spent / number / _trained_bars(folds) * bars, trainings * members, wanted, measured)


def _trained_bars(setup: EvaluationSetup) -> int:
    """Return the bars of the training parts of all folds together."""
    return sum(end - start for fold in setup.plan.folds for start, end in fold.train)

"""Training of many worlds in batches, each of which is kept when it is finished."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ktrdr.core.data.bars import Bars
from ktrdr.core.plugins.contract import PopulationTrainer
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.training.population import default_resources
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.verdicts.world_log import World, WorldLog
from ktrdr.core.verdicts.world_trainings import WorldAccount, WorldTrainer, world_inputs
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["WorldBatches", "most_worlds_at_once"]

STEP = "null worlds"

# A kill loses a batch at most.
_SECONDS_OF_BATCH = 15.0
_MEMBERS_PER_CORE = 64
_FEATURE_BYTES = 256_000_000


def most_worlds_at_once(setup: EvaluationSetup, plugins: PluginManager) -> int:
    """Return the largest number of worlds of a batch: as many as a population gains from and memory holds, at least 1.

    Args:
        setup: folds and features of a world.
        plugins: the installed backends.
    """
    if not isinstance(plugins.trainer(setup.plugin.name), PopulationTrainer):
        return 1
    folds = len(setup.plan.folds)
    rows = sum(len(time) for time in setup.times.values())
    # Features that are normalized differ from fold to fold.
    size = 4 * rows * max(1, len(setup.pipeline.columns)) * folds
    cores = default_resources().cores
    return max(1, min(math.ceil(_MEMBERS_PER_CORE * cores / folds), _FEATURE_BYTES // size))


class WorldBatches:
    """Trains worlds in batches of about 15 seconds.

    How worlds are divided into batches changes no result.

    Args:
        setup: folds of a world.
        trainer: trains a batch.
        make: returns the base bars of a world by symbol.
        most: largest number of worlds of a batch.
        log: keeps finished worlds.
        progress: receives the number of finished worlds.
    """

    def __init__(
        self,
        setup: EvaluationSetup,
        trainer: WorldTrainer,
        make: Callable[[str, int], Mapping[str, Bars]],
        *,
        most: int,
        log: WorldLog,
        progress: Progress,
    ) -> None:
        self._setup, self._trainer, self._make = setup, trainer, make
        self._most, self._log, self._progress = most, log, progress

    def run(self, worlds: Sequence[World], seed: int) -> dict[World, WorldAccount]:
        """Return the account of each world; those in the log are not trained again.

        Args:
            worlds: kind and number of each.
            seed: of the trainings.

        Raises:
            CancelledError: on request; finished batches are kept.
            StoreError: a batch cannot be kept.
        """
        wanted = set(worlds)
        found = {world: account for world, account in self._log.read().items() if world in wanted}
        message = f"{len(found):,} of {len(worlds):,} are already trained" if found else ""
        self._report(len(found), len(worlds), message)
        waiting = [world for world in worlds if world not in found]
        for batch in self._batches(waiting):
            bars = [world_inputs(self._setup, self._make(*world)) for world in batch]
            accounts = self._trainer.accounts(bars, [seed], self._forward(len(found), len(batch), len(worlds)))
            made = {world: own for world, (own,) in zip(batch, accounts, strict=True)}
            self._log.add(made)
            found |= made
            self._report(len(found), len(worlds))
        return {world: found[world] for world in worlds}

    def _batches(self, waiting: Sequence[World]) -> Iterator[Sequence[World]]:
        """Yield the worlds in batches; each takes about as long as is wanted, by the time of the one before."""
        begin, size = 0, min(self._most, 8)
        while begin < len(waiting):
            batch = waiting[begin : begin + size]
            start = time.monotonic()
            yield batch
            begin += len(batch)
            per_world = max((time.monotonic() - start) / len(batch), 1e-3)
            size = max(1, min(self._most, int(_SECONDS_OF_BATCH / per_world)))

    def _report(self, done: int, total: int, message: str = "") -> None:
        self._progress(ProgressEvent(STEP, done, total, "worlds", done / total, message))

    def _forward(self, done: int, batch: int, total: int) -> Progress:
        """Return a receiver of the progress of one batch that reports it as progress of all worlds."""

        def receive(event: ProgressEvent) -> None:
            share = (done + batch * event.fraction) / total
            self._progress(ProgressEvent(STEP, done, total, "worlds", share))

        return receive

"""The making of a verdict: runs all steps in order, from stored bars to the word."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktrdr.core import __version__
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.run_checkpoint import (
    NothingToResumeError,
    default_checkpoint_root,
    reserve_checkpoint,
    run_key,
)
from ktrdr.core.trials.look import digest
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.evaluator import CHECKPOINT_DISCARDED, Evaluator
from ktrdr.core.verdicts.validity import check_validity
from ktrdr.core.verdicts.verdict_facts import Found, Question, found_verdict, invalid_verdict
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_setup import VerdictSetup, set_up_verdict, worlds_of
from ktrdr.core.verdicts.world_batches import WorldBatches, most_worlds_at_once
from ktrdr.core.verdicts.world_log import World, WorldLog, left_by_verdict
from ktrdr.core.verdicts.world_maker import WorldMaker
from ktrdr.core.verdicts.world_trainings import WorldAccount, WorldTrainer, world_inputs
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps

__all__ = ["VerdictMaker"]


class VerdictMaker:
    """Checks the validity, trains in null worlds and on the real bars, and judges what is found.

    The same strategy, data, settings and kind of machine give the same verdict, even if the run is killed and resumed.

    Args:
        strategy: a strategy from the loader.
        text: text of the strategy file, unchanged.
        bar_store: store of the bars.
        plugins: the installed backends.
        trials: ledger that the look at the real bars is recorded in.
        settings: costs, form of the verdict, and overrides of the strategy.
        resume: resume from the worlds that an interrupted run has finished. If False, they are discarded.
        operation: id of the operation that this run is an attempt of, if any.
        checkpoint_root: directory of the checkpoints, by default ``$KTRDR_HOME/checkpoints``.
        cache: cache of features; by default none.
        progress: receives an event for each step.
        cancellation: stops the run between two batches or steps.

    Raises:
        BadInputError: the overrides do not fit the strategy.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        text: str,
        bar_store: BarStore,
        plugins: PluginManager,
        trials: TrialLedger,
        settings: VerdictSettings,
        resume: bool = False,
        operation: str | None = None,
        checkpoint_root: Path | None = None,
        cache: ArrayCache = NO_CACHE,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
    ) -> None:
        self._strategy, self._text, self._settings = strategy, text, settings
        self._bar_store, self._plugins, self._trials = bar_store, plugins, trials
        self._resume, self._operation = resume, operation
        self._checkpoint_root = checkpoint_root if checkpoint_root is not None else default_checkpoint_root()
        self._cache = cache
        self._progress = progress
        self._cancellation = cancellation if cancellation is not None else Cancellation()
        self._seconds: dict[str, float] = {}
        self.checkpoint: Path | None = None
        """What ``resume`` would continue from; ``None`` if there is nothing."""

    def execute(self) -> Verdict:
        """Make the verdict, record the look at the real bars, and return it.

        Raises:
            BadInputError: the strategy, the data or the device is not suitable.
            NothingToResumeError: there is nothing to resume from.
            PredictionError: a model fails, or predicts NaN.
            CancelledError: the run was cancelled; finished worlds are left.
            TrialStoreError: the look cannot be recorded.
        """
        begun = time.perf_counter()
        with self._timed("data"):
            setup = set_up_verdict(
                self._strategy,
                self._settings,
                bar_store=self._bar_store,
                plugins=self._plugins,
                steps=Steps(self._progress, self._cancellation),
            )
        question = Question(setup, self._plugins, self._trials, self._text)
        with reserve_checkpoint(
            self._checkpoint_root,
            f"{self._strategy.name}-verdict",
            _key(setup),
            resume=self._resume,
            left=lambda checkpoint: left_by_verdict(checkpoint.directory),
        ) as checkpoint:
            if not self._resume and left_by_verdict(checkpoint.directory) is not None:
                checkpoint.clear()
                self._progress(ProgressEvent("checkpoint", fraction=1.0, message=CHECKPOINT_DISCARDED))
            with self._timed("validity"):
                validity = check_validity(
                    setup.evaluation,
                    bar_store=self._bar_store,
                    cache=self._cache,
                    progress=self._progress,
                    cancellation=self._cancellation,
                )
            if all(finding.clean for finding in validity):
                trainer = WorldTrainer(setup.folds, self._plugins, setup.account, self._cancellation)
                with self._timed("null worlds"):
                    try:
                        worlds = self._train_worlds(setup, trainer, WorldLog(checkpoint.directory))
                    finally:
                        self.checkpoint = left_by_verdict(checkpoint.directory)
                with self._timed("evaluation"):
                    evaluation = self._evaluate(setup.evaluation)
                with self._timed("real bars"):
                    observed = self._train_real(setup, trainer)
                with self._timed("evidence"):
                    found = Found(evaluation, observed, worlds)
                    verdict = found_verdict(question, validity, found, self._cancellation)
            else:
                verdict = invalid_verdict(question, validity)
            checkpoint.clear()
        self._seconds["total"] = time.perf_counter() - begun
        return dataclasses.replace(verdict, facts=verdict.facts.model_copy(update={"seconds": self._seconds}))

    def _train_worlds(self, setup: VerdictSetup, trainer: WorldTrainer, log: WorldLog) -> dict[World, WorldAccount]:
        batches = WorldBatches(
            setup.folds,
            trainer,
            WorldMaker(setup.base, setup.world_seed).bars,
            most=most_worlds_at_once(setup.folds, self._plugins),
            log=log,
            progress=self._progress,
        )
        return batches.run(worlds_of(self._settings), setup.seeds[0])

    def _evaluate(self, setup: EvaluationSetup) -> Evaluation:
        """Evaluate, from what an interrupted evaluation left if it left anything: the result is the same."""

        def run(*, resume: bool) -> Evaluation:
            return Evaluator(
                self._strategy,
                text=self._text,
                bar_store=self._bar_store,
                plugins=self._plugins,
                trials=self._trials,
                settings=self._settings.evaluation(),
                resume=resume,
                operation=self._operation,
                checkpoint_root=self._checkpoint_root,
                cache=self._cache,
                progress=self._progress,
                cancellation=self._cancellation,
                kind="verdict",
                setup=setup,
            ).execute()

        try:
            return run(resume=True)
        except NothingToResumeError:
            return run(resume=False)

    def _train_real(self, setup: VerdictSetup, trainer: WorldTrainer) -> list[WorldAccount]:
        """Return the accounts on the real bars by the training of the worlds, one for each seed."""
        self._progress(ProgressEvent("real bars"))
        # Longer bars are resampled, as in worlds: what only stored ones have must not count as better than chance.
        bars = world_inputs(setup.folds, setup.base)
        (accounts,) = trainer.accounts([bars], setup.seeds, self._progress)
        if 2 * sum(account.sharpe is None for account in accounts) >= len(accounts):
            raise BadInputError(
                f"strategy `{self._strategy.name}`: the training on the {len(setup.folds.plan.folds)} folds of the null"
                " worlds failed with half of the seeds on the real bars; use more bars, or lower"
                " `training.learning_rate`"
            )
        return accounts

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - start


def _key(setup: VerdictSetup) -> str:
    """Return a hash of everything that an account in a world depends on, 24 hexadecimal digits."""
    evaluation = setup.evaluation
    training = run_key(evaluation.strategy, setup.data_fingerprint, evaluation.plugin, evaluation.device)
    account = setup.account.model_dump(mode="json", include={"capital", "commission", "slippage"})
    return digest(["verdict", __version__, training, choice_hash(evaluation.strategy), account])[:24]

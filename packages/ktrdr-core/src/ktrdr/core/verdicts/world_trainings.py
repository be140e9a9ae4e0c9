"""The same training on other bars: what an account that trades its predictions out of sample comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ktrdr.core.backtesting.account import trade
from ktrdr.core.backtesting.metrics import account_metrics
from ktrdr.core.backtesting.prediction import PredictionError
from ktrdr.core.backtesting.summary import account_curve
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.plugins.contract import MemberOutcome
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.training.population import default_resources, train_members
from ktrdr.core.trials.look import HIGHEST_SHARPE
from ktrdr.core.validation.evaluated_data import EvaluatedData, prepare_data
from ktrdr.core.validation.evaluation_setup import EvaluationSetup, SymbolBars
from ktrdr.core.validation.fold_plan import Fold
from ktrdr.core.validation.fold_predictions import SymbolPredictions, predict_bars, stitch
from ktrdr.core.validation.fold_samples import fold_rows, tested_rows
from ktrdr.core.validation.fold_trainings import FoldTraining, TrainedFolds, fold_members
from ktrdr.core.validation.path_accounts import inputs_of
from ktrdr.core.verdicts.verdict_parts import MOST_POINTS
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.steps import Steps

__all__ = ["WorldAccount", "WorldTrainer", "curve_rows", "world_inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class WorldAccount:
    """An account in one world.

    Attributes:
        sharpe: annual Sharpe ratio after costs, 0 of an account that never trades; ``None`` where the training or a
            prediction failed.
        equity: float64 ``(m,)``: equity as a multiple of the capital at the bars of :func:`curve_rows`; empty where the
            training failed.
    """

    sharpe: float | None
    equity: np.ndarray


def curve_rows(bars: int) -> np.ndarray:
    """Return the positions of the bars at which curves are kept, int64 ascending: the first, the last, and between.

    Args:
        bars: number of traded bars of all symbols together.
    """
    return np.unique(np.linspace(0, bars - 1, min(bars, MOST_POINTS)).round().astype(np.int64))


def world_inputs(setup: EvaluationSetup, base: Mapping[str, Bars]) -> dict[str, dict[str, Bars]]:
    """Return bars of all timeframes, the higher ones resampled.

    Args:
        setup: names the timeframes.
        base: base bars of a world, by symbol.
    """
    higher = setup.pipeline.timeframes[1:]
    first = setup.pipeline.timeframes[0]
    return {symbol: {first: own, **{name: resample(own, name) for name in higher}} for symbol, own in base.items()}


class WorldTrainer:
    """Trains the strategy in worlds, and trades the predictions of each.

    All worlds have the times of the real bars, so they share the folds. A model is the same, byte for byte, whatever
    other worlds it is trained beside.

    Args:
        setup: folds, task and rules; each bar is tested once.
        plugins: the installed backends.
        settings: capital and costs.
        cancellation: stops the training between two batches.
    """

    def __init__(
        self,
        setup: EvaluationSetup,
        plugins: PluginManager,
        settings: BacktestSettings,
        cancellation: Cancellation,
    ) -> None:
        self._setup, self._settings = setup, settings
        self._trainer = plugins.trainer(setup.plugin.name)
        self._cancellation = cancellation

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Folds of a world."""
        return self._setup.plan.folds

    def accounts(
        self, worlds: Sequence[SymbolBars], seeds: Sequence[int], progress: Progress = NO_PROGRESS
    ) -> list[list[WorldAccount]]:
        """Return the accounts of each world, one for each seed.

        Args:
            worlds: bars by symbol and timeframe, with the times of the real bars.
            seeds: of the trainings.
            progress: receives the number of finished trainings.

        Raises:
            CancelledError: on request.
            BadInputError: the population cannot be trained at all.
        """
        model = self._setup.strategy.model
        prepared = [self._prepare(world) for world in worlds]
        members = []
        for world in prepared:
            if world is not None:
                members += fold_members(world.folds, self._setup.task, seeds, model)
        outcomes: list[MemberOutcome] = []
        if members:
            outcomes = train_members(
                self._trainer,
                self._setup.model_type,
                members,
                progress=progress,
                cancellation=self._cancellation,
                checkpoint=None,
                resources=default_resources(),
            )
        each = len(members) // max(1, sum(world is not None for world in prepared))
        found, begin = [], 0
        for world in prepared:
            if world is None:
                found.append([_FAILED] * len(seeds))
                continue
            found.append(self._judge(world, outcomes[begin : begin + each], seeds))
            begin += each
        return found

    def _prepare(self, bars: SymbolBars) -> _World | None:
        """Return the samples of a world; ``None`` if it has none to train with."""
        setup = self._setup
        steps = Steps(NO_PROGRESS, self._cancellation)
        caches = {symbol: SymbolCache(NO_CACHE, own) for symbol, own in bars.items()}
        try:
            data = prepare_data(setup.pipeline, setup.strategy.training, bars, setup.window, caches, steps)
            folds = []
            for fold in setup.plan.folds:
                rows = fold_rows(setup.plan, fold, setup.times, data.usable, setup.window)
                fitted = data.fit(rows.train)
                folds.append(FoldTraining(f"fold {fold.number}", fold, rows, fitted, data.training_data(rows, fitted)))
        except BadInputError:
            return None
        return _World(bars, data, folds)

    def _judge(self, world: _World, outcomes: Sequence[MemberOutcome], seeds: Sequence[int]) -> list[WorldAccount]:
        """Return the accounts of a world; a seed that failed has a failed account."""
        members = len(outcomes) // (len(world.folds) * len(seeds))
        found = []
        for place, seed in enumerate(seeds):
            own = [
                outcome
                for fold in range(len(world.folds))
                for outcome in outcomes[(fold * len(seeds) + place) * members :][:members]
            ]
            try:
                trained = TrainedFolds.of(world.folds, own, [seed], self._setup.strategy.model)
                found.append(self._trade(world, trained))
            except (BadInputError, PredictionError):
                found.append(_FAILED)
        return found

    def _trade(self, world: _World, trained: TrainedFolds) -> WorldAccount:
        """Trade the predictions of one seed."""
        setup, plan = self._setup, self._setup.plan
        outputs = []
        for symbol, bars in world.data.base.items():
            predicted: dict[int, SymbolPredictions] = {}
            for number, fold in enumerate(world.folds):
                predicted[fold.fold.number] = predict_bars(
                    trained.predictor(number, 0),
                    partial(world.data.features, symbol, fitted=fold.fitted),
                    world.data.complete[symbol] & bool(len(fold.rows.train[symbol])),
                    tested_rows(plan, fold.fold, bars.time),
                    output=setup.task.output,
                    classes=setup.task.classes,
                    time=bars.time,
                    name=f"{fold.name}, {symbol}",
                    cancellation=self._cancellation,
                )
            outputs.append(stitch(plan.paths[0], plan, bars.time, predicted, setup.bounds[symbol]))
        inputs = inputs_of(world.bars, setup.bounds, "tested period")
        account = trade(setup.strategy, inputs, outputs, self._settings, self._cancellation)
        curve = account_curve(account, self._settings)
        sharpe = account_metrics(curve, brief=True)["sharpe"]
        rows = curve_rows(len(curve.equity))
        return WorldAccount(
            0.0 if sharpe is None else float(min(max(sharpe, -HIGHEST_SHARPE), HIGHEST_SHARPE)),
            np.asarray(curve.equity[rows] / curve.capital, dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _World:
    """Bars and samples of one world."""

    bars: SymbolBars
    data: EvaluatedData
    folds: Sequence[FoldTraining]


_FAILED = WorldAccount(None, np.zeros(0))

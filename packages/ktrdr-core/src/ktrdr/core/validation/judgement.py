"""Judgement of an evaluation: metrics of folds and paths, and the accounts that trade the paths."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np

from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.training.baselines import BaselineOutputs, predict_baselines
from ktrdr.core.validation.evaluated_data import EvaluatedData
from ktrdr.core.validation.evaluation_result import FoldResult, Interval, PartTimes, RegimeRow, SeedResult
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.fold_metrics import Judge, Samples, common_samples, outputs_at, path_baselines
from ktrdr.core.validation.fold_plan import Range
from ktrdr.core.validation.fold_predictions import SymbolPredictions, stitch
from ktrdr.core.validation.fold_trainings import FoldTraining, TrainedFolds
from ktrdr.core.validation.path_accounts import Traded, TradedPaths, trade_paths
from ktrdr.core.validation.regimes import market_level, regime_rows, regimes_of
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["Judgement", "PathMetrics", "Predictions", "part_times"]

T = TypeVar("T")

Predictions = Mapping[tuple[int, int], Mapping[str, SymbolPredictions]]
"""Predictions of each symbol by ``(fold, seed)``, positions of the fold and of the seed."""

Each = Callable[[str, str, Sequence[T]], Iterator[T]]


@dataclass(frozen=True, slots=True, eq=False)
class PathMetrics:
    """Metrics over the test samples of all folds together, each bar once per path.

    Attributes:
        metrics: mean over paths and seeds, with intervals.
        baselines: metrics of the baselines, mean over the paths.
        regimes: results by kind of market.
    """

    metrics: dict[str, Interval]
    baselines: dict[str, dict[str, Any]]
    regimes: tuple[RegimeRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Judges the predictions of all folds and seeds.

    Attributes:
        setup: bars, task and folds.
        data: labels.
        folds: samples of each fold, without the training before the reserve.
        trained: models of each fold and seed.
        predictions: of all folds and seeds.
    """

    setup: EvaluationSetup
    data: EvaluatedData
    folds: Sequence[FoldTraining]
    trained: TrainedFolds
    predictions: Predictions

    @property
    def judge(self) -> Judge:
        """Metrics on samples before the reserve."""
        task, plan = self.setup.task, self.setup.plan
        return Judge(task.classes, self.data.labels, self.setup.times, plan.time, plan.look_ahead)

    def fold_result(self, number: int) -> FoldResult:
        """Return the result of a fold.

        Args:
            number: its position.
        """
        fold, plan, judge = self.folds[number], self.setup.plan, self.judge
        samples = judge.samples(fold.rows.test)
        outputs = [outputs_at(fold.rows.test, self.predictions[number, seed]) for seed in self._seeds]
        baselines = predict_baselines(judge.labels, fold.rows.train, fold.rows.test)
        periods = {
            part: tuple(part_times(plan.time, each, self.setup.bar) for each in getattr(fold.fold, part))
            for part in ("train", "validation", "test")
        }
        return FoldResult(
            fold=fold.fold.number,
            **periods,
            samples={
                part: sum(len(own) for own in getattr(fold.rows, part).values())
                for part in ("train", "validation", "test")
            },
            metrics=judge.intervals(samples, outputs),
            seeds=tuple(
                SeedResult(
                    seed=self.trained.seeds[seed],
                    best_epoch=self.trained.best_epoch(number, seed),
                    metrics=judge.metrics(samples, BaselineOutputs(own)),
                )
                for seed, own in zip(self._seeds, outputs, strict=True)
            ),
            baselines={name: judge.metrics(samples, own) for name, own in baselines.items()},
        )

    def path_outputs(self, path: int, seed: int) -> dict[str, np.ndarray]:
        """Return the predictions of the tested bars of each symbol on a path.

        Args:
            path: position of the path.
            seed: position of the seed.
        """
        plan, bounds = self.setup.plan, self.setup.bounds
        return {
            symbol: stitch(
                plan.paths[path],
                plan,
                time,
                {segment.fold: self.predictions[segment.fold - 1, seed][symbol] for segment in plan.paths[path]},
                bounds[symbol],
            )
            for symbol, time in self.setup.times.items()
        }

    def trade(
        self,
        inputs: tuple[SymbolInput, ...],
        settings: BacktestSettings,
        cancellation: Cancellation,
        each: Each[tuple[int, int]],
    ) -> TradedPaths:
        """Trade every path with every seed.

        Args:
            inputs: the tested bars of each symbol, and those before.
            settings: capital and costs.
            cancellation: stops the simulation on request.
            each: yields the accounts, and reports the progress.
        """
        seeds = self.trained.seeds
        traded = Traded(self.setup.strategy, inputs, settings)
        members = [(path, seed) for path in range(1, len(self.setup.plan.paths) + 1) for seed in seeds]
        return trade_paths(
            traded,
            each("accounts", "accounts", members),
            lambda path, seed: tuple(self.path_outputs(path - 1, seeds.index(seed)).values()),
            majority=self._majority(),
            cancellation=cancellation,
        )

    def path_metrics(self, accounts: TradedPaths) -> PathMetrics:
        """Return the metrics over the test samples of all folds together, and by kind of market.

        Args:
            accounts: of all paths and seeds.
        """
        plan, judge, times = self.setup.plan, self.judge, self.setup.times
        rows = [fold.rows for fold in self.folds]
        common = common_samples(plan, rows, times)
        samples = judge.samples(common)
        outputs = _CommonOutputs(self, common)
        predicted = [path_baselines(plan, path, rows, common, judge) for path in plan.paths]
        baselines = {name: _mean([judge.metrics(samples, own[name]) for own in predicted]) for name in predicted[0]}
        return PathMetrics(
            judge.intervals(samples, outputs),
            baselines,
            self._regimes(accounts, samples, outputs, predicted[0]["majority"].outputs if judge.classes else None),
        )

    @property
    def _seeds(self) -> range:
        return range(len(self.trained.seeds))

    def _majority(self) -> int | None:
        """Return the most frequent class of the training samples of all folds; ``None`` for a regression."""
        classes = self.setup.task.classes
        if not classes:
            return None
        counts = np.zeros(len(classes), dtype=np.int64)
        for fold in self.folds:
            counts += np.bincount(fold.data.train.labels, minlength=len(classes))
        return int(counts.argmax())

    def _regimes(
        self,
        accounts: TradedPaths,
        samples: Samples,
        outputs: Sequence[np.ndarray],
        majority: np.ndarray | None,
    ) -> tuple[RegimeRow, ...]:
        time, (first, end) = self.setup.plan.time, self.setup.tested
        # Regimes are those of log returns, which prices of 0 and below do not have.
        if any((bars.close <= 0).any() for bars in self.data.base.values()):
            return ()
        closes = {symbol: (bars.time, bars.close) for symbol, bars in self.data.base.items()}
        regimes = regimes_of(market_level(closes, time), self.setup.strategy.training_data.base_timeframe)
        return regime_rows(
            regimes[first:end],
            accounts.returns,
            accounts.held_returns,
            accounts.curve.periods_per_year,
            position=samples.position - first,
            truth=samples.truth,
            outputs=outputs,
            majority=None if majority is None else majority.argmax(axis=1),
        )


class _CommonOutputs(Sequence[np.ndarray]):
    """Predictions of the samples that all paths have, of every path and seed; each is put together when it is read.

    All of them together would take as much memory as the predictions.
    """

    def __init__(self, judgement: Judgement, samples: Mapping[str, np.ndarray]) -> None:
        self._judgement, self._samples = judgement, samples
        self._seeds = len(judgement.trained.seeds)

    def __len__(self) -> int:
        return len(self._judgement.setup.plan.paths) * self._seeds

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, place: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        own, bounds = self._judgement.path_outputs(*divmod(place, self._seeds)), self._judgement.setup.bounds
        return np.concatenate([own[symbol][rows - bounds[symbol][0]] for symbol, rows in self._samples.items()])


def part_times(time: np.ndarray, part: Range, bar: np.timedelta64) -> PartTimes:
    """Return the period of a range of bars: open of the first to close of the last.

    Args:
        time: ``datetime64[ns]`` opens.
        part: half-open range of positions.
        bar: length of a bar.
    """
    return PartTimes(start=_utc(time[part[0]]), end=_utc(time[part[1] - 1] + bar))


def _utc(time: np.datetime64) -> dt.datetime:
    at: dt.datetime = time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)
    return at


def _mean(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each metric; the number of samples, which is equal in all, stays a whole number."""
    return {
        name: value if isinstance(value, int) else float(np.mean([own[name] for own in metrics]))
        for name, value in metrics[0].items()
    }

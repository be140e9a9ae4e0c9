"""What an evaluation is made of: backend, task, bars and folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.worlds import common_world
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.normalizers import normalized_columns
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.labels.make import make_labels
from ktrdr.core.limits import MOST_NORMALIZERS
from ktrdr.core.plugins.contract import Device, ModelType, PluginInfo, TrainingTask
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import CpcvValidation, DateRange, HoldoutValidation, Strategy, ValidationSection
from ktrdr.core.training.file_reserve import bars_of_file
from ktrdr.core.training.preparation import load_symbol, span_of
from ktrdr.core.training.reserve import cut_reserve, reserve_start
from ktrdr.core.training.task import create_task, detect_device, window_of
from ktrdr.core.validation.bar_ranges import count_bars, last_bars, up_to
from ktrdr.core.validation.fold_plan import Fold, FoldPlan, Range
from ktrdr.core.validation.fold_predictions import rows_between
from ktrdr.core.validation.folds import FOLD_VALIDATION, plan_folds
from ktrdr.core.work.steps import Steps

__all__ = ["EvaluationSetup", "SymbolBars", "last_fold", "set_up"]

SymbolBars = Mapping[str, Mapping[str, Bars]]
"""Bars by symbol and timeframe, the base timeframe first."""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSetup:
    """What an evaluation is made of.

    Attributes:
        strategy: the strategy with every override of the run.
        validation: kind and settings of the folds.
        plugin: backend that trains.
        model_type: its declaration of the model type.
        device: to train on.
        task: the training of the strategy.
        window: number of rows of a sample.
        pipeline: pipeline of the features.
        stored: the bars before the reserve and those of the reserve, which ends with the dates of the strategy file.
        bars: the bars before the reserve.
        plan: the folds.
    """

    strategy: Strategy
    validation: ValidationSection
    plugin: PluginInfo
    model_type: ModelType
    device: Device
    task: TrainingTask
    window: int
    pipeline: FeaturePipeline
    stored: SymbolBars
    bars: SymbolBars
    plan: FoldPlan

    @property
    def times(self) -> dict[str, np.ndarray]:
        """Opens of each symbol's base bars before the reserve, ``datetime64[ns]``."""
        return {symbol: next(iter(own.values())).time for symbol, own in self.bars.items()}

    @property
    def tested(self) -> Range:
        """Positions of the timeline: the first tested bar, and behind the last."""
        paths = self.plan.paths
        return min(path[0].start for path in paths), max(path[-1].end for path in paths)

    @property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """Rows of the tested bars, half-open, by symbol."""
        return {symbol: rows_between(self.plan, *self.tested, time) for symbol, time in self.times.items()}

    @property
    def bar(self) -> np.timedelta64:
        """Length of a base bar."""
        base = next(iter(next(iter(self.bars.values())).values()))
        return np.timedelta64(base.timeframe.nanoseconds, "ns")


def set_up(
    strategy: Strategy,
    file_dates: DateRange,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    device: str,
    steps: Steps,
) -> EvaluationSetup:
    """Choose backend and device, read the bars, and plan the folds.

    Args:
        strategy: the strategy with every override of the run.
        file_dates: dates of the strategy file, without overrides; the reserve is at the end of these.
        bar_store: store of the bars.
        plugins: the installed backends.
        device: name or kind of a device, or ``auto``.
        steps: reports the progress.

    Raises:
        BadInputError: strategy, data or device are not suitable, or the data has no room for the folds.
    """
    section = strategy.model.learner
    plugin, model_type = plugins.backend_for(section.type, section.backend)
    pipeline = FeaturePipeline(strategy, crisp=model_type.inputs == "crisp")
    symbols, dates = strategy.training_data.symbols, strategy.training_data.date_range
    if (number := len(normalized_columns(pipeline.columns)) * len(symbols)) > MOST_NORMALIZERS:
        raise BadInputError(
            f"strategy `{strategy.name}`: it needs {number:,} normalizers, one for each symbol and raw input, "
            f"and the limit is {MOST_NORMALIZERS:,}; remove symbols, raw inputs or their lags"
        )
    # The bars come before the device: missing bars are then reported without importing the backend's framework.
    stored = steps.each(
        "data",
        symbols,
        lambda symbol: load_symbol(bar_store, symbol, pipeline.timeframes, dates),
        lambda bars: f"{sum(len(part) for own in bars.values() for part in own.values()):,} bars",
    )
    common_world(part for own in stored.values() for part in own.values())
    base = {symbol: own[pipeline.timeframes[0]] for symbol, own in stored.items()}
    validation = strategy.validation if strategy.validation is not None else CpcvValidation()
    moved = validation.reserve > 0 and dates != file_dates
    of_file = bars_of_file(bar_store, symbols, pipeline.timeframes[0], file_dates) if moved else base
    reserve = reserve_start([own.time for own in of_file.values()], validation.reserve)
    bars = cut_reserve(stored, reserve)
    if moved:
        start, end = span_of(dates)[0], span_of(file_dates)[1]
        stored = {symbol: stored_inputs(bar_store, symbol, pipeline.timeframes, start, end) for symbol in symbols}
    one = next(iter(base.values()))
    look_ahead = make_labels(strategy.training.labels, one[:0]).look_ahead
    chosen = steps.run("device", lambda: detect_device(plugins, plugin.name, device), lambda found: found.name)
    task = create_task(strategy, model_type, pipeline.columns, chosen)
    window = window_of(task, model_type)
    plan = steps.run(
        "folds",
        lambda: plan_folds(
            validation,
            {symbol: own.time for symbol, own in base.items()},
            look_ahead=look_ahead,
            embargo=strategy.training.embargo,
            bar=np.timedelta64(one.timeframe.nanoseconds, "ns"),
            window=window,
            reserve=reserve,
        ),
        lambda made: f"{len(made.folds):,} folds, {len(made.paths):,} path{'' if len(made.paths) == 1 else 's'}",
    )
    return EvaluationSetup(strategy, validation, plugin, model_type, chosen, task, window, pipeline, stored, bars, plan)


def last_fold(setup: EvaluationSetup) -> Fold:
    """Return the fold that is tested on the reserve: it trains on all bars before it.

    The embargo is left out before the reserve, too; :func:`~ktrdr.core.validation.fold_samples.fold_rows` leaves out
    the rows whose labels may reach it.
    """
    plan, validation = setup.plan, setup.validation
    share = FOLD_VALIDATION
    if isinstance(validation, HoldoutValidation):
        share = validation.validation / (validation.train + validation.validation)
    own = ((0, len(plan.time) - plan.embargo),)
    validating = last_bars(own, round(share * count_bars(own)))
    train = up_to(own, validating[0][0] - plan.look_ahead - plan.embargo) if validating else own
    return Fold(len(plan.folds) + 1, train, validating, ())

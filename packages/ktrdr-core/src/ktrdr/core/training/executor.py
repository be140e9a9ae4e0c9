"""The one way to train a model: the steps, in order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import fingerprint
from ktrdr.core.data.store import BarStore
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.models.store import ModelStore
from ktrdr.core.operations.cancellation import Cancellation
from ktrdr.core.operations.progress import NO_PROGRESS, Progress
from ktrdr.core.plugins.contract import TrainingData
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.creation import create_task, window_of
from ktrdr.core.training.devices import detect_device
from ktrdr.core.training.engineering import first_rows, fit_normalizers, stack_symbols
from ktrdr.core.training.fitting import fit_model
from ktrdr.core.training.fuzzification import fuzzify
from ktrdr.core.training.indicators import calculate_indicators
from ktrdr.core.training.labelling import count_labels, label_symbol
from ktrdr.core.training.loading import load_symbol
from ktrdr.core.training.overrides import override
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.training.run_checkpoint import default_checkpoint_root, reserve_checkpoint, run_key
from ktrdr.core.training.samples import make_part, weigh_samples
from ktrdr.core.training.saving import data_reference, save_model
from ktrdr.core.training.split import PARTS, SymbolSplit, split_periods, split_rows
from ktrdr.core.training.steps import Steps

__all__ = ["TrainingExecutor"]


class TrainingExecutor:
    """Trains a strategy and stores the model: for the command line, for workers and for tests alike.

    The same strategy, data, seed and kind of machine give the same weights, also across a kill and a resume.

    Args:
        strategy: as the loader gives it.
        text: of the strategy file as the user wrote it; kept in the bundle.
        bar_store: holds the data.
        model_store: takes the model.
        plugins: the installed backends.
        symbols, start, end, seed, epochs: what is not ``None`` stands in place of what the strategy says, also in the
            strategy that the bundle keeps. Days are UTC and inclusive.
        device: ``"auto"``, or a device of the backend.
        resume: go on from the checkpoint that an interrupted run of the very same left. Without it such a checkpoint
            is discarded.
        checkpoint_root: below which checkpoints are kept, by default ``$KTRDR_HOME/checkpoints``.
        progress, cancellation: see :mod:`ktrdr.core.operations`.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        text: str,
        bar_store: BarStore,
        model_store: ModelStore,
        plugins: PluginManager,
        symbols: Sequence[str] | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        device: str = "auto",
        resume: bool = False,
        checkpoint_root: Path | None = None,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
    ) -> None:
        self.strategy = override(strategy, symbols=symbols, start=start, end=end, seed=seed, epochs=epochs)
        self._text = text
        self._bar_store, self._model_store, self._plugins = bar_store, model_store, plugins
        self._device, self._resume = device, resume
        self._checkpoint_root = checkpoint_root if checkpoint_root is not None else default_checkpoint_root()
        self._progress = progress
        self._cancellation = cancellation if cancellation is not None else Cancellation()
        self._checkpoint: DirectoryCheckpoint | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint of this run, if there is one: what ``resume`` would go on from."""
        return None if self._checkpoint is None else self._checkpoint.latest()

    def execute(self) -> TrainingResult:
        """Train, evaluate and store the model.

        Raises:
            BadInputError: the strategy, the data or the device does not allow it; nothing is stored.
            CancelledError: on request, within a batch; a checkpoint is left if training had begun.
        """
        strategy, cancellation = self.strategy, self._cancellation
        steps = Steps(self._progress, cancellation)
        symbols = strategy.training_data.symbols

        plugin, model_type = self._plugins.backend_for(strategy.model.type, strategy.model.backend)
        pipeline = FeaturePipeline(strategy, crisp=model_type.inputs == "crisp")
        device = steps.run(
            "device", lambda: detect_device(self._plugins, plugin.name, self._device), lambda found: found.name
        )
        # Before the data: what is wrong with the strategy does not depend on it.
        task = create_task(strategy, model_type, pipeline.columns, device)
        bars = steps.each(
            "data",
            symbols,
            lambda symbol: load_symbol(self._bar_store, symbol, pipeline.timeframes, strategy.training_data.date_range),
            _say_bars,
        )
        data_print = fingerprint(part for own in bars.values() for part in own.values())
        key = run_key(strategy, data_print, plugin, device)
        with reserve_checkpoint(self._checkpoint_root, strategy.name, key, resume=self._resume) as checkpoint:
            self._checkpoint = checkpoint
            base = {symbol: own[pipeline.timeframes[0]] for symbol, own in bars.items()}
            values = steps.each("indicators", symbols, lambda symbol: calculate_indicators(pipeline, bars[symbol]))
            matrices = steps.each(
                "fuzzification", symbols, lambda symbol: fuzzify(pipeline, bars[symbol], values.pop(symbol))
            )
            labels = steps.each(
                "labels", symbols, lambda symbol: label_symbol(strategy.training.labels, base[symbol]), _say_labels
            )
            window = window_of(task, model_type)
            split = steps.each(
                "split",
                symbols,
                lambda symbol: split_rows(
                    symbol,
                    matrices[symbol].warm,
                    labels[symbol],
                    strategy.training.data_split,
                    embargo=strategy.training.embargo,
                    window=window,
                ),
                _say_split,
            )
            rows = {part: {symbol: getattr(own, part) for symbol, own in split.items()} for part in PARTS}
            first_row = first_rows(matrices.values())

            def engineer() -> np.ndarray:
                fit_normalizers(pipeline, matrices, rows["train"], window)
                return stack_symbols(pipeline, matrices)

            features = steps.run("features", engineer, lambda made: f"{made.shape[1]} columns, {len(made):,} rows")
            weigh = strategy.training.sample_weights == "uniqueness"
            weights = weigh_samples(rows["train"], labels) if weigh else None
            data = TrainingData(
                features,
                make_part(rows["train"], labels, first_row, weights),
                make_part(rows["validation"], labels, first_row),
            )
            resumed = self.checkpoint is not None
            model = fit_model(
                self._plugins.trainer(plugin.name),
                task,
                data,
                progress=self._progress,
                cancellation=cancellation,
                checkpoint=checkpoint,
            )
            bundle = steps.run(
                "saving",
                lambda: save_model(
                    self._model_store,
                    self._plugins,
                    plugin,
                    model,
                    task=task,
                    strategy=strategy,
                    text=self._text,
                    crisp=model_type.inputs == "crisp",
                    normalizers=pipeline.normalizers(),
                    data=data_reference(
                        strategy,
                        data_print,
                        base,
                        {symbol: split_periods(own, base[symbol]) for symbol, own in split.items()},
                    ),
                    metrics={},
                    baselines={},
                    importance=None,
                ),
                lambda stored: stored.ref,
            )
            checkpoint.clear()
        samples = {part: {symbol: len(own) for symbol, own in rows[part].items()} for part in PARTS}
        return TrainingResult(bundle, device, samples, len(model.history), model.best_epoch, resumed)


def _say_bars(bars: Mapping[str, Mapping[str, Bars]]) -> str:
    return f"{sum(len(part) for own in bars.values() for part in own.values()):,} bars"


def _say_labels(labels: Mapping[str, LabelSet]) -> str:
    total: dict[str, int] = {}
    for own in labels.values():
        for name, count in count_labels(own).items():
            total[name] = total.get(name, 0) + count
    return ", ".join(f"{name} {count:,}" for name, count in total.items())


def _say_split(split: Mapping[str, SymbolSplit]) -> str:
    return ", ".join(f"{part} {sum(len(getattr(own, part)) for own in split.values()):,}" for part in PARTS)

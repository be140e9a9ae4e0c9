"""On a random walk a model that learns by heart finds nothing, and finds something as soon as labels leak."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.labels.make import make_labels
from ktrdr.core.plugins.contract import TrainingData
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.strategy.model import CpcvValidation
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation import evaluation_setup, evaluator
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_result import PartTimes
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.validation.folds import plan_folds
from ktrdr.core.workflows.run_evaluation import evaluate

HOUR = np.timedelta64(3_600_000_000_000, "ns")
BARS, HORIZON, SEEDS = 1_500, 50, 150
MOMENTA = (10, 20, 40, 60, 80)


def found_by_nearest_neighbour(seed: int, *, look_ahead: int, embargo: float) -> float:
    """Accuracy less 1/2 of the nearest neighbour on one random walk, by its returns over several lengths.

    The label is the sign of the return of the next 50 bars, so neighbours in time share nearly all of it. Every feature
    is of returns: the price itself would tell, after a test part, where the walk went in it.
    """
    walk = np.cumsum(np.random.default_rng(seed).standard_normal(BARS))
    features = np.full((BARS, len(MOMENTA)), np.nan)
    for column, length in enumerate(MOMENTA):
        features[length:, column] = (walk[length:] - walk[:-length]) / math.sqrt(length)
    label = np.full(BARS, np.nan)
    label[:-HORIZON] = np.sign(walk[HORIZON:] - walk[:-HORIZON])
    times = {"A": np.datetime64("2020-01-01", "ns") + np.arange(BARS) * HOUR}
    usable = {"A": np.isfinite(features).all(axis=1) & np.isfinite(label)}
    plan = plan_folds(CpcvValidation(groups=12, test_groups=1), times, look_ahead=look_ahead, embargo=embargo, bar=HOUR)
    right = []
    for fold in plan.folds:
        rows = fold_rows(plan, fold, times, usable)
        train, test = features[rows.train["A"]], features[rows.test["A"]]
        nearest = ((train**2).sum(axis=1) - 2 * test @ train.T).argmin(axis=1)
        right.append(label[rows.train["A"]][nearest] == label[rows.test["A"]])
    return float(np.concatenate(right).mean()) - 0.5


def standard_errors(values: list[float]) -> float:
    """Mean in standard errors of the mean."""
    return float(np.mean(values) / (np.std(values, ddof=1) / math.sqrt(len(values))))


def test_nearest_neighbours_find_nothing_on_a_random_walk() -> None:
    """The embargo is as long as the longest feature, so no training sample has seen a tested return."""
    embargo = max(MOMENTA) / BARS
    found = [found_by_nearest_neighbour(seed, look_ahead=HORIZON, embargo=embargo) for seed in range(SEEDS)]
    assert abs(standard_errors(found)) < 2


def test_without_purge_and_embargo_the_same_neighbours_find_the_leak() -> None:
    found = [found_by_nearest_neighbour(seed, look_ahead=0, embargo=0.0) for seed in range(SEEDS)]
    assert standard_errors(found) > 3


TEXT = """
name: by_heart
training_data:
  symbols: {{mode: multi_symbol, list: {symbols}}}
  timeframes: {{mode: single, timeframe: 1h}}
indicators: {{roc_5: {{type: roc, period: 5}}, roc_20: {{type: roc, period: 20}}}}
nn_inputs:
  - {{raw_indicator: roc_5, timeframes: all, normalization: none}}
  - {{raw_indicator: roc_20, timeframes: all, normalization: none}}
model: {{type: by_heart, architecture: {{sequence_length: {window}}}}}
decisions: {{confidence_threshold: 0.4}}
training:
  labels: {{source: direction, horizon: 12, threshold: 0.0}}
  embargo: 0.01
validation: {validation}
"""
# Without normalization the rows of all bars are handed over, so that the number of a row tells its bar.
INPUTS = "".join(f"  - {{raw_indicator: roc_{length}, timeframes: all, normalization: none}}\n" for length in (5, 20))
KINDS = {
    "cpcv": "{type: cpcv, groups: 5, test_groups: 2, reserve: 0.1}",
    "walk_forward": "{type: walk_forward, train: 400, test: 100, reserve: 0.1}",
    "walk_forward in time": "{type: walk_forward, train: 3w, test: 5d, step: 60h, anchored: true}",
    "holdout": "{type: holdout, train: 0.6, validation: 0.2, test: 0.2, reserve: 0.1}",
}

# The nearest sample decides, of the training and the validation part together: a part that should only choose the best
# epoch is learned by heart, so a validation part that is the test part gives perfect predictions.
_PLANTED = """
import numpy as np
from ktrdr.core import BadInputError
from ktrdr.core.plugins import Device, EpochRecord, ModelType, Parameter, PluginInfo, hookimpl

SEEN = []


class Nearest:
    def __init__(self, features, labels, window, classes):
        self.features, self.labels, self.window, self.classes = features, labels, window, classes

    @property
    def input_size(self):
        return self.features.shape[1] // self.window

    def predict(self, features):
        rows = np.arange(len(features))
        whole = np.full((len(rows), self.window * features.shape[1]), np.nan)
        for lag in range(self.window):
            whole[self.window - 1:, lag * features.shape[1]:(lag + 1) * features.shape[1]] = (
                features[self.window - 1 - lag: len(features) - lag]
            )
        found = np.full((len(rows), self.classes), np.nan)
        known = np.isfinite(whole).all(axis=1)
        distance = (self.features**2).sum(axis=1) - 2 * whole[known] @ self.features.T
        found[known] = np.eye(self.classes)[self.labels[distance.argmin(axis=1)]] if known.any() else 0
        return found


class Model:
    def __init__(self, nearest):
        self.nearest, self.history, self.best_epoch = nearest, (EpochRecord(1, {"train_loss": 0.0}),), 1

    def predictor(self):
        return self.nearest


class Trainer:
    def train(self, task, data, *, progress, cancellation, checkpoint):
        window = task.architecture["sequence_length"]
        SEEN.append((task, data))
        rows = np.concatenate([data.train.rows, data.validation.rows])
        labels = np.concatenate([data.train.labels, data.validation.labels])
        samples = np.concatenate([data.features[rows - lag] for lag in range(window)], axis=1).astype(np.float64)
        return Model(Nearest(samples, labels, window, len(task.classes)))


class Storage:
    def save(self, model, directory):
        own = model.nearest
        np.savez(directory / "weights.npz", features=own.features, labels=own.labels, shape=[own.window, own.classes])
        return {"best_epoch": 1}


class Loader:
    def load(self, directory, device="auto"):
        with np.load(directory / "weights.npz", allow_pickle=False) as arrays:
            return Nearest(arrays["features"], arrays["labels"], *arrays["shape"].tolist())


@hookimpl
def ktrdr_plugin_info():
    length = Parameter("sequence_length", "int", 1, minimum=1, maximum=100)
    planted = ModelType(
        "by_heart", "learns by heart", outputs=("classification",), architecture=(length,),
        window_parameter="sequence_length", writes_checkpoints=False,
    )
    return PluginInfo(name="planted", version="1.0", contract="2.2", model_types=(planted,))


@hookimpl
def ktrdr_list_devices():
    return [Device("cpu", "cpu", "numpy")]


@hookimpl
def ktrdr_model_trainer():
    return Trainer()


@hookimpl
def ktrdr_model_storage():
    return Storage()


@hookimpl
def ktrdr_model_loader():
    return Loader()
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the planted backend; ``SEEN`` has task and data of each training."""
    site = tmp_path / "planted_site"
    info = site / "planted_backend-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "planted_backend_hooks.py").write_text(_PLANTED, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-backend\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nplanted = planted_backend_hooks\n", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    yield importlib.import_module("planted_backend_hooks")
    del sys.modules["planted_backend_hooks"]


@pytest.fixture
def planted_plugins(planted: ModuleType, tmp_path: Path) -> PluginManager:
    """The planted backend and no other."""
    return PluginManager(path=[str(tmp_path / "planted_site")], environ={})


@pytest.fixture
def walk_store(tmp_path: Path) -> Callable[..., BarStore]:
    """Return ``walk_store(seed, ABC=1000, DEF=slice(200, 900))``: random walks, and which hours have bars."""

    def make(seed: int, **symbols: int | slice) -> BarStore:
        store = BarStore(tmp_path / f"walks-{seed}")
        random = np.random.default_rng(seed)
        for symbol, hours in symbols.items():
            close = 100 * np.exp(0.002 * np.cumsum(random.standard_normal(5_000)))
            opened = np.concatenate([[100.0], close[:-1]])
            time = np.datetime64("2020-01-01", "ns") + np.arange(len(close)) * np.timedelta64(3_600_000_000_000, "ns")
            columns = (opened, np.maximum(opened, close), np.minimum(opened, close), close, np.ones(len(close)))
            bars = Bars(symbol, Timeframe("1h"), time, *columns)
            store.write(bars[hours if isinstance(hours, slice) else slice(hours)])
        return store

    return make


Run = Callable[..., Evaluation]


@pytest.fixture
def run(planted_plugins: PluginManager, ledger: TrialLedger, tmp_path: Any) -> Run:
    """Return ``run(loaded, store)``: an evaluation with one seed."""

    def evaluated(loaded: LoadedStrategy, store: BarStore) -> Evaluation:
        return evaluate(
            loaded,
            EvaluationSettings(seeds=1),
            bar_store=store,
            plugins=planted_plugins,
            trials=ledger,
            checkpoint_root=tmp_path / "checkpoints",
        )

    return evaluated


def by_heart(
    plugins: PluginManager, validation: str, *, symbols: str = "[ABC, DEF]", window: int = 4
) -> LoadedStrategy:
    return load_strategy_text(TEXT.format(symbols=symbols, window=window, validation=validation), plugins=plugins)


def handed_over(
    loaded: LoadedStrategy, store: BarStore, found: Evaluation, seen: list[tuple[Any, TrainingData]]
) -> list[str]:
    """Return what is wrong with the samples that a backend got, from bars, labels and the told periods alone."""
    window = loaded.strategy.model.learner.architecture["sequence_length"]
    reserve = None if found.facts.reserve is None else instant(found.facts.reserve.period)[0]
    bars = {symbol: store.read(symbol, "1h").between(None, reserve) for symbol in loaded.strategy.training_data.symbols}
    labels = {symbol: make_labels(loaded.strategy.training.labels, own) for symbol, own in bars.items()}
    first = dict(zip(bars, np.cumsum([0, *(len(own) for own in bars.values())]), strict=False))
    wrong = []
    assert len(seen) == len(found.facts.folds)
    for fold, (_, data) in zip(found.facts.folds, seen, strict=True):
        tested = [instant(period) for period in fold.test]
        # From the open of each tested bar to the close of the last bar that its label may depend on.
        spans = [
            (own.time[row], own.time[row + labels[symbol].look_ahead] + HOUR)
            for symbol, own in bars.items()
            for row in np.flatnonzero(inside(own.time, tested))
            if row + labels[symbol].look_ahead < len(own)
        ]
        starts, lasts = np.array(spans).T
        for part in ("train", "validation"):
            split = getattr(data, part)
            assert len(split) == fold.samples[part]
            for row, label in zip(split.rows.tolist(), split.labels.tolist(), strict=True):
                symbol = [name for name in bars if first[name] <= row][-1]
                own, place = bars[symbol], row - first[symbol]
                if label != labels[symbol].values[place]:
                    wrong.append(f"fold {fold.fold}: {part} sample {row} has the label of another bar")
                if inside(own.time[place - window + 1 : place + 1], tested).any():
                    wrong.append(f"fold {fold.fold}: the window of {part} sample {row} contains a tested bar")
                begin, end = own.time[place], own.time[labels[symbol].span_end[place]] + HOUR
                if ((begin < lasts) & (starts < end)).any():
                    wrong.append(f"fold {fold.fold}: the label of {part} sample {row} overlaps that of a test sample")
        if set(data.train.rows.tolist()) & set(data.validation.rows.tolist()):
            wrong.append(f"fold {fold.fold}: a sample is in both parts")
    return wrong


def instant(period: PartTimes) -> tuple[np.datetime64, np.datetime64]:
    start, end = (np.datetime64(each.replace(tzinfo=None), "ns") for each in (period.start, period.end))
    return start, end


def inside(times: np.ndarray, periods: list[tuple[np.datetime64, np.datetime64]]) -> np.ndarray:
    return np.any([(start <= times) & (times < end) for start, end in periods], axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_is_given_nothing_of_the_test_part(
    run: Run, planted: ModuleType, planted_plugins: PluginManager, walk_store: Callable[..., BarStore], kind: str
) -> None:
    """Whatever a trainer looks at to choose its best epoch, there is no sample of the test part among it."""
    store = walk_store(1, ABC=900, DEF=slice(250, 1000))
    loaded = by_heart(planted_plugins, KINDS[kind])
    found = run(loaded, store)
    assert handed_over(loaded, store, found, planted.SEEN) == []
    assert all(len(data.train) and len(data.validation) for _, data in planted.SEEN)


def test_a_validation_part_that_is_the_test_part_is_found(
    run: Run,
    planted: ModuleType,
    planted_plugins: PluginManager,
    walk_store: Callable[..., BarStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted: core that lets the trainer peek. The trainer then predicts a random walk without an error."""
    store = walk_store(2, ABC=900)
    loaded = by_heart(planted_plugins, KINDS["cpcv"], symbols="[ABC]")
    honest = run(loaded, store)
    assert handed_over(loaded, store, honest, planted.SEEN) == []
    assert 0.3 < honest.facts.metrics["accuracy"].value < 0.7
    planted.SEEN.clear()

    def peeking(*given: Any) -> Any:
        rows = fold_rows(*given)
        return replace(rows, validation=rows.test)

    monkeypatch.setattr(evaluator, "fold_rows", peeking)
    peeked = run(loaded, store)
    wrong = handed_over(loaded, store, peeked, planted.SEEN)
    for number in range(1, 11):
        assert any(f"fold {number}: the window of validation sample" in each for each in wrong)
        assert any(f"fold {number}: the label of validation sample" in each for each in wrong)
    assert peeked.facts.metrics["accuracy"].value == 1.0


def found_by_evaluation(run: Run, plugins: PluginManager, store: BarStore) -> float:
    """Accuracy less 1/2, with the features and labels of the test above."""
    text = TEXT.format(symbols="[ABC]", window=1, validation="{type: cpcv, groups: 12, test_groups: 1}")
    text = text.replace("horizon: 12", f"horizon: {HORIZON}").replace(
        "embargo: 0.01", f"embargo: {max(MOMENTA) / BARS}"
    )
    text = text.replace(
        "{roc_5: {type: roc, period: 5}, roc_20: {type: roc, period: 20}}",
        f"{{{', '.join(f'roc_{length}: {{type: roc, period: {length}}}' for length in MOMENTA)}}}",
    ).replace(
        INPUTS,
        "".join(f"  - {{raw_indicator: roc_{length}, timeframes: all}}\n" for length in MOMENTA),
    )
    accuracy = run(load_strategy_text(text, plugins=plugins), store).facts.metrics["accuracy"].value
    assert accuracy is not None
    return accuracy - 0.5


@pytest.mark.slow
def test_an_evaluation_finds_nothing_on_a_random_walk_unless_labels_leak(
    run: Run,
    planted_plugins: PluginManager,
    walk_store: Callable[..., BarStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = [walk_store(seed, ABC=BARS) for seed in range(80)]
    found = [found_by_evaluation(run, planted_plugins, store) for store in stores]
    assert abs(standard_errors(found)) < 2

    def unpurged(*given: Any, **more: Any) -> Any:
        return plan_folds(*given, **{**more, "look_ahead": 0, "embargo": 0.0})

    monkeypatch.setattr(evaluation_setup, "plan_folds", unpurged)
    leaked = [found_by_evaluation(run, planted_plugins, store) for store in stores]
    assert standard_errors(leaked) > 2
    assert standard_errors([after - before for before, after in zip(found, leaked, strict=True)]) > 3

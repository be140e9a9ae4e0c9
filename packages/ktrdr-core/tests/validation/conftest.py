"""A planted backend that learns by heart whatever it is given, and random walks for it to find nothing in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.plugins.manager import PluginManager

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

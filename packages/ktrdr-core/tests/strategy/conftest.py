"""A small valid strategy, ways to change it, and backends that are installed as an installer would."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text

Changes = dict[str, Any]
TextMaker = Callable[..., str]
Loader = Callable[..., LoadedStrategy]
ErrorLister = Callable[..., list[str]]

BASE: dict[str, Any] = {
    "name": "base",
    "training_data": {
        "symbols": {"mode": "single", "symbol": "EURUSD"},
        "timeframes": {"mode": "multi_timeframe", "list": ["1h", "1d"], "base_timeframe": "1h"},
    },
    "indicators": {
        "rsi_14": {"type": "rsi", "period": 14},
        "macd": {"type": "macd"},
    },
    "fuzzy_sets": {
        "rsi": {"indicator": "rsi_14", "low": [0, 0, 40], "mid": [30, 50, 70], "high": [60, 100, 100]},
    },
    "nn_inputs": [
        {"fuzzy_set": "rsi", "timeframes": "all"},
        {"raw_indicator": "macd", "timeframes": ["1h"]},
    ],
    "model": {"type": "mlp"},
    "decisions": {"output_format": "classification"},
    "training": {"labels": {"source": "zigzag"}},
}

HOOKS = """
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins import ModelType, PluginInfo, hookimpl

EVERY = frozenset({"epochs", "batch_size", "learning_rate", "optimizer", "weight_decay", "momentum", "gradient_clip",
                   "lr_scheduler", "early_stopping", "loss", "focal_gamma", "huber_delta", "class_weights"})

@hookimpl
def ktrdr_plugin_info():
    types = (
        ModelType("mlp", "a network", architecture=(
            Parameter("hidden_layers", "int_list", (64, 32), minimum=1, maximum=65536),
            Parameter("activation", "str", "relu", choices=("relu", "tanh")),
            Parameter("dropout", "float", 0.0, minimum=0, maximum=1, exclusive_maximum=True),
            Parameter("batch_norm", "bool", False),
            Parameter("output_activation", "str", None, choices=("softmax",)),
        ), training_keys=EVERY),
        ModelType("anfis", "rules", architecture=(Parameter("rules", "int", minimum=1),), training_keys=EVERY,
                  inputs="crisp"),
        ModelType("forest", "trees", outputs=("classification",), training_keys=frozenset({"class_weights"})),
    )
    return PluginInfo(name="neural", version="1.2", contract="2.0", model_types=types)
"""


def _site(directory: Path, distribution: str, entry_point: str, code: str) -> Path:
    module = distribution.replace("-", "_") + "_hooks"
    (directory / f"{module}.py").write_text(code, encoding="utf-8")
    info = directory / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[ktrdr.plugins]\n{entry_point} = {module}\n", encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an installed backend ``neural``, which is found by those who look there, and can be imported."""
    directory = _site(tmp_path_factory.mktemp("site"), "strategy-test-neural", "neural", HOOKS)
    # Not on `sys.path` for longer: other tests in the same process would find the backend, too.
    sys.path.insert(0, str(directory))
    importlib.import_module("strategy_test_neural_hooks")
    sys.path.remove(str(directory))
    return directory


@pytest.fixture(scope="session")
def plugins(site: Path) -> PluginManager:
    """The backend ``neural`` and no other: mlp, anfis (crisp inputs), forest (classification only)."""
    return PluginManager(path=[str(site)], environ={})


@pytest.fixture(scope="session")
def no_plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginManager:
    return PluginManager(path=[str(tmp_path_factory.mktemp("empty"))], environ={})


@pytest.fixture(scope="session")
def base() -> dict[str, Any]:
    """The small valid strategy as a map, to look at, not to change."""
    return BASE


@pytest.fixture(scope="session")
def make_text() -> TextMaker:
    """Return ``make_text({"training.epochs": 5, "nn_inputs.0.lags": [1], "risk": None})``: the base, changed.

    A value of ``...`` removes the key.
    """

    def make(changes: Changes | None = None) -> str:
        tree = copy.deepcopy(BASE)
        for path, value in (changes or {}).items():
            *parents, last = path.split("/") if "/" in path else path.split(".")
            place: Any = tree
            for part in parents:
                place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
            if isinstance(place, list):
                place[int(last)] = value
            elif value is ...:
                del place[last]
            else:
                place[last] = value
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)

    return make


@pytest.fixture(scope="session")
def load(make_text: TextMaker) -> Loader:
    """Load the changed base."""

    def run(changes: Changes | None = None, plugins: PluginManager | None = None) -> LoadedStrategy:
        return load_strategy_text(make_text(changes), plugins=plugins)

    return run


@pytest.fixture(scope="session")
def errors_of(make_text: TextMaker) -> ErrorLister:
    """Return ``path: message`` of every error of the changed base, which must have one."""

    def run(changes: Changes | None = None, plugins: PluginManager | None = None) -> list[str]:
        with pytest.raises(StrategyError) as caught:
            load_strategy_text(make_text(changes), plugins=plugins)
        return [f"{item.path}: {item.message}" for item in caught.value.diagnostics if item.severity == "error"]

    return run

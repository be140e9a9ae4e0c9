"""Strategies, data and the installed backends for trainings end to end."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.run_training import train

_ROOT = Path(__file__).parents[2]
_STOCKS = _ROOT / "packages" / "ktrdr-core" / "tests" / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"


@pytest.fixture(scope="session", autouse=True)
def frameworks() -> None:
    """Import what the first test would have to, and to compile where all is new."""
    for name in ("skops.io", "sklearn.ensemble", "torch"):
        import_module(name)


@pytest.fixture(scope="session")
def main_strategy() -> str:
    """Text of the strategy of the main job."""
    return (_ROOT / "strategies" / "neuro_mean_reversion.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    """Whatever is installed here: both of our own backends, for real."""
    return PluginManager(environ={})


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the sample and with daily bars of AAPL (3,270) and FB (196)."""
    home = tmp_path_factory.mktemp("home")
    store = BarStore(home / "data")
    install_sample(store)
    frame = pd.read_csv(_STOCKS, index_col="Date", parse_dates=True).rename(columns=str.lower)
    for symbol in ("AAPL", "FB"):
        store.write(Bars.from_frame(symbol, "1d", frame[frame["ticker"] == symbol].sort_index()))
    return home


@pytest.fixture(scope="session")
def variant(main_strategy: str) -> Callable[..., str]:
    """Return ``variant(section={key: value}, ...)``: the main strategy's text with keys changed; ``None`` removes one.

    A section that is no map takes the place of the whole.
    """

    def make(**changes: Any) -> str:
        document = yaml.safe_load(main_strategy)
        for section, keys in changes.items():
            if not isinstance(keys, dict) or keys.get("replace"):
                document[section] = keys["replace"] if isinstance(keys, dict) else keys
                continue
            own = document.setdefault(section, {})
            for key, value in keys.items():
                if value is None:
                    own.pop(key, None)
                else:
                    own[key] = value
        return yaml.safe_dump(document, sort_keys=False)

    return make


@pytest.fixture(scope="session")
def train_text(shared_home: Path, plugins: PluginManager) -> Callable[..., TrainingResult]:
    """Return ``run(text, home, **arguments)``, those of a training or of its settings.

    Data come from the shared home, everything is written below ``home``.
    """

    def run(text: str, home: Path, **arguments: Any) -> TrainingResult:
        loaded = load_strategy_text(text, plugins=plugins)
        asked = {name: arguments.pop(name) for name in TrainingSettings.model_fields if name in arguments}
        settings = read_settings(TrainingSettings, asked)
        return train(
            loaded,
            settings,
            bar_store=BarStore(shared_home / "data"),
            model_store=ModelStore(home / "models"),
            plugins=plugins,
            checkpoint_root=home / "checkpoints",
            trials=TrialLedger(SQLiteDatabase(home / "trials.sqlite")),
            **{"cache": NO_CACHE, **arguments},
        )

    return run

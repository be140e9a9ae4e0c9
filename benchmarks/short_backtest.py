"""A short backtest from the command line: the demo's model on the rest of its year, without a report.

    python benchmarks/short_backtest.py

The ML framework is left out: numpy multiplies the features with random weights in place of the model's. So this is the
time of KTRDR itself, mostly of its imports, beside that of the import of the libraries that every backtest needs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from harness import Taken, process, reported

__all__ = ["BACKTEST", "LIBRARIES", "figures_of_demo", "in_turns", "of_demo", "of_libraries", "train"]

BACKTEST, LIBRARIES = "ktrdr backtest, ML framework apart", "import numpy, duckdb, pydantic"
_MODEL = "neuro_mean_reversion"
_ROUNDS = 7


class _RandomModel:
    """A predictor of random weights."""

    window = 1

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size

    def predict(self, features: Any) -> Any:
        import numpy as np

        outputs = np.exp(features @ np.random.default_rng(1).normal(size=(self.input_size, 3)))
        return outputs / outputs.sum(axis=1, keepdims=True)


class _Loader:
    """A loader of such predictors."""

    def load(self, directory: Path, device: str) -> _RandomModel:
        del device
        return _RandomModel(len(json.loads((directory / "model.json").read_text(encoding="utf-8"))["feature_ids"]))


def train(home: str) -> None:
    """Store the sample and train the demo's model for an epoch, below ``home``."""
    os.environ["KTRDR_HOME"] = home
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.jobs.job_settings import TrainingSettings
    from ktrdr.core.workflows.run_training import train as train_strategy

    install_sample(default_store())
    strategy = resources("ktrdr.core.samples").joinpath(f"{_MODEL}.yaml")
    train_strategy(str(strategy), TrainingSettings(epochs=1, device="cpu"))


def backtest() -> None:
    """Run the command in this process."""
    from ktrdr.core.cli.main import main
    from ktrdr.core.plugins.manager import PluginManager

    PluginManager.loader = lambda self, name: _Loader()  # type: ignore[method-assign, assignment, return-value]
    main(["backtest", _MODEL, "--commission", "0.00002"])


def of_demo(home: str) -> Taken:
    """Return the cost of the command in a new process."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import short_backtest as s; s.backtest()"
    return process(sys.executable, "-c", code, environment={"KTRDR_HOME": home})


def of_libraries(_: Any = None) -> Taken:
    """Return the cost of the import of the libraries in a new process."""
    return process(sys.executable, "-c", LIBRARIES)


def in_turns(ours: Callable[[], Taken], theirs: Callable[[], Taken]) -> tuple[Taken, Taken]:
    """Return the cheapest of several runs of each, measured in turns after a run of each for warm-up."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(_ROUNDS)]
    mine, other = (min(runs, key=lambda taken: taken.cpu) for runs in zip(*pairs, strict=True))
    return mine, other


def figures_of_demo() -> dict[str, float]:
    """Return the CPU seconds of the command, its times those of the libraries, and its peak memory in MB."""
    with tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as home:
        reported(__file__, f"train({home!r})")
        mine, libraries = in_turns(partial(of_demo, home), of_libraries)
    assert mine.peak_mib is not None
    return {"seconds": mine.cpu, "ratio": mine.cpu / libraries.cpu, "megabytes": mine.peak_mib * 2**20 / 1e6}


if __name__ == "__main__":
    for name, value in figures_of_demo().items():
        print(f"{name}: {value:.3f}")

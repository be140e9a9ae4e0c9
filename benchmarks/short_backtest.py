"""A short backtest from the command line: the demo's model on the rest of its year, without a report.

    python benchmarks/short_backtest.py

The model's portable twin predicts, so no ML framework is imported, and the time is mostly that of imports: it is shown
beside that of the libraries that every backtest needs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.resources import files as resources
from typing import Any

from harness import Taken, process, reported

__all__ = ["BACKTEST", "LIBRARIES", "figures_of_demo", "in_turns", "of_demo", "of_libraries", "train"]

BACKTEST, LIBRARIES = "ktrdr backtest of the demo", "import numpy, duckdb, pydantic"
_MODEL = "neuro_mean_reversion"
_ROUNDS = 7


def train(home: str) -> None:
    """Store the sample and train the demo's model until it trades, below ``home``."""
    os.environ["KTRDR_HOME"] = home
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.jobs.job_settings import TrainingSettings
    from ktrdr.core.workflows.run_training import train as train_strategy

    install_sample(default_store())
    strategy = resources("ktrdr.core.samples").joinpath(f"{_MODEL}.yaml")
    train_strategy(str(strategy), TrainingSettings(epochs=20, device="cpu"))


def of_demo(home: str) -> Taken:
    """Return the cost of the command in a new process."""
    command = ["backtest", _MODEL, "--commission", "0.00002", "--inference", "portable"]
    code = f"from ktrdr.core.cli.main import main; main({command!r})"
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
    """Return the CPU seconds of the command, and its times and its peak memory beside those of the libraries."""
    with tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as home:
        reported(__file__, f"train({home!r})")
        mine, libraries = in_turns(partial(of_demo, home), of_libraries)
    assert mine.peak_mib is not None
    assert libraries.peak_mib is not None
    memory = mine.peak_mib / libraries.peak_mib
    return {"seconds": mine.cpu, "ratio": mine.cpu / libraries.cpu, "memory": memory}


if __name__ == "__main__":
    for name, value in figures_of_demo().items():
        print(f"{name}: {value:.3f}")

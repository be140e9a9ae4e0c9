"""A whole backtest of an mlp strategy: load bundle and bars, features, predictions, decisions, simulation, metrics.

    python benchmarks/backtest.py [--quick] [--only TEXT] [--json FILE]

Trains a small `mlp` on made-up one-minute bars, then backtests it on growing numbers of bars with one thread, each time
in a new process after a backtest of two days, so that every library is loaded. Trades are not explained, which takes a
fixed time each. The whole has no peer; the other benchmarks compare its parts. The limits are a million bars a second
after a fixed start of 100 ms, and 2 GiB.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from harness import Contest, Figure, Taken, files, find, main, reported

WHOLE = "whole backtest"
FIXED_START, MIB = 0.1, 2048
# By number of bars; those of five million exceed the caches and the memory that is at hand.
BARS_PER_SECOND = {1_000_000: 2e6, 5_000_000: 1e6}
PREDECESSOR = 4.1 / 2_800  # seconds per bar of the predecessor, as measured by its users

STRATEGY = """
name: minute_mlp
training_data:
  symbols: {mode: single, symbol: BTCUSD}
  timeframes: {mode: single, timeframe: 1m}
  date_range: {start: 2010-01-01, end: 2010-01-20}
indicators:
  rsi_14: {type: rsi, period: 14}
  macd: {type: macd}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
  trend: {indicator: macd.histogram, down: [-0.05, -0.02, 0], flat: [-0.02, 0, 0.02], up: [0, 0.02, 0.05]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all}
  - {fuzzy_set: trend, timeframes: all}
model: {type: mlp, architecture: {hidden_layers: [32, 16]}}
decisions: {confidence_threshold: 0.45, allow_short_from_flat: true, filters: {min_signal_separation: 40}}
training:
  labels: {source: direction, horizon: 15, threshold: 0.0006}
  epochs: 20
  batch_size: 512
  learning_rate: 0.01
  seed: 1
"""


def made_up_bars(n: int) -> Any:
    """Return bars that a model can learn: a random walk with deviations that revert within an hour."""
    import numpy as np
    from scipy.signal import lfilter

    from ktrdr.core.data.bars import Bars
    from ktrdr.core.data.timeframe import Timeframe

    random = np.random.default_rng(1)
    around = lfilter([1.0], [1.0, -0.95], random.normal(0, 0.0004, n))
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.0001, n)) + around)
    opened = np.concatenate(([100.0], close[:-1]))
    reach = np.abs(random.normal(0, 0.0003, (2, n)))
    begin = np.datetime64("2010-01-01", "ns")
    return Bars(
        "BTCUSD",
        Timeframe("1m"),
        begin + np.arange(n) * np.timedelta64(60, "s"),
        opened,
        np.maximum(opened, close) * (1 + reach[0]),
        np.minimum(opened, close) * (1 - reach[1]),
        close,
        random.integers(1, 1000, n).astype(np.float64),
    )


def home() -> Path:
    """Return the directory of the bars and the model."""
    return files() / "backtest"


def make(bars: int) -> None:
    """Store the bars and train the model."""
    os.environ["KTRDR_HOME"] = str(home())
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.jobs.job_settings import TrainingSettings
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.workflows.run_training import train as train_strategy

    default_store().write(made_up_bars(bars))
    loaded = load_strategy_text(STRATEGY, plugins=default_manager())
    train_strategy(loaded, TrainingSettings(device="cpu"))


def prepared(largest: int, bars: int) -> int:
    """Create bars and model in another process, if they do not exist."""
    if not home().exists():
        reported(__file__, f"make({largest + 40_000})")
    return bars


def run(bars: int) -> Taken:
    """Backtest ``bars`` bars in a new process."""
    wall, cpu, peak, _ = reported(__file__, f"measure({bars})")
    return Taken(wall, cpu, peak)


def measure(bars: int) -> tuple[float, float, float, dict[str, float]]:
    """Return wall and CPU seconds, peak memory in MiB, and the seconds of each step."""
    import datetime as dt
    import resource

    import torch

    from ktrdr.core.backtesting.run import run_backtest
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.jobs.job_settings import BacktestSettings
    from ktrdr.core.models.model_store import default_model_store
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.workflows.places import trials_in

    os.environ["KTRDR_HOME"] = str(home())
    torch.set_num_threads(1)
    steps: dict[str, float] = {}
    last: list[Any] = ["", 0.0]

    def watch(event: Any) -> None:
        now = time.perf_counter()
        if event.step == last[0]:
            steps[event.step] = steps.get(event.step, 0.0) + now - last[1]
        last[:] = event.step, now

    def backtest(days: float) -> Any:
        start = dt.date(2010, 1, 21)
        return run_backtest(
            default_model_store().get("minute_mlp"),
            bar_store=default_store(),
            plugins=default_manager(),
            trials=trials_in(None),
            settings=BacktestSettings(
                start=start,
                end=start + dt.timedelta(days=days),
                commission=0.0001,
                slippage=0.0001,
                device="cpu",
                explain=0,
            ),
            progress=watch,
        )

    backtest(2)
    steps.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    result = backtest(bars / 1440 - 1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert abs(result.symbols[0].bars - bars) <= 1440, result.symbols[0].bars
    return wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, steps


def contests(quick: bool) -> list[Contest]:
    """Return the contest: the whole backtest at three sizes."""
    sizes = (3_000,) if quick else (100_000, 1_000_000, 5_000_000)
    few = {"ktrdr": 1 if quick else 3}
    return [Contest(WHOLE, {"ktrdr": run}, partial(prepared, sizes[-1]), sizes, "bars", rounds=few["ktrdr"], few=few)]


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield speed and memory with their limits, and the times of the steps."""
    if quick:
        return
    for row in rows:
        of = f"{row['size']:,} bars"
        rate = row["size"] / max(row["cpu"]["best"] - FIXED_START, 1e-9)
        least = BARS_PER_SECOND.get(row["size"])
        yield Figure(f"{of}, beyond 100 ms", rate, "bars per second of CPU", at_least=least)
        yield Figure(f"most memory: {of}", row["peak_mib"], "MiB", at_most=MIB, of="the process, libraries included")
    row = find(rows, WHOLE, "ktrdr")
    yield Figure("the predecessor beside ours", PREDECESSOR * row["size"] / row["wall"]["median"], "times")
    middle = rows[1]["size"]
    for step, seconds in reported(__file__, f"measure({middle})")[3].items():
        yield Figure(f"step of {middle:,} bars: {step}", seconds, "s", of="by the clock")


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

"""A whole backtest of an mlp strategy: load bundle and bars, features, predictions, decisions, simulation, metrics.

    python benchmarks/backtest.py [--bars 1000000] [--large 5000000] [--repeat 3]

Trains a small `mlp` on made-up one-minute bars, then backtests it on growing numbers of bars, with one thread, without
asking the model to explain single trades, which takes it a fixed time each. Prints seconds, bars per second beyond a
fixed start of 100 ms, the ratio to the goal (1,000,000), both also by CPU time, which tells on a machine that does
other things meanwhile, what each step took, the peak of memory, and how the CPU time per bar grows from the smaller to
the larger run (1 is linear).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 1_000_000.0
FIXED_START = 0.1
LIMIT = 2 * 2**30
PREDECESSOR = 4.1 / 2_800  # seconds per bar of the predecessor, as its users measured it

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


def made_up_bars(n: int):
    import numpy as np
    from scipy.signal import lfilter

    from ktrdr.core.data.bars import Bars
    from ktrdr.core.data.timeframe import Timeframe

    random = np.random.default_rng(1)
    # A walk, and around it what comes back within the hour, so that there is something to learn.
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


def prepare(home: Path, bars: int) -> None:
    """Store the bars and train the model, in a process of its own."""
    from ktrdr.core.data.store import default_store
    from ktrdr.core.models.store import default_model_store
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.training.executor import TrainingExecutor

    default_store().write(made_up_bars(bars))
    loaded = load_strategy_text(STRATEGY, plugins=default_manager())
    TrainingExecutor(
        loaded.strategy,
        text=loaded.text,
        bar_store=default_store(),
        model_store=default_model_store(),
        plugins=default_manager(),
        device="cpu",
    ).execute()


def measure(bars: int, repeat: int) -> dict[str, object]:
    """Backtest the last ``bars`` bars ``repeat`` times, after a short run that loads every library."""
    import datetime as dt
    import resource

    import torch

    from ktrdr.core.backtesting.run import run_backtest
    from ktrdr.core.backtesting.settings import BacktestSettings
    from ktrdr.core.data.store import default_store
    from ktrdr.core.models.store import default_model_store
    from ktrdr.core.plugins.manager import default_manager

    torch.set_num_threads(1)
    steps: dict[str, float] = {}
    last: list[float | str] = ["", 0.0]

    def watch(event: object) -> None:
        now = time.perf_counter()
        name = str(event.step)  # type: ignore[attr-defined]
        if name == last[0]:
            steps[name] = steps.get(name, 0.0) + now - float(last[1])
        last[0], last[1] = name, now

    def run(days: float):
        start = dt.date(2010, 1, 21)
        return run_backtest(
            default_model_store().get("minute_mlp"),
            bar_store=default_store(),
            plugins=default_manager(),
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

    run(2)
    seconds = []
    for _ in range(repeat):
        steps.clear()
        begin, cpu = time.perf_counter(), time.process_time()
        result = run(bars / 1440 - 1)
        seconds.append((time.perf_counter() - begin, time.process_time() - cpu, dict(steps)))
    best, _, parts = min(seconds, key=lambda one: one[0])
    return {
        "bars": result.symbols[0].bars,
        "trades": int(result.metrics["trades"]),
        "seconds": best,
        "cpu": min(one[1] for one in seconds),
        "steps": parts,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, count = options.child
        if what == "prepare":
            prepare(Path(os.environ["KTRDR_HOME"]), int(count))
        else:
            print(json.dumps(measure(int(count), options.repeat)))
        return

    def child(what: str, count: int) -> str:
        command = [sys.executable, __file__, "--repeat", str(options.repeat), "--child", what, str(count)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "KTRDR_HOME": home, "OMP_NUM_THREADS": "1"}
        child("prepare", options.large + 40_000)
        found = []
        for count in sorted({options.bars // 10, options.bars, options.large}):
            one = json.loads(child("measure", count))
            found.append(one)
            rate, per_core = (one["bars"] / max(one[clock] - FIXED_START, 1e-9) for clock in ("seconds", "cpu"))
            print(
                f"{one['bars']:>9,} bars, {one['trades']:>7,} trades: {one['seconds']:6.2f} s,"
                f" {rate:>10,.0f} bars/s = {rate / GOAL:4.2f} x goal"
                f" ({one['cpu']:.2f} s of CPU, {per_core / GOAL:4.2f} x goal),"
                f" {one['bars'] * PREDECESSOR / one['seconds']:,.0f} x predecessor,"
                f" peak {one['peak'] / 2**20:,.0f} MiB = {one['peak'] / LIMIT:4.2f} x limit"
            )
            print("          " + ", ".join(f"{name} {value:.3f} s" for name, value in one["steps"].items()))
        for small, large in itertools.pairwise(found):
            each = [(one["cpu"] - FIXED_START) / one["bars"] for one in (small, large)]
            growth = each[1] / each[0]
            print(f"CPU time per bar, {large['bars']:,} to {small['bars']:,} bars: {growth:.2f} x")


if __name__ == "__main__":
    main()

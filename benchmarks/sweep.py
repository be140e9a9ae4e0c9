"""Cost of a cell of a sweep: from the changed settings to its metrics and its row in the ledger of trials.

    python benchmarks/sweep.py

The bars are a random walk and the outputs of the model are random, because the cost does not depend on them. Each cell
has stops and targets, so that every order is simulated bar by bar.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["cell_milliseconds"]

SETTINGS = {
    "decisions.confidence_threshold": (0.36, 0.38, 0.4, 0.42, 0.44),
    "risk.stop_loss.atr": (10, 15, 20, 25),
    "risk.take_profit.atr": (20, 30, 40, 50, 60),
}


def prepared(bars: int, signals: int) -> Any:
    """Return a prepared sweep over a number of hourly bars, with a number of signals to buy or sell."""
    from made_up import random_walk, warm_allocator

    from ktrdr.core.backtesting.backtest_look import span_of
    from ktrdr.core.backtesting.period import BacktestPeriod
    from ktrdr.core.backtesting.prepare import Prepared, SymbolInput
    from ktrdr.core.backtesting.reasons import Evidence
    from ktrdr.core.jobs.job_settings import SweepSettings
    from ktrdr.core.strategy.choice import choice_hash, choice_of
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.sweeps.candidates import CandidateStrategies
    from ktrdr.core.sweeps.grid import PreparedSweep
    from ktrdr.core.trials.daily_returns import day_ends
    from ktrdr.core.trials.look import Look

    warm_allocator()
    text = resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    strategy = load_strategy_text(text, plugin_may_be_missing=True).strategy
    walk = random_walk(bars, timeframe="1h", step=1e-3)
    random = np.random.default_rng(2)
    outputs = np.tile([0.2, 0.6, 0.2], (bars, 1))
    said = random.choice(bars, signals, replace=False)
    outputs[said] = [0.5, 0.3, 0.2]
    outputs[said[::2]] = [0.2, 0.3, 0.5]
    inputs = SymbolInput({str(walk.timeframe): walk}, 0)
    evidence = Evidence({str(walk.timeframe): walk}, None, {}, 0, np.asfortranarray(outputs))  # type: ignore[arg-type]
    asked = SweepSettings.model_validate({"settings": SETTINGS, "commission": 0.0001, "slippage": 0.0001})
    look = Look(
        kind="sweep",
        strategy=choice_hash(strategy),
        text=text,
        changes={},
        parent=None,
        seed=1,
        training_data="made up",
        data="made up",
        timeframe=str(walk.timeframe),
        span=span_of([walk]),
        account={},
        metrics={},
    )
    return PreparedSweep(
        settings=asked.backtest(),
        candidates=CandidateStrategies(strategy, text),
        prepared=Prepared(None, "portable", (inputs,), BacktestPeriod(None, None, ""), (evidence,)),  # type: ignore[arg-type]
        look=look,
        choice=choice_of(strategy),
        cells=[{}] * 100,
        day_ends=day_ends(walk.time),
        facts={},
    )


def cell_milliseconds(bars: int, signals: int) -> tuple[float, float]:
    """Return CPU milliseconds per cell, the best of three sweeps of 100 cells, and the mean number of trades."""
    from ktrdr.core.sweeps.grid import run_trial
    from ktrdr.core.trials.trial_database import SQLiteDatabase
    from ktrdr.core.trials.trial_ledger import TrialLedger

    sweep = prepared(bars, signals)
    cells = [dict(zip(SETTINGS, values, strict=True)) for values in itertools.product(*SETTINGS.values())]
    run_trial(sweep, cells[0])
    best, trades = float("inf"), 0.0
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            ledger = TrialLedger(SQLiteDatabase(Path(folder) / "trials.sqlite"))
            began = time.process_time()
            found = [run_trial(sweep, changes) for changes in cells]
            ledger.judge([cell.look for cell in found])
            best = min(best, (time.process_time() - began) / len(cells) * 1000)
        trades = sum(cell.metrics["trades"] for cell in found) / len(cells)
    return best, trades


if __name__ == "__main__":
    for bars, signals in ((1_545, 120), (200_000, 1_500), (200_000, 5_000)):
        milliseconds, trades = cell_milliseconds(bars, signals)
        print(f"{bars:,} bars, {trades:,.0f} trades: {milliseconds:.2f} ms of CPU per cell")

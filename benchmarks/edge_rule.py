"""How often the conditions of an edge are met: where no direction can be predicted, and where one can.

    python benchmarks/edge_rule.py [--seeds 101-110] [--rows FILE] [--minutes M]

Each world is a synthetic market of 4,500 hourly bars, with its seed. `neuro_mean_reversion`, which comes with KTRDR, is
evaluated there as in `ktrdr demo`, with the same folds and costs but one seed of training, in a home that is removed
afterwards. In `walk`, `garch` and `regime_volatility` no direction can be predicted: an edge that is found there is a
false alarm. In `mean_reversion` there is one, and the share that is found is the power.

`--rows` keeps one line of JSON for each world. Worlds that are in it are not evaluated again, so that a stopped run
goes on where it was; the table is that of all its lines. No world is begun after `--minutes`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy
from ktrdr.core.synthetic.known_edge import KNOWN_EDGE_START, KNOWN_EDGE_TIMEFRAME
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.edge import edge_of
from ktrdr.core.workflows.run_evaluation import evaluate

BARS = 4_500
# Per side, as in the demo: those of its real half where nothing is to be found, as low costs are the harder test.
COSTS = {"walk": 0.00002, "garch": 0.00002, "regime_volatility": 0.00002, "mean_reversion": 0.0001}
# The closes of a seed are made of the same random numbers in `walk` and `garch`, of others in `regime_volatility`.
INDEPENDENT = ("walk", "regime_volatility")
SYMBOL = "WORLD"
SEEDS = range(101, 111)


def judge(process: str, seed: int, *, bars: int = BARS, epochs: int | None = None) -> dict[str, Any]:
    """Return which conditions the evaluation of one world meets."""
    plugins = PluginManager()
    with as_file(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")) as path:
        strategy = load_strategy(path, plugins=plugins)
    market = synthetic_market(process, seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = BarStore(root / "data")
        store.write(market_bars(market, SYMBOL, Timeframe(KNOWN_EDGE_TIMEFRAME), KNOWN_EDGE_START, bars))
        settings = EvaluationSettings(
            symbols=(SYMBOL,), seeds=1, epochs=epochs, commission=COSTS[process], slippage=COSTS[process]
        )
        facts = evaluate(
            strategy,
            settings,
            bar_store=store,
            plugins=plugins,
            trials=TrialLedger(SQLiteDatabase(root / "trials.sqlite")),
            checkpoint_root=root / "checkpoints",
            cache=NO_CACHE,
        ).facts
    edge = edge_of(facts)
    return {
        "process": process,
        "seed": seed,
        "bars": bars,
        "met": [condition.met for condition in edge.conditions],
        "found": [condition.found for condition in edge.conditions],
        "edge": edge.found,
    }


def judged(worlds: Iterable[tuple[str, int]], rows: Path, minutes: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of worlds: those of the file first, then those that are evaluated before the time is up."""
    kept = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []
    yield from kept
    known = {(row["process"], row["seed"]) for row in kept}
    until = time.monotonic() + 60 * minutes
    for world in worlds:
        if world in known:
            continue
        if time.monotonic() >= until:
            return
        row = judge(*world)
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        yield row


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table: worlds, how many meet each condition, and all, with the interval of that share."""
    lines = [
        "| process | worlds | MCC | log loss | P(Sharpe > 0) | median Sharpe | all | share, 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    independent = [row for row in rows if row["process"] in INDEPENDENT]
    groups = [(name, [row for row in rows if row["process"] == name]) for name in COSTS]
    groups.insert(-1, (" and ".join(INDEPENDENT), independent))
    for name, own in groups:
        if not own:
            continue
        met = [sum(row["met"][number] for row in own) for number in range(4)]
        found = sum(row["edge"] for row in own)
        low, high = binomtest(found, len(own)).proportion_ci(0.95, "exact")
        cells = [name, len(own), *met, found, f"{found / len(own):.0%} ({low:.1%} to {high:.1%})"]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return lines


def seeds_of(text: str) -> range:
    """Return the seeds of ``101-110`` or ``101``."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=SEEDS, help="seeds of the worlds, as 101-110")
    parser.add_argument("--rows", type=Path, help="keep the rows in this file, and go on from it")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no world after so many minutes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KTRDR_HOME"] = folder
        rows = given.rows if given.rows is not None else Path(folder) / "rows.jsonl"
        worlds = ((process, seed) for seed in given.seeds for process in COSTS)
        print("\n".join(table(list(judged(worlds, rows, given.minutes)))))


if __name__ == "__main__":
    main()

"""What is found in the market with a known edge, beside what can be found, and on a walk, where nothing can.

    python benchmarks/known_edge.py [--quick] [--json FILE]

- *optimum* sees the hidden state of the process and computes the expected return from the formula.
- *gradient boosting* is scikit-learn's, trained on the features of the shipped strategy over 1,000,000 bars of the
  process (seed 8).
- *shipped strategy* is `neuro_mean_reversion`, trained on the two shipped years.

All three predict the bars after the shipped two years (40,000; with `--quick` 20,000 and a tenth of the bars of
gradient boosting). The Sharpe ratios are of the two years after them, with a commission of 0.0001 and a slippage of
0.0001 per side. On the walk the shipped strategy is trained on each of 10 seeds and judged on the year after.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.backtesting.prepare import prepare_backtest
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.jobs.job_settings import BacktestSettings, TrainingSettings
from ktrdr.core.labels.make import make_labels
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy
from ktrdr.core.synthetic.known_edge import (
    KNOWN_EDGE_BARS,
    KNOWN_EDGE_START,
    KNOWN_EDGE_TIMEFRAME,
    known_edge_market,
)
from ktrdr.core.synthetic.market import SyntheticMarket, market_bars, synthetic_market
from ktrdr.core.synthetic.optimum import optimum
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_training import train

COMMISSION = SLIPPAGE = 0.0001
BARS_PER_YEAR = 365.2425 * 24
TESTED = 40_000
BOOSTED = 1_000_000
BOOSTED_SEED = 8
SEEDS = range(42, 47)
WALKS = range(10)
_HOUR = Timeframe(KNOWN_EDGE_TIMEFRAME)


@dataclass(frozen=True)
class Workplace:
    """The shipped strategy and stores below a temporary directory."""

    root: Path
    strategy: LoadedStrategy
    plugins: PluginManager

    @property
    def bars(self) -> BarStore:
        return BarStore(self.root / "data")

    @property
    def stores(self) -> dict[str, Any]:
        trials = TrialLedger(SQLiteDatabase(self.root / "trials.sqlite"))
        models = ModelStore(self.root / "models")
        return {"bar_store": self.bars, "model_store": models, "plugins": self.plugins, "trials": trials}

    def trained(self, symbol: str, seed: int) -> Any:
        """Train on the two shipped years, and return the bundle."""
        last = (KNOWN_EDGE_START + (KNOWN_EDGE_BARS - 1) * np.timedelta64(1, "h")).astype("datetime64[D]").item()
        settings = TrainingSettings(
            symbols=(symbol,), seed=seed, start=KNOWN_EDGE_START.astype("datetime64[D]").item(), end=last
        )
        return train(self.strategy, settings, **self.stores, checkpoint_root=self.root / "checkpoints").bundle


def workplace(root: Path) -> Workplace:
    plugins = PluginManager()
    with as_file(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")) as path:
        return Workplace(root, load_strategy(path, plugins=plugins), plugins)


def features_and_labels(strategy: LoadedStrategy, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    """Return complete feature rows and their labels, of the rows that have both."""
    pipeline = FeaturePipeline(strategy.strategy)
    by_timeframe = {bars.timeframe.name: bars}
    values = pipeline.indicator_values(by_timeframe)
    matrix = pipeline.normalize(pipeline.assemble(by_timeframe, values)).values
    labels = make_labels(strategy.strategy.training.labels, bars).values
    known = ~np.isnan(matrix).any(axis=1) & ~np.isnan(labels)
    return matrix[known], labels[known]


def boosted(strategy: LoadedStrategy, bars: int) -> Any:
    """Return gradient boosting, trained on that many bars of the process."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    market = SyntheticMarket("mean_reversion", BOOSTED_SEED, known_edge_market().parameters)
    inputs, labels = features_and_labels(strategy, market_bars(market, "BOOSTED", _HOUR, KNOWN_EDGE_START, bars))
    model = HistGradientBoostingClassifier(learning_rate=0.1, max_iter=200, early_stopping=True, random_state=0)
    return model.fit(inputs, labels)


def accuracy_after(place: Workplace, bundle: Any, bars: int) -> tuple[float, float, float, np.ndarray, np.ndarray]:
    """Return accuracy, that of the training data's majority class, MCC, inputs and labels of the next ``bars``."""
    prepared = prepare_backtest(
        bundle,
        bar_store=place.bars,
        plugins=place.plugins,
        settings=BacktestSettings(),
        steps=Steps(NO_PROGRESS, Cancellation()),
    )
    (symbol,), (evidence,) = prepared.inputs, prepared.evidence
    section = place.strategy.strategy.training.labels
    labels = make_labels(section, symbol.traded).values[:bars]
    before = make_labels(section, symbol.base[: symbol.first]).values
    known = ~np.isnan(labels)
    predicted, true = evidence.outputs[:bars].argmax(axis=1)[known], labels[known].astype(np.int64)
    inputs = evidence.matrix.values[symbol.first :][:bars][known]
    majority = (true == np.bincount(before[~np.isnan(before)].astype(np.int64)).argmax()).mean()
    return float((predicted == true).mean()), float(majority), _mcc(predicted, true), inputs, true


def _mcc(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return Matthews' correlation of several classes (J. Gorodkin, 2004)."""
    counts = np.zeros((3, 3))
    np.add.at(counts, (true, predicted), 1)
    n, right = counts.sum(), np.trace(counts)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    spread = math.sqrt((n**2 - rows @ rows) * (n**2 - columns @ columns))
    return float((right * n - rows @ columns) / spread) if spread else 0.0


def known_edge(root: Path, *, tested: int = TESTED, boosted_bars: int = BOOSTED, seeds: Iterable[int] = SEEDS) -> dict:
    """Return the figures of optimum, gradient boosting and shipped strategy."""
    place = workplace(root)
    market = known_edge_market()
    n = KNOWN_EDGE_BARS + tested
    place.bars.write(market_bars(market, "MEANREV", _HOUR, KNOWN_EDGE_START, n))
    horizon = place.strategy.strategy.training.labels.parameters["horizon"]
    cost = COMMISSION + SLIPPAGE
    best = optimum(market, KNOWN_EDGE_BARS, n, horizon=horizon, cost=cost, bars_per_year=BARS_PER_YEAR)
    years = (KNOWN_EDGE_BARS, min(2 * KNOWN_EDGE_BARS, n))
    traded = optimum(market, *years, horizon=horizon, cost=cost, bars_per_year=BARS_PER_YEAR)
    end = (KNOWN_EDGE_START + (years[1] - 1) * np.timedelta64(1, "h")).astype("datetime64[D]").item()
    models, reference = [], boosted(place.strategy, boosted_bars)
    for seed in seeds:
        bundle = place.trained("MEANREV", seed)
        accuracy, majority, mcc, inputs, true = accuracy_after(place, bundle, tested)
        settings = BacktestSettings(commission=COMMISSION, slippage=SLIPPAGE, end=end)
        result = backtest(bundle, settings, **place.stores)
        models.append(
            {"seed": seed, "accuracy": accuracy, "mcc": mcc, "sharpe": result.metrics["sharpe"],
             "total_return": result.metrics["total_return"], "trades": result.metrics["trades"]}
        )  # fmt: skip
    return {
        "market": market.world,
        "tested_bars": tested,
        "majority": majority,
        "optimum": {"accuracy": best.accuracy, "sharpe": traded.sharpe, "trades_per_year": traded.trades},
        "gradient_boosting": {"bars": boosted_bars, "accuracy": float((reference.predict(inputs) == true).mean())},
        "shipped_strategy": models,
    }


def walks(root: Path, *, seeds: Iterable[int] = WALKS, tested: int = 8_760) -> dict:
    """Return accuracy less majority of the shipped strategy on random walks, and the standard error of its mean."""
    place = workplace(root)
    differences = []
    for seed in seeds:
        symbol = f"WALK{seed}"
        walk = synthetic_market("walk", seed)
        place.bars.write(market_bars(walk, symbol, _HOUR, KNOWN_EDGE_START, KNOWN_EDGE_BARS + tested))
        accuracy, majority, *_ = accuracy_after(place, place.trained(symbol, 42), tested)
        differences.append(accuracy - majority)
    spread = np.array(differences)
    return {
        "accuracy_less_majority": differences,
        "mean": float(spread.mean()),
        "standard_error": float(spread.std(ddof=1) / math.sqrt(len(spread))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer bars, one seed")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    sizes: dict[str, Any] = {"tested": 20_000, "boosted_bars": BOOSTED // 10, "seeds": (42,)} if given.quick else {}
    begun = dt.datetime.now(dt.UTC)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KTRDR_HOME"] = folder
        found = known_edge(Path(folder) / "edge", **sizes)
        found["walk"] = walks(Path(folder) / "walk", seeds=WALKS[:3] if given.quick else WALKS)
    print(f"{found['market']}, {found['tested_bars']:,} bars after the shipped two years")
    print(f"  majority           accuracy {found['majority']:.4f}")
    best, reference = found["optimum"], found["gradient_boosting"]
    print(f"  optimum            accuracy {best['accuracy']:.4f}, Sharpe {best['sharpe']:.2f}")
    print(f"  gradient boosting  accuracy {reference['accuracy']:.4f}, trained on {reference['bars']:,} bars")
    for model in found["shipped_strategy"]:
        print(
            f"  shipped, seed {model['seed']}   accuracy {model['accuracy']:.4f}, MCC {model['mcc']:.3f}, Sharpe"
            f" {model['sharpe']:.2f}, {model['trades']:,} trades"
        )
    walk = found["walk"]
    print(f"walk: accuracy less majority {walk['mean']:+.4f}, standard error {walk['standard_error']:.4f}")
    print(f"{(dt.datetime.now(dt.UTC) - begun).total_seconds():.0f} s")
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

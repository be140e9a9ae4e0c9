"""The verdict of one world, and what the rule says of the same figures with more trials."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calibration.processes import SYMBOL
from calibration.worlds import PERIODS, World
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.jobs.job_settings import EvaluationSettings, VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_sentences import median_account
from ktrdr.core.verdicts.deflation import deflated
from ktrdr.core.verdicts.evidence import evidence_from
from ktrdr.core.verdicts.rule import rule
from ktrdr.core.verdicts.verdict_result import VerdictFacts
from ktrdr.core.workflows.run_evaluation import evaluate
from ktrdr.core.workflows.run_verdict import judge

__all__ = ["COST", "EPOCHS", "STRATEGY", "TRIALS", "facts_of", "judged", "own_sharpe", "row_of", "words_of"]

STRATEGY = Path(__file__).with_name("strategy.yaml")
"""The strategy that is judged; timeframe and size of a batch are those of the period."""

TRIALS = (1, 10, 50)
"""Numbers of trials that each verdict is ruled with."""

COST = 0.00002
"""Commission, and slippage: each a share of the traded value per side."""

EPOCHS = 10


@contextmanager
def _workplace(bars: Bars) -> Iterator[dict[str, Any]]:
    """Yield stores below a home that is removed afterwards."""
    before = os.environ.get("KTRDR_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KTRDR_HOME"] = folder
        root = Path(folder)
        store = BarStore(root / "data")
        store.write(bars)
        try:
            yield {
                "bar_store": store,
                "trials": TrialLedger(SQLiteDatabase(root / "trials.sqlite")),
                "checkpoint_root": root / "checkpoints",
                "cache": NO_CACHE,
            }
        finally:
            os.environ.pop("KTRDR_HOME")
            if before is not None:
                os.environ["KTRDR_HOME"] = before


def _strategy(world: World, plugins: PluginManager) -> LoadedStrategy:
    period, text = PERIODS[world.period], STRATEGY.read_text(encoding="utf-8")
    text = text.replace("timeframe: 1h", f"timeframe: {period.timeframe}")
    text = text.replace("batch_size: 1024", f"batch_size: {period.batch_size}")
    return load_strategy_text(text, name=STRATEGY.name, plugins=plugins)


def facts_of(world: World, trials: int = 1) -> VerdictFacts:
    """Return the verdict of a world by the quick form.

    Args:
        world: the world.
        trials: number of trials, this one included; the others are said to be made elsewhere.
    """
    plugins = PluginManager()
    settings = VerdictSettings(
        symbols=(SYMBOL,), quick=True, epochs=EPOCHS, commission=COST, slippage=COST, trials=trials - 1 or None
    )
    with _workplace(world.bars()) as stores:
        return judge(_strategy(world, plugins), settings, plugins=plugins, **stores).facts


def words_of(facts: VerdictFacts) -> list[str]:
    """Return what the rule says of the figures of a verdict, with each number of :data:`TRIALS`."""
    if facts.evaluation is None or facts.deflation is None:
        return [facts.word for _ in TRIALS]
    found, error = facts.deflation, median_account(facts.evaluation).metrics["sharpe_error"]
    words = []
    for number in TRIALS:
        count = TrialCount(known=1, ledger="", elsewhere=number - 1)
        again = deflated(found.sharpe, error, (found.low, found.high), found.years, count)
        words.append(rule(evidence_from(facts.validity, facts.evaluation, facts.nulls, again)).word)
    return words


def row_of(world: World, facts: VerdictFacts, seconds: float) -> dict[str, Any]:
    """Return the line of the results for a world: words and figures, rounded to what a reader compares."""
    found = facts.deflation
    return {
        "part": world.part,
        "family": world.family,
        "period": world.period,
        "target": world.sharpe,
        "seed": world.seed,
        "words": words_of(facts),
        "unmet": [condition.name for condition in facts.conditions if not condition.met],
        "faults": [finding.check for finding in facts.validity if not finding.clean],
        "sharpe": None if found is None else round(found.sharpe, 4),
        "high": None if found is None else round(found.high, 4),
        "probability": None if found is None else round(found.probability, 4),
        "p": {worlds.family: round(worlds.p, 4) for worlds in facts.nulls},
        "trades": 0 if facts.evaluation is None else median_account(facts.evaluation).metrics.get("trades"),
        "seconds": round(seconds, 2),
    }


def judged(world: World) -> dict[str, Any]:
    """Return the line of the results for a world."""
    begun = time.process_time()
    facts = facts_of(world)
    return row_of(world, facts, time.process_time() - begun)


def own_sharpe(world: World) -> float:
    """Return the annual Sharpe ratio of the strategy's own signals out of sample, after costs; 0 without a trade.

    It is that of the account that a verdict judges, without null worlds.
    """
    plugins = PluginManager()
    settings = EvaluationSettings(symbols=(SYMBOL,), seeds=1, epochs=EPOCHS, commission=COST, slippage=COST)
    with _workplace(world.bars()) as stores:
        facts = evaluate(_strategy(world, plugins), settings, plugins=plugins, **stores).facts
    return float(median_account(facts).metrics["sharpe"] or 0.0)

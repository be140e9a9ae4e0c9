"""An evaluation of the demo's strategy on two years of hours, beside its trainings alone.

    python benchmarks/evaluation.py [--quick] [--json FILE]

Six groups of which two are tested give 15 trainings, with five seeds 75, on a random walk: nothing can be learned from
it, so early stopping ends the trainings. The figures are the seconds of the whole evaluation on two cores, without the
import of torch, and the share of them that is spent in training.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from harness import Contest, Figure, main, reported
from made_up import random_walk

__all__ = ["whole_evaluation"]

BARS = 17_520
STEP = 0.0006
"""Standard deviation of an hourly return of the walk, about that of EURUSD."""


def whole_evaluation(bars: int = BARS, seeds: int = 5) -> dict[str, float]:
    """Evaluate the demo's strategy on a walk; return the seconds, their parts, and how often features were computed."""
    import torch

    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.jobs.job_settings import EvaluationSettings
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.strategy.model import CpcvValidation, DateRange
    from ktrdr.core.training import symbol_features
    from ktrdr.core.workflows.run_evaluation import evaluate

    torch.set_num_threads(1)
    computed, honest = [], symbol_features.fuzzify
    symbol_features.fuzzify = lambda *arguments: (computed.append(1), honest(*arguments))[1]  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as home:
        os.environ["KTRDR_HOME"] = home
        store = BarStore(Path(home) / "data")
        store.write(random_walk(bars, timeframe="1h", step=STEP))
        loaded = load_strategy(str(resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")))
        strategy = loaded.strategy
        data = strategy.training_data.model_copy(update={"date_range": DateRange()})
        validation = CpcvValidation(groups=6, test_groups=2)
        strategy = strategy.model_copy(update={"training_data": data, "validation": validation})
        settings = EvaluationSettings(seeds=seeds, commission=0.0002, device="cpu")
        facts = evaluate(replace(loaded, strategy=strategy), settings).facts
    return {
        "seconds": facts.seconds["total"],
        "training": facts.seconds["training"],
        "features": float(len(computed)),
        "trainings": float(len(facts.folds) * len(facts.seeds)),
    }


def contests(quick: bool) -> list[Contest]:
    """Return no contests: no peer trains every combination again."""
    return []


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the seconds of an evaluation and the share of the training, with their limits."""
    found = reported(__file__, "whole_evaluation(1_500, 1)" if quick else "whole_evaluation()")
    of = f"{found['trainings']:.0f} trainings of the demo's strategy, two years of hours, two cores"
    yield Figure("an evaluation", found["seconds"], "s", at_most=40.0, of=of)
    yield Figure("share of the training", found["training"] / found["seconds"], "", at_least=0.7, of=of)
    yield Figure("computations of the features", found["features"], "times", at_most=1.0, of=of)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

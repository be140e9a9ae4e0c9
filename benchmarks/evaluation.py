"""An evaluation of the demo's strategy on two years of hours, beside its trainings alone.

    python benchmarks/evaluation.py [--quick] [--json FILE]

Six groups of which two are tested give 15 trainings, with five seeds 75, on a random walk: nothing can be learned from
it, so early stopping ends the trainings. The figures are the seconds of the whole evaluation on two cores, without the
import of torch, and the share of them that is spent in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from demo_on_walk import TWO_YEARS, demo_on_walk
from harness import Contest, Figure, main, reported

__all__ = ["whole_evaluation"]


def whole_evaluation(bars: int = TWO_YEARS, seeds: int = 5) -> dict[str, float]:
    """Evaluate the demo's strategy on a walk; return the seconds, their parts, and how often features were computed."""
    from ktrdr.core.jobs.job_settings import EvaluationSettings
    from ktrdr.core.training import symbol_features
    from ktrdr.core.workflows.run_evaluation import evaluate

    computed, honest = [], symbol_features.fuzzify
    symbol_features.fuzzify = lambda *arguments: (computed.append(1), honest(*arguments))[1]  # type: ignore[assignment]
    with demo_on_walk(bars) as strategy:
        settings = EvaluationSettings(seeds=seeds, commission=0.0002, device="cpu")
        facts = evaluate(strategy, settings).facts
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

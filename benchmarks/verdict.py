"""The verdict on the demo's strategy on two years of hours, in the full and in the quick form.

    python benchmarks/verdict.py [--quick] [--json FILE]

The full form trains it in 100 null worlds of each of two families, in 20 that keep the autocorrelation, and with five
seeds on the bars; the quick form in 20 null worlds of each family, and with one seed. The figures are the seconds of
the whole verdict on two cores, without the import of torch. The bars are a random walk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from demo_on_walk import TWO_YEARS, demo_on_walk
from harness import Contest, Figure, main, reported

__all__ = ["AT_MOST", "QUICK", "whole_verdict"]

QUICK = 60.0
AT_MOST = {"the full form": 300.0, "the quick form": QUICK}
"""Seconds that a verdict may take."""


def whole_verdict(bars: int = TWO_YEARS, *, quick: bool = False, epochs: int | None = None) -> float:
    """Return the seconds of a verdict on the demo's strategy on a walk."""
    from ktrdr.core.jobs.job_settings import VerdictSettings
    from ktrdr.core.workflows.run_verdict import judge

    with demo_on_walk(bars) as strategy:
        settings = VerdictSettings(quick=quick, epochs=epochs, commission=0.0001, slippage=0.0001, device="cpu")
        facts = judge(strategy, settings).facts
    if facts.word == "INVALID":
        raise SystemExit(f"the verdict on a walk is INVALID: {facts.reasons}")
    return facts.seconds["total"]


def contests(quick: bool) -> list[Contest]:
    """Return no contests: no peer judges how a strategy was found."""
    return []


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the seconds of both forms, with their limits."""
    few = "1_500, epochs=1, " if quick else ""
    for (form, limit), short in zip(AT_MOST.items(), (False, True), strict=True):
        found = reported(__file__, f"whole_verdict({few}quick={short})")
        of = "verdict on the demo's strategy, two years of hours, two cores"
        yield Figure(form, found, "s", at_most=limit, of=of)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

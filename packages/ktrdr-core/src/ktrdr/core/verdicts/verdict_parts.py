"""A verdict in memory: its facts, the curves of its pictures, and the evaluation that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.strategy.model import Strategy
from ktrdr.core.trials.look import Look
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = ["MOST_POINTS", "Verdict", "VerdictCurves"]

MOST_POINTS = 400
"""Largest number of points of a curve."""


@dataclass(frozen=True, slots=True, eq=False)
class VerdictCurves:
    """Equity over the tested bars, as a multiple of the capital, at up to :data:`MOST_POINTS` bars.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars, UTC.
        accounts: float64 ``(accounts, n)``: accounts of the evaluation, in the order of its paths.
        buy_and_hold: float64 ``(n,)``.
        observed: float64 ``(seeds, n)``: accounts on the real bars by the training of the worlds.
        worlds: float64 ``(worlds, n)`` by family, with those of linear worlds.
    """

    time: np.ndarray
    accounts: np.ndarray
    buy_and_hold: np.ndarray
    observed: np.ndarray
    worlds: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The result of a verdict.

    Attributes:
        facts: everything that is printed and sent.
        text: the strategy file, unchanged.
        curves: curves of the pictures; ``None`` if the verdict is INVALID.
        strategy: the strategy with every override of the run; ``None`` of a stored verdict.
        evaluation: the evaluation; ``None`` if the verdict is INVALID, and of a stored verdict.
        looks: records for the ledger of trials; empty if the verdict is INVALID, and of a stored verdict.
    """

    facts: VerdictFacts
    text: str
    curves: VerdictCurves | None
    strategy: Strategy | None = None
    evaluation: Evaluation | None = None
    looks: tuple[Look, ...] = ()

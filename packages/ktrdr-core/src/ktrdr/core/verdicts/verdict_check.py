"""What readers of a verdict rely on, checked in facts and curves of unknown origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from ktrdr.core.files.checked_curves import LARGEST_VALUE, curve_in, times_in
from ktrdr.core.files.reading import FileError
from ktrdr.core.short_texts import quoted
from ktrdr.core.validation.facts_check import check_account, check_facts
from ktrdr.core.verdicts.verdict_parts import MOST_POINTS, VerdictCurves
from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = ["check_verdict", "curves_of"]

_QUANTILES = 101


def check_verdict(facts: VerdictFacts, file: str) -> None:
    """Check the facts of a verdict.

    Args:
        facts: to check.
        file: name of the file that they are read from, for messages.

    Raises:
        FileError: a part is missing, two parts do not belong together, or a number cannot be drawn.
    """
    if not facts.symbols or not facts.seeds:
        raise FileError(f"{file} has no symbols, or no seeds")
    if (facts.evaluation is None) != (facts.word == "INVALID"):
        raise FileError(f"{file}: a verdict has an evaluation unless it is INVALID")
    check_account(facts.account, file)
    if facts.evaluation is not None:
        check_facts(facts.evaluation, file)
        if (facts.evaluation.strategy, facts.evaluation.symbols) != (facts.strategy, facts.symbols):
            raise FileError(f"{file} has an evaluation of another strategy")
    if any(not seconds >= 0 for seconds in facts.seconds.values()):
        raise FileError(f"{file} has a step of less than no time")
    _check_worlds(facts, file)
    _check_further(facts, file)
    if any(not abs(value) <= LARGEST_VALUE for value in _drawn(facts)):
        raise FileError(f"{file} has a value above {LARGEST_VALUE:g}")


def curves_of(arrays: Mapping[str, np.ndarray], facts: VerdictFacts, file: str) -> VerdictCurves:
    """Return the curves of a verdict that is not INVALID.

    Args:
        arrays: of the file, by name.
        facts: of the verdict, checked.
        file: name of the file, for messages.

    Raises:
        FileError: an array is missing, has another shape than the facts say, cannot be drawn, or belongs to nothing.
    """
    if facts.evaluation is None:
        raise FileError(f"{file} has curves, and the verdict is INVALID")
    time = times_in(arrays, "time", file)
    bars = len(time)
    if not 1 <= bars <= MOST_POINTS:
        raise FileError(f"{file} has {bars:,} points, not 1 to {MOST_POINTS}")
    accounts, seeds = len(facts.evaluation.paths), len(facts.seeds)
    worlds = _worlds(facts)
    if unknown := sorted(
        arrays.keys() - {"time", "accounts", "buy_and_hold", "observed", *(f"worlds/{name}" for name in worlds)}
    ):
        raise FileError(f"{file} has an array {quoted(unknown[0])} of no worlds of the verdict")
    return VerdictCurves(
        time,
        curve_in(arrays, "accounts", (accounts, bars), file),
        curve_in(arrays, "buy_and_hold", (bars,), file),
        # A training that failed has no account.
        _accounts(arrays, "observed", seeds, bars, file),
        {name: _accounts(arrays, f"worlds/{name}", number, bars, file) for name, number in worlds.items()},
    )


def _accounts(arrays: Mapping[str, np.ndarray], name: str, most: int, bars: int, file: str) -> np.ndarray:
    """Return the curves of up to ``most`` accounts."""
    number = len(arrays[name]) if name in arrays and arrays[name].ndim else most
    return curve_in(arrays, name, (min(number, most), bars), file)


def _worlds(facts: VerdictFacts) -> dict[str, int]:
    """Return the number of worlds of each kind."""
    return {own.family: len(own.values) for own in facts.nulls} | {own.kind: len(own.values) for own in facts.linear}


def _check_worlds(facts: VerdictFacts, file: str) -> None:
    if len(_worlds(facts)) < len(facts.nulls) + len(facts.linear):
        raise FileError(f"{file} has the worlds of one kind twice")
    if facts.evaluation is None and (facts.nulls or facts.linear):
        raise FileError(f"{file} has worlds of a verdict that is INVALID")
    for own in facts.nulls:
        if not own.values or len(own.values) != facts.worlds:
            raise FileError(f"{file} has {len(own.values):,} worlds of a family, not {facts.worlds:,}")
    if any(not own.values for own in facts.linear):
        raise FileError(f"{file} has a kind of worlds without worlds")


def _check_further(facts: VerdictFacts, file: str) -> None:
    """Check the curves among the facts."""
    entries, costs = facts.permuted_entries, facts.break_even
    if entries is not None:
        quantiles = entries.quantiles
        if len(quantiles) != _QUANTILES or any(a > b for a, b in pairwise(quantiles)):
            raise FileError(f"{file}: `permuted_entries` must have {_QUANTILES} ascending quantiles")
    if costs is not None and (
        len(costs.costs) != len(costs.sharpe) or not costs.costs or any(a >= b for a, b in pairwise(costs.costs))
    ):
        raise FileError(f"{file}: `break_even` must have ascending costs, and a ratio for each")


def _drawn(facts: VerdictFacts) -> Iterable[float]:
    """Yield every number that a picture has."""
    for null in facts.nulls:
        yield from (null.observed, *_known(null.values))
    for linear in facts.linear:
        yield from (linear.observed, *_known(linear.values))
    if facts.permuted_entries is not None:
        yield from (facts.permuted_entries.observed, *facts.permuted_entries.quantiles)
    if facts.break_even is not None:
        costs = facts.break_even
        yield from (costs.paid, *costs.costs, *_known((costs.cost, *costs.sharpe)))
    if facts.delay is not None:
        yield from _known((facts.delay.observed, facts.delay.later))
    if facts.deflation is not None:
        found = facts.deflation
        yield from (found.sharpe, found.low, found.high, found.years, found.expected_best, found.needed_years or 0.0)


def _known(values: Iterable[float | None]) -> Iterable[float]:
    return (value for value in values if value is not None)

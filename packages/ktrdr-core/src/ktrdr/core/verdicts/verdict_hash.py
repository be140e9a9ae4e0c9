"""Hashes of a verdict: of what was asked, and of what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ktrdr.core.trials.look import digest
from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = ["evidence_hash", "verdict_hash"]

# What was found, without the clock, the machine and the place in a store.
_EVIDENCE = {
    "word",
    "validity",
    "conditions",
    "nulls",
    "linear",
    "deflation",
    "superior_ability",
    "overfitting",
    "permuted_entries",
    "break_even",
    "delay",
}


def verdict_hash(
    *,
    choice: str,
    bars: str,
    seeds: Sequence[int],
    worlds: int,
    account: Mapping[str, float],
    reserve: str,
    other_trials: int,
    versions: Mapping[str, str],
) -> str:
    """Return the sha256 (hex) of what a verdict was asked. The same question has the same hash, wherever it is asked.

    Args:
        choice: hash of the strategy, without its name, description and seed.
        bars: fingerprint of the bars before the reserve.
        seeds: of the trainings.
        worlds: number of null worlds of each family.
        account: capital and costs.
        reserve: fingerprint of the bars of the opened reserve; empty if it is closed.
        other_trials: number of trials that looked at the bars, without this one; 0 of an INVALID verdict, which looks
            at no result.
        versions: versions of the distributions that results depend on.
    """
    return digest(
        {
            "choice": choice,
            "bars": bars,
            "seeds": list(seeds),
            "worlds": worlds,
            "account": dict(account),
            "reserve": reserve,
            "other_trials": other_trials,
            "versions": dict(versions),
        }
    )


def evidence_hash(facts: VerdictFacts) -> str:
    """Return the sha256 (hex) of what a verdict found: the same on every run of the same question.

    Args:
        facts: facts of the verdict; their own hashes do not count.
    """
    found = facts.model_dump(mode="json", include=_EVIDENCE)
    found["reserve"] = None
    if facts.evaluation is not None and facts.evaluation.reserve is not None:
        found["reserve"] = facts.evaluation.reserve.model_dump(mode="json", exclude={"opened"})
    found["accounts"] = (
        [] if facts.evaluation is None else [own.model_dump(mode="json") for own in facts.evaluation.paths]
    )
    return digest(found)

"""A finding of validity in words: the faults of some symbols as one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["MOST_NAMED", "finding_of", "named"]

MOST_NAMED = 5
"""Largest number of symbols or inputs that a finding names."""


def finding_of(check: str, title: str, faults: Sequence[str], *, remedy: str = "", clean: str) -> ValidityFinding:
    """Return the finding of a check.

    Args:
        check: name of the check.
        title: the same in words.
        faults: a clause for each symbol or input with the fault; none if nothing was found.
        remedy: a clause that says what to do about all of them.
        clean: the sentence if nothing was found.
    """
    if not faults:
        return ValidityFinding(check=check, title=title, clean=True, sentence=clean)
    more = len(faults) - MOST_NAMED
    listed = "; ".join((*faults[:MOST_NAMED], *([f"and {more:,} more such faults"] if more > 0 else [])))
    return ValidityFinding(check=check, title=title, clean=False, sentence=f"{listed}: {remedy}" if remedy else listed)


def named(names: Sequence[str]) -> str:
    """Return the first names and the number of the others: ``A, B and 3 more``."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")

"""Printing of the number of trials that a result was chosen among."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.cli.output import echo_styled

if TYPE_CHECKING:
    from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["print_trial_count"]


def print_trial_count(count: TrialCount | None, of: str = "Counted") -> None:
    """Print a count of trials and its facts; nothing for a result that is older than the ledger of trials.

    Args:
        count: the count, if there is one.
        of: word before the count, such as the name of a run.
    """
    if count is None:
        return
    color = "yellow" if count.broken else None
    echo_styled(f"{of}: {count.statement}.", color=color)
    for fact in count.facts.values():
        echo_styled(f"  {fact}", color=color)

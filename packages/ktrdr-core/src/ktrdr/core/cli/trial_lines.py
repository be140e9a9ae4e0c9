"""What commands say of the trials that a result was chosen among."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["print_trial_count"]


def print_trial_count(count: TrialCount | None, of: str = "Counted") -> None:
    """Print the count ``of`` a result, and what belongs beside it; nothing for one from before the ledger of trials."""
    if count is None:
        return
    color = "yellow" if count.broken else None
    click.secho(f"{of}: {count.statement}.", fg=color)
    for fact in count.facts.values():
        click.secho(f"  {fact}", fg=color)

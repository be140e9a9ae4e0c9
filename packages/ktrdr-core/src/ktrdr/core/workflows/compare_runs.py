"""Summary of a stored run, with its metrics deflated by all trials known now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ktrdr.core.backtesting.closed_reserve import reserve_span
from ktrdr.core.backtesting.metrics import deflate
from ktrdr.core.backtesting.results import read_model, read_summary
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.places import trials_in
from ktrdr.core.workflows.take_in import summary_span

__all__ = ["summary_by_now"]


def summary_by_now(directory: Path, *, trials: TrialLedger | None = None) -> dict[str, Any]:
    """Return the summary of a run, with its metrics deflated by the number of trials known now.

    The stored summary is returned unchanged if more trials were known when the run was made (on a server, for example),
    or if it has no trial count.

    Args:
        directory: directory of the run.
        trials: the ledger; by default ``$KTRDR_HOME/trials.sqlite``.

    Raises:
        BadInputError: the directory has no result, or the result is damaged.
        TrialStoreError: the ledger cannot be read.
    """
    summary, (manifest, _) = read_summary(directory), read_model(directory)
    reserve = reserve_span(manifest, summary["symbols"]) if summary["settings"].get("reserve") else None
    count = trials_in(trials).count(
        summary_span(summary), strategy=choice_hash(manifest.strategy), model=manifest.ref, reserve=reserve
    )
    stored = summary.get("trial_count")
    count = count.with_elsewhere(summary["settings"].get("trials"))
    if stored is None or TrialCount.from_json(stored).number > count.number:
        return summary
    metrics = deflate(summary["metrics"], count.number, count.spread)
    return {**summary, "metrics": metrics, "trial_count": count.to_json()}

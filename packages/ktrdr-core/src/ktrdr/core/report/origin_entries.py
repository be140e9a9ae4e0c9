"""Entries on where a result of an evaluation or a verdict comes from: its trials, and its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_result import Provenance

__all__ = ["provenance_entries", "trial_entries"]


def trial_entries(count: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the number of trials on the bars, with what is known of them.

    Args:
        count: the count, as :meth:`~ktrdr.core.trials.trial_count.TrialCount.to_json` returns it; ``None`` if nothing
            was recorded.
    """
    if count is None:
        return [("counted", "not recorded")]
    known = TrialCount.from_json(dict(count))
    return [("counted", known.statement), ("ledger", known.ledger), *known.facts.items()]


def provenance_entries(
    given: Provenance, fingerprint: str, seconds: Mapping[str, float], **hashes: str
) -> list[tuple[str, str]]:
    """Return bars, versions, machine and checkout.

    Args:
        given: versions, machine and checkout.
        fingerprint: sha256 of the bars.
        seconds: time of the steps; only the ``total`` is shown.
        hashes: further hashes by name, shown after that of the bars.
    """
    machine, git = given.environment, given.git
    commit = "not a checkout"
    if git is not None:
        commit = git.commit + (", with uncommitted changes" if git.dirty else "")
    entries = [
        ("bars, sha256", fingerprint),
        *((f"{name}, sha256", value) for name, value in hashes.items()),
        ("ktrdr-core", given.core_version),
        ("Python", machine.python),
        ("machine", machine.platform),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.packages.items())),
        ("seconds", f"{seconds['total']:,.1f}" if "total" in seconds else None),
        ("git", commit),
    ]
    return [(name, str(value)) for name, value in entries if value]

"""Trials of the models and runs that were stored before there was a ledger of trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.backtesting.backtest_look import KEPT_METRICS, account_terms, seconds_of
from ktrdr.core.backtesting.results import read_model, read_summary
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.runs.run_store import stored_runs
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.training.training_look import training_look
from ktrdr.core.trials.look import Look, Span

__all__ = ["looks_before", "summary_span", "versions_before"]


def looks_before(home: Path) -> Iterator[Look]:
    """Yield a trial for each model and each run below ``home``; unreadable ones are left out.

    The trials have no daily returns, because these would have to be read from the files of every run.
    """
    store = ModelStore(home / "models")
    for entry in store.list():
        if entry.manifest is None:
            continue
        manifest = entry.manifest
        try:
            text = store.get(manifest.ref).strategy_text
        except (BundleError, OSError):
            continue
        look = training_look(
            manifest.strategy,
            text,
            manifest.data,
            manifest.metrics,
            changes={},
            model=manifest.ref,
            operation=manifest.operation,
            before_ledger=True,
        )
        if look is not None:
            yield look
    for directory in stored_runs(home / "runs"):
        try:
            yield _run(directory)
        except (BadInputError, OSError, KeyError, TypeError, ValueError):
            continue


def versions_before(home: Path) -> dict[str, int]:
    """Return the highest version of each model below ``home``.

    Returns:
        The highest version by ``name``, and for an imported model its original version by ``name/version``: it tells
        how many versions there were before it where it was trained.
    """
    store = ModelStore(home / "models")
    versions = {name: store.versions(name)[-1] for name in store.names()}
    for entry in store.list():
        if entry.manifest is not None and entry.manifest.origin is not None:
            versions[entry.ref] = int(entry.manifest.origin.partition("/")[2])
    return versions


def summary_span(summary: Mapping[str, Any]) -> Span:
    """Return the symbols and the period that a run traded, from its summary."""
    return Span(
        tuple(sorted(summary["symbols"])),
        _seconds(summary["start"]),
        _seconds(summary["end"]),
        summary.get("world", ""),
    )


def _run(directory: Path) -> Look:
    summary = read_summary(directory)
    manifest, text = read_model(directory)
    metrics = summary["metrics"]
    return Look(
        kind="backtest",
        strategy=choice_hash(manifest.strategy),
        text=text,
        changes={},
        parent=None,
        seed=manifest.seed,
        training_data=manifest.data.fingerprint,
        data=summary["provenance"]["data_fingerprint"],
        timeframe=summary["timeframe"],
        span=summary_span(summary),
        account=account_terms(BacktestSettings.model_validate(summary["settings"])),
        metrics={name: metrics[name] for name in KEPT_METRICS if name in metrics},
        model=manifest.ref,
        before_ledger=True,
    )


def _seconds(text: str) -> int:
    return seconds_of(np.datetime64(text.removesuffix("Z"), "s"))

"""Carry out a sweep: all of it here, or a chunk of it for a cluster."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.data.store import BarStore, default_store
from ktrdr.core.errors import KtrdrError, record_of
from ktrdr.core.models.store import ModelStore, default_model_store
from ktrdr.core.operations.cancellation import Cancellation
from ktrdr.core.operations.exchange import Exchange
from ktrdr.core.operations.jobs import SweepJob
from ktrdr.core.operations.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.operations.sweep import PreparedSweep, check_sweep, prepare_sweep, run_trial, sweep_result, trials_of
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.training.steps import Steps

__all__ = ["run_chunk", "run_sweep_job"]

_SECONDS_BETWEEN_REPORTS = 0.1
_KEPT = 2

_prepared: OrderedDict[str, PreparedSweep] = OrderedDict()
_preparing = threading.Lock()


def run_sweep_job(
    job: SweepJob, *, progress: Progress = NO_PROGRESS, cancellation: Cancellation | None = None
) -> dict[str, Any]:
    """Run every trial in this process, on the stores below ``KTRDR_HOME``; writes nothing.

    Returns:
        :func:`~ktrdr.core.operations.sweep.sweep_result`.

    Raises:
        BadInputError: the model, the data or a setting does not allow it; nothing was tried.
        CancelledError: on request.
    """
    cancellation = cancellation if cancellation is not None else Cancellation()
    check_sweep(job, default_model_store().get(job.model))
    sweep = _prepare(job, Steps(progress, cancellation))
    trials, found, last = trials_of(job), [], 0.0
    for number, changes in enumerate(trials):
        cancellation.raise_if_requested()
        if time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            progress(ProgressEvent("backtests", number, len(trials), "backtests", number / len(trials)))
        found.append(run_trial(sweep, changes))
    progress(ProgressEvent("backtests", len(trials), len(trials), "backtests", 1.0))
    return sweep_result(job, sweep.facts, found)


def run_chunk(sweep_id: str, data: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """Run some trials of a sweep in a worker's own process, which prepares once for all of its chunks.

    Whoever hands out the chunks has checked the job: see :func:`~ktrdr.core.operations.sweep.check_sweep`.

    Args:
        sweep_id: by which later chunks of the same sweep are known: that of its operation, ``:``, and the attempt.
        data: the job.
        numbers: of the trials, from 0.

    Returns:
        ``metrics`` of each trial; ``facts``; ``seconds`` spent in the backtests and in ``preparing`` for them. Or an
        ``error``, a :class:`~ktrdr.core.errors.ErrorRecord`, for what a person can mend.
    """
    began = time.perf_counter()
    job = SweepJob.model_validate(dict(data))
    try:
        # One thread prepares; others that came for the same wait for it.
        with _preparing:
            sweep = _prepared.get(sweep_id)
            if sweep is None:
                sweep = _prepared[sweep_id] = _prepare_chunks(sweep_id, job)
            _prepared.move_to_end(sweep_id)
            while len(_prepared) > _KEPT:
                _prepared.popitem(last=False)
        ready = time.perf_counter()
        trials = trials_of(job)
        metrics = [run_trial(sweep, trials[number]) for number in numbers]
    except KtrdrError as error:
        return {"error": record_of(error).to_json()}
    done = time.perf_counter()
    return {"metrics": metrics, "facts": dict(sweep.facts), "seconds": done - ready, "preparing": ready - began}


def _prepare_chunks(sweep_id: str, job: SweepJob) -> PreparedSweep:
    exchange, steps = Exchange.from_environment(), Steps(NO_PROGRESS, Cancellation())
    if exchange is None:
        return _prepare(job, steps)
    with exchange.home(sweep_id.partition(":")[0]) as home:
        bundle, bars = ModelStore(home / "models").get(job.model), BarStore(home / "data")
        return prepare_sweep(job, bundle, bar_store=bars, plugins=default_manager(), steps=steps)


def _prepare(job: SweepJob, steps: Steps) -> PreparedSweep:
    bundle = default_model_store().get(job.model)
    return prepare_sweep(job, bundle, bar_store=default_store(), plugins=default_manager(), steps=steps)

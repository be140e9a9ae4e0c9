"""Carry out a chunk of a sweep, in a process that keeps what it has prepared."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.cluster.exchange import Exchange
from ktrdr.core.data.bar_store import BarStore, default_store
from ktrdr.core.errors import KtrdrError
from ktrdr.core.jobs.kinds import SweepJob
from ktrdr.core.models.model_store import ModelStore, default_model_store
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.sweeps.grid import PreparedSweep, prepare_sweep, run_trial, trials_of
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps

__all__ = ["run_chunk"]

_KEPT = 2

_prepared: OrderedDict[str, PreparedSweep] = OrderedDict()
_preparing = threading.Lock()


def run_chunk(sweep_id: str, data: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """Run some trials of a sweep in a worker's own process, which prepares once for all of its chunks.

    Whoever hands out the chunks has checked the job: see :func:`~ktrdr.core.sweeps.grid.check_sweep`.

    Args:
        sweep_id: by which later chunks of the same sweep are known: that of its operation, ``:``, and the attempt.
        data: the job.
        numbers: of the trials, from 0.

    Returns:
        ``metrics`` of each trial; ``facts``; ``seconds`` spent in the backtests and in ``preparing`` for them. Or an
        ``error``, which has ``type`` and ``message``, for what a person can mend.
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
        return {"error": {"type": type(error).__name__, "message": str(error)}}
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

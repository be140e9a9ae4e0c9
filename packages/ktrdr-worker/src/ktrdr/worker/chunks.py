"""Chunks of a sweep, run in the worker's own process: one backtest is too short for a process of its own."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ktrdr.core.cluster.remote_calls import OPERATIONS_TOPIC
from ktrdr.core.errors import KtrdrError, record_of

if TYPE_CHECKING:
    from ktrdr.core.jobs.kinds import SweepJob
    from ktrdr.core.sweeps.grid import PreparedSweep

__all__ = ["carry_out_chunk", "run_chunk"]

_KEPT = 2

_announced: set[str] = set()
_announcing = threading.Lock()
_prepared: OrderedDict[str, PreparedSweep] = OrderedDict()
_preparing = threading.Lock()


def run_chunk(
    operation_id: str, attempt: int, job: Mapping[str, Any], numbers: Sequence[int], resample: bool = False
) -> dict[str, Any]:
    """Run some cells of a sweep; see :func:`carry_out_chunk`.

    The worker reports the start of the attempt before its first chunk.
    """
    from distributed import get_worker

    worker = get_worker()
    key = f"{operation_id}:{attempt}"
    with _announcing:
        new = key not in _announced
        _announced.add(key)
    if new:
        message = {"operation_id": operation_id, "attempt": attempt, "event": "started", "worker": worker.address}
        worker.log_event(OPERATIONS_TOPIC, message)
    return carry_out_chunk(key, job, numbers, resample=resample)


def carry_out_chunk(
    sweep_id: str, data: Mapping[str, Any], numbers: Sequence[int], *, resample: bool = False
) -> dict[str, Any]:
    """Run some cells of a sweep; the process prepares the sweep once for all of its chunks.

    The caller has checked the job: see :func:`~ktrdr.core.sweeps.grid.check_sweep`.

    Args:
        sweep_id: id of the operation, ``:``, and number of the attempt; the same for all chunks of a sweep.
        data: the job.
        numbers: of the cells, from 0.
        resample: compute only the intervals.

    Returns:
        The result of :func:`~ktrdr.core.sweeps.grid.pack_cells`, or the ``intervals`` of each cell; ``facts``;
        ``seconds`` of the backtests, and seconds of ``preparing`` them. Or an ``error``, the JSON of a
        :class:`~ktrdr.core.errors.ErrorRecord`, for an error that the user can correct.
    """
    from ktrdr.core.jobs.kinds import SweepJob
    from ktrdr.core.sweeps.grid import pack_cells, resample_trial, run_trial

    began = time.perf_counter()
    job = SweepJob.model_validate(dict(data))
    try:
        # One thread prepares the sweep; other threads wait for it.
        with _preparing:
            sweep = _prepared.get(sweep_id)
            if sweep is None:
                sweep = _prepared[sweep_id] = _prepare(sweep_id, job)
            _prepared.move_to_end(sweep_id)
            while len(_prepared) > _KEPT:
                _prepared.popitem(last=False)
        ready = time.perf_counter()
        own = [sweep.cells[number] for number in numbers]
        if resample:
            found = {"intervals": [resample_trial(sweep, changes) for changes in own]}
        else:
            found = pack_cells(sweep, [run_trial(sweep, changes) for changes in own])
    except KtrdrError as error:
        return {"error": record_of(error).to_json()}
    done = time.perf_counter()
    return {**found, "facts": dict(sweep.facts), "seconds": done - ready, "preparing": ready - began}


def _prepare(sweep_id: str, job: SweepJob) -> PreparedSweep:
    from ktrdr.core.cluster.exchange import Exchange
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.models.model_store import ModelStore
    from ktrdr.core.sweeps.grid import prepare_sweep
    from ktrdr.core.work.cancellation import Cancellation
    from ktrdr.core.work.progress import NO_PROGRESS
    from ktrdr.core.work.steps import Steps
    from ktrdr.core.workflows.places import bars_in, cache_in, models_in, plugins_or_all

    operation = sweep_id.partition(":")[0]
    steps, plugins, cache = Steps(NO_PROGRESS, Cancellation()), plugins_or_all(None), cache_in(None)
    exchange = Exchange.from_environment()
    if exchange is None:
        bundle = models_in(None).get(job.model)
        bars = bars_in(None)
        return prepare_sweep(
            job, bundle, bar_store=bars, plugins=plugins, cache=cache, steps=steps, operation=operation
        )
    with exchange.home(operation) as home:
        bundle, bars = ModelStore(home / "models").get(job.model), BarStore(home / "data")
        return prepare_sweep(
            job, bundle, bar_store=bars, plugins=plugins, cache=cache, steps=steps, operation=operation
        )

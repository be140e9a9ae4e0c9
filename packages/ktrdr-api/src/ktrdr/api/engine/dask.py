"""The engine on Dask: submits attempts by function name, receives events by topic, finds tasks again by key.

The scheduler keeps its state in memory only, and a Dask client does not recover from the loss of its scheduler. The
engine then builds a new client and reports the attempts that the new scheduler does not know as lost, so that they are
submitted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.api.engine.counting import counted, keep_count
from ktrdr.api.engine.fan_out import FanOut
from ktrdr.api.engine.port import Attempt, EngineListener, Joining, SchedulerInfo, WorkerInfo, log_failure
from ktrdr.core.cluster.dask_settings import (
    PROTOCOL_RESOURCE,
    VERSIONS_KEY,
    configure,
    configure_scheduler,
    tls_security,
    versions,
)
from ktrdr.core.cluster.remote_calls import OPERATIONS_TOPIC, RUN_OPERATION, STOP_OPERATION, call_by_name, failed
from ktrdr.core.errors import BadInputError, ErrorRecord, KtrdrError, StoreError, one_line, record_of

if TYPE_CHECKING:
    from distributed import Client, Future, KilledWorker

    from ktrdr.core.cluster.exchange import Exchange
    from ktrdr.core.trials.look import Look
    from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["DaskEngine"]

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_TRIES = 5.0


def _key(attempt: Attempt) -> str:
    return f"{attempt.operation_id}:{attempt.number}"


def _attempt(key: str) -> Attempt:
    """Return the attempt of a task's key; keys of a fan-out have a third part."""
    operation_id, number, *_ = key.split(":")
    return Attempt(operation_id, int(number))


class DaskEngine:
    """Executes operations on the cluster whose scheduler is at ``address``.

    Args:
        address: ``tcp://host:port``, or ``tls://host:port`` with certificates.
        grace: seconds that a running operation has to stop by itself.
        certificates: directory of mutual certificates.
        exchange: transfers data to and from workers that do not share ``KTRDR_HOME``; ``None`` if they share it.
    """

    def __init__(
        self,
        address: str,
        *,
        grace: float = 30.0,
        certificates: Path | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self._address = address
        self._exchange = exchange
        self._grace = grace
        self._certificates = certificates
        self._client: Client | None = None
        self._listener: EngineListener | None = None
        self._watched: dict[Attempt, asyncio.Task[None]] = {}
        self._fans: dict[Attempt, FanOut] = {}
        self._started: set[Attempt] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._answers = False
        self._workers: tuple[WorkerInfo, ...] = ()
        self._scheduler_info: SchedulerInfo | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, listener: EngineListener) -> None:
        """Connect if the scheduler answers, and reconnect whenever the connection is lost.

        Raises:
            BadInputError: the scheduler answers, but cannot load this version of ktrdr-core.
        """
        configure()
        self._listener = listener
        await self._connect()
        self._keeper = asyncio.create_task(self._keep(), name="dask connection")
        self._keeper.add_done_callback(log_failure)

    async def close(self) -> None:
        """Disconnect; published tasks continue."""
        tasks = [task for task in (self._keeper, *self._watched.values(), *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._drop_client()

    async def healthy(self) -> bool:
        """Return True while the scheduler answers."""
        return self._connected() and self._answers

    def _connected(self) -> bool:
        return self._client is not None and self._client.status == "running"

    async def submit(self, attempt: Attempt, kind: str, job: Mapping[str, Any], requires: Sequence[str]) -> None:
        """Submit an attempt to the scheduler and publish it, so that it outlives this client.

        A sweep is split into chunks here instead, and ends with this client: little work is lost.
        """
        if attempt in self._watched:
            return
        client = self._require_client()
        if self._exchange is not None:
            try:
                await asyncio.to_thread(self._exchange.provide, attempt.operation_id, job)
            except StoreError as error:
                # The operation is not at fault: the round is postponed.
                raise OSError(str(error)) from error
            except KtrdrError as error:
                await self._tell().on_failed(attempt, record_of(error))
                return
        if kind == "sweep":
            slots, report = partial(self._slots, requires), partial(self._tell().on_progress, attempt)
            judge = partial(self._judged, attempt)
            self._fans[attempt] = fan = FanOut(client, attempt, job, requires, slots, report, judge)
            self._watch(attempt, fan.run())
            return
        key = _key(attempt)
        future = client.submit(
            call_by_name,
            RUN_OPERATION,
            attempt.operation_id,
            attempt.number,
            kind,
            dict(job),
            key=key,
            resources=dict.fromkeys([PROTOCOL_RESOURCE, *requires], 1),
            retries=0,
            pure=False,
        )
        await client.publish_dataset(future, name=key, override=True)
        self._watch(attempt, future)

    async def stop(self, attempt: Attempt) -> None:
        """Tell the worker of an attempt to stop it, by force after the grace period."""
        if attempt in self._fans:
            self._fans[attempt].stopping.set()
            return
        client = self._require_client()
        key = _key(attempt)
        holders = [address for address, keys in (await client.processing()).items() if key in keys]
        if holders:
            await client.run(call_by_name, STOP_OPERATION, key, self._grace, workers=holders)

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers as of the newest query."""
        return list(self._workers)

    async def scheduler(self) -> SchedulerInfo | None:
        """Return the scheduler as of the newest query, ``None`` while it does not answer."""
        return self._scheduler_info if await self.healthy() else None

    async def joining(self) -> Joining:
        """Return where workers join."""
        return Joining(self._address, await self.healthy())

    async def reattach(self) -> set[Attempt]:
        """Follow the published attempts of earlier clients."""
        if self._client is None:
            return set()
        known = set()
        for key in await self._client.list_datasets():
            attempt = _attempt(str(key))
            future = await self._client.get_dataset(key)
            self._started.add(attempt)
            self._watch(attempt, future)
            known.add(attempt)
        return known

    # The connection.

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            if not self._connected():
                try:
                    await self._reconnect()
                except BadInputError as error:
                    _log.error("%s", error)
            elif not await self._look():
                _log.warning("the scheduler at %s does not answer", self._address)

    async def _connect(self) -> None:
        from distributed import Client

        try:
            client = await Client(
                self._address,
                asynchronous=True,
                timeout=5,
                security=tls_security(self._certificates),
                set_as_default=False,
            )
        except (OSError, TimeoutError) as error:
            _log.warning("no scheduler at %s yet: %s", self._address, one_line(error))
            return
        try:
            await client.set_metadata(VERSIONS_KEY, versions())
            # A scheduler with default settings would run lost tasks again by itself, without the ledger.
            await client.run_on_scheduler(configure_scheduler)
        except (OSError, TimeoutError) as error:
            _log.warning("the connection to the scheduler at %s was lost again: %s", self._address, one_line(error))
            await _close(client)
            return
        except (ImportError, AttributeError) as error:
            await _close(client)
            raise BadInputError(
                f"the scheduler at {self._address} cannot load this ktrdr-core ({one_line(error)}); install"
                f" ktrdr-core {versions()['core']} where it runs, or let `ktrdr serve --listen-workers` run one"
            ) from None
        self._client = client
        client.subscribe_topic(OPERATIONS_TOPIC, self._heard)
        await self._look()

    async def _reconnect(self) -> None:
        """Build a new client, and report the attempts that the scheduler no longer has as lost."""
        await self._drop_client()
        await self._connect()
        if self._client is None:
            return
        before = set(self._watched)
        for task in self._watched.values():
            task.cancel()
        self._watched.clear()
        self._fans.clear()
        known = await self.reattach()
        for attempt in before - known:
            await self._tell().on_lost(attempt, "the scheduler was restarted", counts=False)
        await self._tell().on_workers_changed()

    async def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    def _require_client(self) -> Client:
        if self._client is None:
            raise OSError(f"no scheduler at {self._address}")
        return self._client

    def _tell(self) -> EngineListener:
        assert self._listener is not None
        return self._listener

    async def _look(self) -> bool:
        """Query the workers and their tasks; return False if the scheduler does not answer."""
        client = self._client
        if client is None or client.scheduler is None:
            return False
        try:
            identity = await client.scheduler.identity(n_workers=-1)
            processing = await client.processing()
        except (OSError, TimeoutError):
            self._answers = False
            return False
        self._answers = True
        self._scheduler_info = _scheduler(identity)
        workers = tuple(
            _worker(address, facts, processing.get(address, ()))
            for address, facts in identity["workers"].items()
            if facts["status"] == "running"
        )
        changed = {worker.address for worker in workers} != {worker.address for worker in self._workers}
        self._workers = workers
        if changed:
            await self._tell().on_workers_changed()
        return True

    # Reports.

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, message = event
        attempt = Attempt(message["operation_id"], message["attempt"])
        if message["event"] == "started":
            self._started.add(attempt)
            self._spawn(self._tell().on_started(attempt, message["worker"]))
        elif message["event"] == "progress":
            self._spawn(self._tell().on_progress(attempt, message["progress"]))

    def _slots(self, requires: Sequence[str]) -> int:
        """Return how many operations with these requirements the connected workers can run at once."""
        return sum(worker.facts["threads"] for worker in self._workers if set(requires) <= set(worker.capabilities))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_failure)

    def _watch(self, attempt: Attempt, future: Future | Awaitable[Mapping[str, Any]]) -> None:
        task = asyncio.create_task(self._follow(attempt, future), name=f"follow {_key(attempt)}")
        task.add_done_callback(log_failure)
        self._watched[attempt] = task

    async def _follow(self, attempt: Attempt, future: Future | Awaitable[Mapping[str, Any]]) -> None:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError

        ending: Mapping[str, Any] | BaseException
        (ending,) = await asyncio.gather(_result(future), return_exceptions=True)
        listener = self._tell()
        if isinstance(ending, KilledWorker):
            began = attempt in self._started
            await self._finish(attempt, listener.on_lost(attempt, _lost_with(ending), counts=began))
            return
        if isinstance(ending, asyncio.CancelledError | FutureCancelledError | CommClosedError):
            return  # the client has lost its scheduler; the next client finds the state of the attempt
        if isinstance(ending, BaseException):
            # An error in KTRDR, or a worker without the function: the operation must not stay running forever.
            _log.error("%s failed on its worker", _key(attempt), exc_info=ending)
            await self._finish(attempt, listener.on_failed(attempt, record_of(ending)))
            return
        if ending["event"] == "completed" and attempt not in self._fans:
            ending = await self._taken_in(attempt, ending["result"])
        match ending["event"]:
            case "completed":
                news = listener.on_completed(attempt, ending["result"])
            case "failed":
                news = listener.on_failed(attempt, _told(ending["error"]))
            case "cancelled":
                news = listener.on_cancelled(attempt)
            case "drained":
                news = listener.on_lost(attempt, "its worker was drained", counts=False)
            case _:
                news = listener.on_lost(attempt, ending["message"], counts=True)
        await self._finish(attempt, news)

    async def _taken_in(self, attempt: Attempt, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Record the trials of a result, and copy the worker's files from the object store into the home.

        Waits while the store, the database or the disk cannot be used: a result is shown only once its trials are
        recorded.
        """
        while True:
            try:
                own = await counted(self._tell(), result)
                if self._exchange is not None:
                    own = await asyncio.to_thread(self._exchange.take_in, attempt.operation_id, own)
                else:
                    await asyncio.to_thread(keep_count, own)
            except (OSError, StoreError) as error:
                _log.warning("the result of %s cannot be stored yet: %s", _key(attempt), one_line(error))
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
            except KtrdrError as error:
                return failed(error)
            else:
                return {"event": "completed", "result": own}

    async def _judged(self, attempt: Attempt, looks: Sequence[Look], model: str) -> TrialCount:
        """Record the cells of a sweep as trials; wait while the ledger of trials cannot be written."""
        while True:
            try:
                return await self._tell().judge(looks, model)
            except (OSError, StoreError) as error:
                _log.warning("the trials of %s cannot be recorded yet: %s", _key(attempt), one_line(error))
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)

    async def _finish(self, attempt: Attempt, news: Any) -> None:
        await news
        self._watched.pop(attempt, None)
        self._started.discard(attempt)
        client = self._client
        if self._fans.pop(attempt, None) is None and client is not None:
            with contextlib.suppress(OSError, TimeoutError, KeyError):
                await client.unpublish_dataset(_key(attempt))


def _scheduler(identity: Mapping[str, Any]) -> SchedulerInfo:
    host = identity["address"].partition("://")[2].rpartition(":")[0]
    port = identity.get("services", {}).get("dashboard")
    return SchedulerInfo(identity["address"], None if port is None else f"http://{host}:{port}")


def _worker(address: str, facts: Mapping[str, Any], keys: Sequence[Any]) -> WorkerInfo:
    """Return the description of a worker. A worker with another protocol has no capabilities."""
    own = facts.get("ktrdr", {})
    fits = PROTOCOL_RESOURCE in facts["resources"]
    shown = {"threads": facts["nthreads"], "fits": fits, **{key: own[key] for key in own if key != "capabilities"}}
    if port := facts.get("services", {}).get("dashboard"):
        shown["http"] = f"http://{facts['host']}:{port}"
    offered = sorted(name for name in facts["resources"] if name != PROTOCOL_RESOURCE) if fits else []
    return WorkerInfo(
        address=address,
        name=str(facts["name"]),
        capabilities=tuple(offered),
        running=tuple(_attempt(str(key)) for key in keys if ":" in str(key)),
        facts=shown,
    )


def _lost_with(error: KilledWorker) -> str:
    """Return why an attempt was lost; the message of Dask is about its settings."""
    address = getattr(error.last_worker, "address", None)
    worker = f"its worker at {address}" if address else "its worker"
    return f"{worker} was lost: it was killed, or it did not answer for too long"


def _told(error: Any) -> ErrorRecord:
    """Return the error that a worker reported, or an error that says that the report cannot be read."""
    try:
        return ErrorRecord.from_json(error)
    except KtrdrError as misunderstood:
        return record_of(misunderstood)


async def _result(future: Future | Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return await future


async def _close(client: Client) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        await client.close(timeout=2)

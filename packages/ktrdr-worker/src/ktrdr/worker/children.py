"""Execution of operations on a Dask worker, each in its own child process, which can be stopped.

A crash, an out-of-memory kill or a forced stop then affects only that operation, and frees its memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ktrdr.core.cluster.remote_calls import OPERATIONS_TOPIC

__all__ = ["RUNNING", "STOP", "RunningOperation", "run_operation", "stop_all", "stop_operation"]


@dataclass(slots=True)
class RunningOperation:
    """A running child process.

    Attributes:
        process: the child process.
        stopping: why it was asked to stop: ``cancel`` or ``drain``; empty if it was not.
        asked: set once the job was sent, after which further lines may be sent.
        timers: kill the process at the end of the grace period.
    """

    process: subprocess.Popen[str]
    stopping: str = ""
    asked: threading.Event = field(default_factory=threading.Event)
    timers: list[threading.Timer] = field(default_factory=list)


STOP = "stop\n"
"""The input line that asks a child process to stop."""

RUNNING: dict[str, RunningOperation] = {}
"""Key of an attempt -> its child process. One mapping per worker process."""

_STOP_REQUESTS: dict[str, float] = {}
"""Keys of attempts that were asked to stop before their child process existed -> seconds of grace."""


def run_operation(operation_id: str, attempt: int, kind: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one attempt and return its ending.

    Returns:
        ``{"event": "completed" | "failed" | "cancelled" | "drained" | "crashed", ...}``. Errors of the operation are
        returned, not raised.
    """
    from distributed import get_worker

    worker = get_worker()
    key = f"{operation_id}:{attempt}"

    def tell(event: str, **more: Any) -> None:
        message = {"operation_id": operation_id, "attempt": attempt, "event": event, **more}
        worker.log_event(OPERATIONS_TOPIC, message)

    process = subprocess.Popen(
        [sys.executable, "-m", "ktrdr.worker.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    running = RunningOperation(process)
    RUNNING[key] = running
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        tell("started", worker=worker.address)
        with contextlib.suppress(BrokenPipeError):
            request = {"kind": kind, "job": dict(job), "operation": operation_id, "attempt": attempt}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        running.asked.set()
        if key in _STOP_REQUESTS:
            stop_operation(key, _STOP_REQUESTS[key])
        last: dict[str, Any] | None = None
        for line in process.stdout:
            message = json.loads(line)
            if message["event"] == "progress":
                tell("progress", progress=message["progress"])
            else:
                last = message
        code = process.wait()
    finally:
        RUNNING.pop(key, None)
        _STOP_REQUESTS.pop(key, None)
        running.asked.set()
        for timer in running.timers:
            timer.cancel()
        if process.poll() is None:
            _kill(process)
        with contextlib.suppress(OSError):
            process.stdin and process.stdin.close()
    return _ending(last, code, running.stopping)


def _ending(last: dict[str, Any] | None, code: int, stopping: str) -> dict[str, Any]:
    if last is not None and last["event"] != "cancelled":
        return last
    if stopping == "drain":
        return {"event": "drained"}
    if last is not None or stopping == "cancel":
        return last or {"event": "cancelled", "message": "stopped by force after the grace period"}
    if code < 0:
        reason = f"its process was killed by {signal.Signals(-code).name}"
    else:
        reason = f"its process ended with status {code}"
    return {"event": "crashed", "message": reason}


def stop_operation(key: str, grace: float, reason: str = "cancel") -> bool:
    """Ask the child process of an attempt to stop, and kill its process group after ``grace`` seconds.

    Does not block, as it is called in the worker's event loop. Returns False if the process does not run here.
    """
    running = RUNNING.get(key)
    if running is None:
        _STOP_REQUESTS[key] = grace
        return False
    running.stopping = running.stopping or reason
    threading.Thread(target=_ask_to_stop, args=[running], name=f"stop of {key}", daemon=True).start()
    timer = threading.Timer(grace, _kill, [running.process])
    timer.daemon = True
    timer.start()
    running.timers.append(timer)
    return True


def _ask_to_stop(running: RunningOperation) -> None:
    """Send the child process the line to stop, which it also receives if it has not started up yet.

    A signal would be lost in that case: a child process inherits that its worker ignores SIGTERM, until Python has
    installed its handler.
    """
    running.asked.wait()
    assert running.process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ValueError):
        running.process.stdin.write(STOP)
        running.process.stdin.flush()


def stop_all(grace: float) -> int:
    """Drain: ask every child process to write a checkpoint and stop; return their number."""
    keys = list(RUNNING)
    for key in keys:
        stop_operation(key, grace, "drain")
    return len(keys)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

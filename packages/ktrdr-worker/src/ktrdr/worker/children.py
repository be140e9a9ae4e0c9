"""What a Dask worker runs: each operation in a child process of its own, watched and stoppable.

A crash, an out-of-memory kill or a forced stop then costs that operation alone, and returns its memory.
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
    """A child at work.

    Attributes:
        process: the child.
        stopping: why it was asked to stop: ``cancel`` or ``drain``.
        asked: set once it was sent its job, behind which it may be sent more.
    """

    process: subprocess.Popen[str]
    stopping: str = ""
    asked: threading.Event = field(default_factory=threading.Event)
    timers: list[threading.Timer] = field(default_factory=list)


STOP = "stop\n"
"""The line that asks a child to stop."""

RUNNING: dict[str, RunningOperation] = {}
"""Key of the operation's attempt -> its child. One per worker process."""

_STOP_REQUESTS: dict[str, float] = {}
"""Those that came before their child did -> seconds of grace."""


def run_operation(operation_id: str, attempt: int, kind: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one attempt and return how it ended: ``{"event": "completed" | "failed" | "cancelled" | "drained" |
    "crashed", ...}``. Never raises for what the operation does.
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
    """Ask the child of ``key`` to stop, and kill its process group after ``grace`` seconds; return False if it is not
    here. Does not block: it is called on the worker's event loop.
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
    """Send the child a line, which waits for it if it is not up yet.

    A signal would be lost then: Python has not taken it over, and a child inherits that its worker ignores SIGTERM.
    """
    running.asked.wait()
    assert running.process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ValueError):
        running.process.stdin.write(STOP)
        running.process.stdin.flush()


def stop_all(grace: float) -> int:
    """Drain: ask every child to leave a checkpoint and stop; return how many there are."""
    keys = list(RUNNING)
    for key in keys:
        stop_operation(key, grace, "drain")
    return len(keys)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

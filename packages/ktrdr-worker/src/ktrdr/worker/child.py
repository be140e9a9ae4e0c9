"""The process an operation runs in: one job from standard input, JSON lines on standard output.

It ends itself at end of file on standard input, so it never outlives its worker, and treats any further line there, and
SIGTERM, as a request to stop: it leaves a checkpoint and says so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from ktrdr.core.cluster.remote_calls import failed
from ktrdr.core.errors import CancelledError, KtrdrError, StoreError
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["main"]

_SECONDS_BETWEEN_REPORTS = 0.25


def main() -> None:
    """Run the job that stands on the first line of standard input."""
    out = _claim_stdout()
    request = json.loads(sys.stdin.readline())
    cancellation = Cancellation()
    signal.signal(signal.SIGTERM, lambda number, frame: cancellation.cancel("asked to stop"))
    threading.Thread(target=_listen, args=[cancellation], daemon=True).start()
    _say(out, run(request, _reporter(out), cancellation))
    # Without the interpreter's own farewell: it would wait for the thread that reads standard input.
    os._exit(0)


def run(request: Mapping[str, Any], progress: Progress, cancellation: Cancellation) -> dict[str, Any]:
    """Carry out ``{"kind", "job", "operation", "attempt"}`` and return how it ended, as the worker passes it on."""
    try:
        result = _carry_out(request, progress, cancellation)
    except CancelledError as error:
        return {"event": "cancelled", "message": str(error)}
    except StoreError as error:
        # Trouble of this machine and not of the job: the attempt is lost, and repeated, maybe elsewhere.
        return {"event": "crashed", "message": str(error)}
    except KtrdrError as error:
        return failed(error)
    return {"event": "completed", "result": result}


def _carry_out(request: Mapping[str, Any], progress: Progress, cancellation: Cancellation) -> Mapping[str, Any]:
    from ktrdr.core.cluster.exchange import CheckpointKeeper, Exchange
    from ktrdr.core.workflows.run_job import run_job

    kind, job, operation, attempt = request["kind"], request["job"], request.get("operation"), request.get("attempt", 1)

    def carry_out(progress: Progress) -> Mapping[str, Any]:
        return run_job(kind, job, resume=attempt > 1, operation=operation, progress=progress, cancellation=cancellation)

    exchange = Exchange.from_environment()
    if exchange is None or operation is None:
        return carry_out(progress)
    with exchange.home(operation) as home:
        exchange.restore_checkpoint(operation, home)
        # This process is here for this one operation.
        os.environ["KTRDR_HOME"] = str(home)
        keeper = CheckpointKeeper(exchange, operation, attempt, home)

        def receive(event: ProgressEvent) -> None:
            progress(event)
            keeper.keep()

        try:
            result = carry_out(receive)
        except CancelledError:
            keeper.keep()
            raise
        return exchange.deliver(operation, home, result)


def _claim_stdout() -> TextIO:
    """Keep standard output for the protocol; whatever a library prints goes to standard error."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return kept


def _say(out: TextIO, message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message, allow_nan=False) + "\n")
    out.flush()


def _reporter(out: TextIO) -> Progress:
    last = 0.0
    step = ""

    def receive(event: ProgressEvent) -> None:
        nonlocal last, step
        now = time.monotonic()
        # The end of a step and the first word of a new one are always passed on.
        if event.step == step and event.fraction < 1 and now - last < _SECONDS_BETWEEN_REPORTS:
            return
        last, step = now, event.step
        _say(out, {"event": "progress", "progress": event.to_json()})

    return receive


def _listen(cancellation: Cancellation) -> None:
    """Stop when asked to, and die with the worker. What came behind the job is in the same buffer."""
    while sys.stdin.readline():
        cancellation.cancel("asked to stop")
    os._exit(1)


if __name__ == "__main__":
    main()

"""The child process of one operation: reads a job from standard input, writes JSON lines to standard output.

The process exits at end of file on standard input, so that it does not outlive its worker. Any further input line, and
SIGTERM, is a request to stop: the process writes a checkpoint and reports that it stopped.
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
    """Run the job in the first line of standard input."""
    out = _claim_stdout()
    request = json.loads(sys.stdin.readline())
    cancellation = Cancellation()
    signal.signal(signal.SIGTERM, lambda number, frame: cancellation.cancel("asked to stop"))
    threading.Thread(target=_listen, args=[cancellation], daemon=True).start()
    _say(out, run(request, _reporter(out), cancellation))
    # A normal exit of the interpreter would wait for the thread that reads standard input.
    os._exit(0)


def run(request: Mapping[str, Any], progress: Progress, cancellation: Cancellation) -> dict[str, Any]:
    """Run the request ``{"kind", "job", "operation", "attempt"}`` and return its ending, in the form for the engine."""
    try:
        result = _carry_out(request, progress, cancellation)
    except CancelledError as error:
        return {"event": "cancelled", "message": str(error)}
    except StoreError as error:
        # This machine is at fault, not the job: the attempt is lost, and repeated, maybe on another machine.
        return {"event": "crashed", "message": str(error)}
    except KtrdrError as error:
        return failed(error)
    return {"event": "completed", "result": result}


def _carry_out(request: Mapping[str, Any], progress: Progress, cancellation: Cancellation) -> Mapping[str, Any]:
    from ktrdr.core.cache.default_cache import default_cache
    from ktrdr.core.cluster.exchange import CheckpointKeeper, Exchange
    from ktrdr.core.workflows.run_job import run_job

    kind, job, operation, attempt = request["kind"], request["job"], request.get("operation"), request.get("attempt", 1)

    # The cache of this machine, not of the operation's own home, which is removed at the end.
    cache = default_cache()

    def carry_out(progress: Progress) -> Mapping[str, Any]:
        return run_job(
            kind,
            job,
            resume=attempt > 1,
            operation=operation,
            cache=cache,
            progress=progress,
            cancellation=cancellation,
        )

    exchange = Exchange.from_environment()
    if exchange is None or operation is None:
        return carry_out(progress)
    with exchange.home(operation) as home:
        exchange.restore_checkpoint(operation, home)
        # The process runs only this operation, so its environment may change.
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
        return exchange.deliver(operation, kind, home, result)


def _claim_stdout() -> TextIO:
    """Reserve standard output for the protocol; output of libraries goes to standard error."""
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
        # The first and the last report of a step are always sent.
        if event.step == step and event.fraction < 1 and now - last < _SECONDS_BETWEEN_REPORTS:
            return
        last, step = now, event.step
        _say(out, {"event": "progress", "progress": event.to_json()})

    return receive


def _listen(cancellation: Cancellation) -> None:
    """Stop on a further input line, exit at end of file. Lines sent right after the job are in the same buffer."""
    while sys.stdin.readline():
        cancellation.cancel("asked to stop")
    os._exit(1)


if __name__ == "__main__":
    main()

"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ktrdr.core.operations.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["progress_display"]

_SECONDS_BETWEEN_LINES = 2.0


@contextmanager
def progress_display(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a receiver of progress that draws on standard error; ``quiet`` yields one that discards."""
    if quiet:
        yield NO_PROGRESS
    elif sys.stderr.isatty():
        with _bars() as receive:
            yield receive
    else:
        yield _lines()


def _describe(event: ProgressEvent) -> str:
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in event.metrics.items())
    return "  ".join(part for part in (event.message, metrics) if part)


def _lines() -> Progress:
    last_step = ""
    last_time = 0.0

    def receive(event: ProgressEvent) -> None:
        nonlocal last_step, last_time
        now = time.monotonic()
        finished = event.fraction >= 1
        if event.step == last_step and not finished and now - last_time < _SECONDS_BETWEEN_LINES:
            return
        last_step, last_time = event.step, now
        count = f" {event.done}/{event.total} {event.unit}".rstrip() if event.total else ""
        print(f"{event.step}:{count} {_describe(event)}".rstrip(" :"), file=sys.stderr, flush=True)

    return receive


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[count]:>14}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
        console=Console(stderr=True, highlight=False, markup=False),
        refresh_per_second=8,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def receive(event: ProgressEvent) -> None:
            if event.step not in tasks:
                tasks[event.step] = bars.add_task(event.step, total=1.0, count="", detail="")
            count = f"{event.done}/{event.total} {event.unit}".rstrip() if event.total else ""
            bars.update(tasks[event.step], completed=event.fraction, count=count, detail=_describe(event))

        yield receive

"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["describe_count", "describe_event", "describe_metrics", "duration_words", "progress_display"]

_SECONDS_BETWEEN_LINES = 2.0
_NARROW = 110
# Least share of a step from which the time it still takes can be told.
_TELLING = 0.02


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


def describe_metrics(metrics: Mapping[str, float]) -> str:
    """Return metrics in a few words; one of training and validation as ``loss 1.01/1.05``."""
    parts = []
    for name, value in metrics.items():
        if name.startswith("val_") and f"train_{name[4:]}" in metrics:
            continue
        short = name.removeprefix("train_")
        other = metrics.get(f"val_{short}") if short != name else None
        pair = _number(value) if other is None else f"{_number(value)}/{_number(other)}"
        parts.append(f"{short.replace('learning_rate', 'rate')} {pair}")
    return "  ".join(parts)


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def describe_event(event: ProgressEvent) -> str:
    """Return the message and the metrics of an event in a few words."""
    return "  ".join(part for part in (event.message, describe_metrics(event.metrics)) if part)


def describe_count(event: ProgressEvent) -> str:
    """Return what is done of a step, such as ``12/40 epochs``; empty where the whole is not known."""
    return f"{event.done:,}/{event.total:,} {event.unit}".rstrip() if event.total else ""


def _lines() -> Progress:
    """Return a receiver that prints a line when a step is done, and every two seconds before."""
    step, begun, said, finished = "", 0.0, 0.0, False

    def receive(event: ProgressEvent) -> None:
        nonlocal step, begun, said, finished
        now = time.monotonic()
        if event.step != step:
            step, begun, said, finished = event.step, now, now, False
        done = event.fraction >= 1
        if finished or not (done or now - said >= _SECONDS_BETWEEN_LINES):
            return
        said, finished = now, done
        left = ""
        if not done and event.fraction >= _TELLING:
            left = f"about {duration_words((now - begun) * (1 / event.fraction - 1))} left"
        text = "  ".join(part for part in (describe_count(event), describe_event(event), left) if part)
        print(f"{step}: {text}" if text else step, file=sys.stderr, flush=True)

    return receive


def duration_words(seconds: float) -> str:
    """Return a time in words, such as ``3 min 20 s``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


@contextmanager
def _bars() -> Iterator[Progress]:
    """Yield a receiver that shows the present step as a bar, and each finished one as a line above it."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    console = Console(stderr=True, highlight=False, markup=False)
    narrow = console.width < _NARROW
    with Bars(
        TextColumn("{task.description:<11}", markup=False),
        BarColumn(bar_width=12 if narrow else 28),
        TextColumn("{task.fields[count]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}", markup=False),
        console=console,
        refresh_per_second=8,
        transient=True,
    ) as bars:
        step, task, begun, finished = "", TaskID(-1), 0.0, True

        def receive(event: ProgressEvent) -> None:
            nonlocal step, task, begun, finished
            if event.step != step:
                if not finished:
                    bars.remove_task(task)
                step, begun, finished = event.step, time.monotonic(), False
                task = bars.add_task(step, total=1.0, count="", detail="")
            if finished:
                return
            if event.fraction < 1:
                bars.update(task, completed=event.fraction, count=describe_count(event), detail=describe_event(event))
                return
            bars.remove_task(task)
            finished = True
            text = "  ".join(part for part in (describe_count(event), describe_event(event)) if part)
            took = time.monotonic() - begun
            line = Text.assemble(
                (f"{step:<11}", "green"), f" {text}", (f"  {took:.1f} s" if took >= 0.1 else "", "dim")
            )
            console.print(line, soft_wrap=True)

        yield receive

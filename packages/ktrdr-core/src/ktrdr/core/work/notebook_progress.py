"""Progress of long work in a Jupyter notebook: one bar below the cell, gone when the work ends."""

from __future__ import annotations

import html
import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ktrdr.core.work.progress import Progress, ProgressEvent
from ktrdr.core.work.progress_display import describe_count, describe_event

__all__ = ["in_notebook", "notebook_progress"]

_SECONDS_BETWEEN_UPDATES = 0.2
_BAR = (
    '<div style="font: 13px/1.6 var(--jp-ui-font-family, system-ui, sans-serif); display: flex; gap: 10px;'
    ' align-items: center; flex-wrap: wrap"><span style="min-width: 6em">{step}</span>'
    '<progress value="{fraction:.4f}" max="1" style="width: 220px"></progress>'
    '<span style="font-variant-numeric: tabular-nums">{text}</span></div>'
)


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook."""
    # Where a kernel runs, IPython has been imported: nothing else has to import it.
    if "IPython" not in sys.modules:
        return False
    return getattr(sys.modules["IPython"].get_ipython(), "kernel", None) is not None


@contextmanager
def notebook_progress() -> Iterator[Progress]:
    """Yield a receiver of progress that draws a bar below the present cell and removes it afterwards."""
    # By name, since it is no dependency: only a notebook comes here, and that has it.
    display = importlib.import_module("IPython.display")
    handle = display.display(display.HTML(""), display_id=True)
    step, last = "", 0.0

    def receive(event: ProgressEvent) -> None:
        nonlocal step, last
        now = time.monotonic()
        if event.step == step and now - last < _SECONDS_BETWEEN_UPDATES:
            return
        step, last = event.step, now
        text = "  ".join(part for part in (describe_count(event), describe_event(event)) if part)
        handle.update(
            display.HTML(_BAR.format(step=html.escape(step), fraction=event.fraction, text=html.escape(text)))
        )

    try:
        yield receive
    finally:
        handle.update(display.HTML(""))

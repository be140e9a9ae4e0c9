"""Work on many worlds by two processes, one line of JSON for each; a stopped run goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ktrdr.core.cluster.dask_settings import configure

__all__ = ["PROCESSES", "Engine", "embedded", "kept", "work"]

W = TypeVar("W")

PROCESSES = 2
"""Processes that work at once, each with one thread."""


class Engine(Protocol):
    """What worlds are given to: an executor, as those of ``concurrent.futures`` and that of Dask are."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Begin the work on a world and return its future."""


@contextmanager
def embedded(processes: int = PROCESSES) -> Iterator[Engine]:
    """Yield a Dask cluster of this machine, which ends with the block."""
    configure()
    from distributed import Client, LocalCluster

    # One thread: two trainings with the threads of both cores would wait for each other.
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with (
        LocalCluster(
            n_workers=processes, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, env=one
        ) as cluster,
        Client(cluster) as client,
        client.get_executor(retries=0, pure=False) as executor,
    ):
        yield executor


def kept(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; one that a killed run left unfinished is cut off the file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def work(
    engine: Engine,
    function: Callable[[W], Mapping[str, Any]],
    worlds: Sequence[W],
    path: Path,
    seconds: float,
    told: Callable[[int, int, Mapping[str, Any]], None],
) -> bool:
    """Append the line of each world to a file, in their order.

    Args:
        engine: what works.
        function: from a world to its line.
        worlds: the worlds that have no line.
        path: the file.
        seconds: no world is begun after so many.
        told: is given the number of lines so far, that of all, and the line.

    Returns:
        True if all worlds have a line now.
    """
    until, running, ended = time.monotonic() + seconds, [], 0
    left = iter(worlds)
    with path.open("a", encoding="utf-8") as file:
        while True:
            # More than processes, so that none waits for this one.
            while len(running) < 2 * PROCESSES and time.monotonic() < until:
                world = next(left, None)
                if world is None:
                    break
                running.append(engine.submit(function, world))
            if not running:
                return ended == len(worlds)
            row = running.pop(0).result()
            file.write(json.dumps(row) + "\n")
            file.flush()
            ended += 1
            told(ended, len(worlds), row)

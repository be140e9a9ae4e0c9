"""How much slower both cores of this machine are at this moment than those that the limits in seconds are for.

    python benchmarks/two_cores.py

A shared machine may give a program half of what it gave an hour before. Two processes do the same work at once, as a
population of trainings does: steps of a small network in numpy, called from a loop of Python.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

__all__ = ["REFERENCE", "slowness", "worked"]

REFERENCE = 0.37
"""Seconds of the work on the machine whose seconds are in docs/benchmarks.md."""


def worked() -> float:
    """Do the work in this process, and return its seconds."""
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(64, 32)), random.normal(size=(32, 16))
    start = time.perf_counter()
    for _ in range(40_000):
        hidden = np.tanh(rows @ weights)
        weights += 1e-6 * (rows.T @ hidden)
    return time.perf_counter() - start


def slowness(rounds: int = 3) -> float:
    """Return the seconds of two processes that work at once, the best of some rounds, over the reference; at least 1.

    Args:
        rounds: number of rounds.
    """
    best = min(_both() for _ in range(rounds))
    return max(1.0, best / REFERENCE)


def _both() -> float:
    """Return the seconds of the slower one of two processes that work at once."""
    command = [sys.executable, __file__, "--work"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return max(float(process.communicate()[0]) for process in running)


if __name__ == "__main__":
    print(worked() if "--work" in sys.argv else slowness())

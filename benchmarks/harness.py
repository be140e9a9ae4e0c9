"""The one way to measure: programs that do the same work on the same data take turns.

A benchmark is a script that declares contests and hands them to :func:`main`. In a :class:`Contest` the first program
is ours. Every program runs once uncounted, then all run in turn, round after round: whatever else the machine does
meets all of them. Reported are medians and quartiles of wall and CPU time, ratios taken round by round, the memory that
a run adds, and the exponent by which time grows with size. What is no contest is a :class:`Figure`, with or without a
limit.

Only the standard library is imported here: what the children of a process use at most is never less than what that
process used when it started them, so a process that measures programs must be small.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "Contest",
    "Figure",
    "Taken",
    "document",
    "exponent",
    "files",
    "find",
    "main",
    "measure",
    "memory_of",
    "own_peak_mib",
    "peak_of",
    "process",
    "reported",
    "spread",
]

Clock = Literal["cpu", "wall"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took: seconds by the clock, seconds of CPU of all threads, and MiB of memory where measured."""

    wall: float
    cpu: float
    peak_mib: float | None = None


@dataclass(frozen=True)
class Contest:
    """Programs that do the same work on the same data.

    Attributes:
        name: what is done.
        programs: name -> what takes the data and does it; ours first. A program that returns :class:`Taken` has
            measured itself (it ran in a process of its own); of the others the call is measured.
        prepare: makes the data of a size.
        sizes: three, ascending; one where size makes no sense.
        unit: what the sizes count.
        group: title of the table that several contests share.
        check: fails if the programs do not come to the same result; called once per size, not measured.
        rounds: turns of every program.
        few: turns of a program that takes long; it is warmed up at the smallest size only.
        largest: the largest size of a program that would take too long beyond.
        clock: the clock that ratios and growth are told by.
        warm: whether each program runs once before it is measured.
        memory: also run every program once alone, in a process of its own, at its largest size.
    """

    name: str
    programs: Mapping[str, Callable[[Any], object]]
    prepare: Callable[[int], Any] = int
    sizes: tuple[int, ...] = (1,)
    unit: str = ""
    group: str = ""
    check: Callable[[Any], None] | None = None
    rounds: int = 7
    few: Mapping[str, int] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)
    clock: Clock = "cpu"
    memory: bool = False
    warm: bool = True

    @property
    def ours(self) -> str:
        """Name of the program that the others are compared with."""
        return next(iter(self.programs))

    def sizes_of(self, program: str) -> tuple[int, ...]:
        """Return the sizes at which ``program`` takes part."""
        return tuple(size for size in self.sizes if size <= self.largest.get(program, size))


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is no contest of programs; with a limit it is met or missed.

    Attributes:
        name: what was measured.
        value, unit: the number.
        at_most, at_least: the limit, if there is one.
        of: where the number comes from: contest, program and size, or what ran.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    of: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


Row = dict[str, Any]
Figures = Callable[[list[Row], bool], Iterable[Figure]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles and the least of at least one value."""
    low, middle, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": middle, "q1": low, "q3": high, "best": min(values)}


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the slope of log time over log size by least squares: 1 is linear, 2 is quadratic."""
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(t) for t in times]).slope


def run(work: Callable[[Any], object], data: Any) -> Taken:
    """Run a program once and return what it took."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(data)
    took = Taken(time.perf_counter() - wall, time.process_time() - cpu)
    return result if isinstance(result, Taken) else took


def process(*command: str, environment: Mapping[str, str] | None = None) -> Taken:
    """Run a command in a process of its own and return what that took, its children included.

    Raises:
        SystemExit: it failed; what it said on stderr is part of the message.
    """
    with tempfile.TemporaryFile() as errors:
        wall = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - wall
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}: {errors.read().decode()[-2000:]}")
    return Taken(wall, usage.ru_utime + usage.ru_stime, peak_of(usage))


def peak_of(usage: resource.struct_rusage) -> float | None:
    """Return the most memory of a child that has ended, in MiB; None if it may be this process's own at the fork."""
    peak = _mib(usage.ru_maxrss)
    return peak if peak > own_peak_mib() else None


def own_peak_mib() -> float:
    """Return the most memory that this process has had, in MiB."""
    return _mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def reported(script: str, call: str) -> Any:
    """Return the value of a call of a function of ``script``, made in a fresh interpreter; it passes through JSON.

    Raises:
        SystemExit: it failed.
    """
    path = Path(script).resolve()
    code = f"import json, sys; sys.path.insert(0, {str(path.parent)!r}); import {path.stem}"
    code += f"; print(json.dumps({path.stem}.{call}))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{path.name}: {call} failed when it ran alone")
    return json.loads(done.stdout.splitlines()[-1])


def _mib(maxrss: float) -> float:
    return maxrss / 2**20 if sys.platform == "darwin" else maxrss / 2**10


def measure(contest: Contest) -> list[Row]:
    """Let the programs of a contest take turns at every size; return a row per size and program."""
    rows: list[Row] = []
    for size in contest.sizes:
        data = contest.prepare(size)
        programs = {name: work for name, work in contest.programs.items() if size in contest.sizes_of(name)}
        if contest.check is not None:
            contest.check(data)
        for name, work in programs.items():
            if contest.warm and (size == contest.sizes[0] or name not in contest.few):
                run(work, data)
        taken: dict[str, list[Taken]] = {name: [] for name in programs}
        for number in range(contest.rounds):
            for name, work in programs.items():
                if number < contest.few.get(name, contest.rounds):
                    taken[name].append(run(work, data))
        ours = taken[contest.ours]
        for name, times in taken.items():
            row: Row = {
                "contest": contest.name,
                "group": contest.group or contest.name,
                "unit": contest.unit,
                "size": size,
                "program": name,
                "ours": name == contest.ours,
                "clock": contest.clock,
                "rounds": len(times),
            }
            for clock in ("wall", "cpu"):
                row[clock] = spread([getattr(each, clock) for each in times])
                pairs = zip(times, ours, strict=False)
                row[f"ratio_{clock}"] = spread(
                    [getattr(his, clock) / max(getattr(mine, clock), 1e-9) for his, mine in pairs]
                )
            if all(each.peak_mib is not None for each in times):
                row["peak_mib"] = max(each.peak_mib or 0.0 for each in times)
            rows.append(row)
    return rows


def growth(rows: Iterable[Row]) -> list[Row]:
    """Return for each contest and program with several sizes the exponent by which its time grows."""
    series: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        series.setdefault((row["contest"], row["program"]), []).append(row)
    return [
        {
            "contest": contest,
            "program": program,
            "exponent": exponent(
                [row["size"] for row in found], [max(row[row["clock"]]["median"], 1e-9) for row in found]
            ),
        }
        for (contest, program), found in series.items()
        if len(found) > 1
    ]


def peaks(contest: Contest, script: str, quick: bool) -> dict[str, dict[str, float]]:
    """Run every program of a contest alone in a process of its own at its largest size; return MiB for each."""
    found = {}
    for program in contest.programs:
        command = [sys.executable, script, "--memory", contest.name, program, *(["--quick"] if quick else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{contest.name}: {program} failed when it ran alone")
        found[program] = json.loads(done.stdout)
    return found


def memory_of(work: Callable[[], object]) -> dict[str, float]:
    """Return the most resident memory of this process while ``work`` ran, and what of it ``work`` added, in MiB."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # of glibc alone
        # What was freed before and kept for later would hide as much of what is needed now.
        ctypes.CDLL(None).malloc_trim(0)
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if reset.exists():
        # Forget the most so far: making the data may have taken more than the work will.
        reset.write_text("5")

    def most() -> float:
        if not reset.exists():
            return _mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10

    before = most()
    kept = work()
    peak = most()
    del kept
    return {"peak_mib": peak, "added_mib": peak - before}


def _memory(contest: Contest, program: str) -> dict[str, float]:
    """Return the memory that one run of a program takes at its largest size."""
    work = contest.programs[program]
    run(work, contest.prepare(contest.sizes[0]))  # code that any run loads
    data = contest.prepare(contest.sizes_of(program)[-1])
    return memory_of(lambda: work(data))


def document(
    script: str, contests: Sequence[Contest], figures: Figures | None, quick: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the contests of a script, then its figures, and return everything."""
    began = time.perf_counter()
    rows: list[Row] = []
    for contest in contests:
        say(f"  {contest.name} ...")
        found = measure(contest)
        if contest.memory:
            memory = peaks(contest, script, quick)
            for row in found:
                if row["size"] == contest.sizes_of(row["program"])[-1]:
                    row |= memory[row["program"]]
        rows += found
    named = [] if figures is None else [asdict(each) | {"met": each.met} for each in figures(rows, quick)]
    return {
        "benchmark": Path(script).stem,
        "quick": quick,
        "seconds": round(time.perf_counter() - began, 1),
        "rows": rows,
        "growth": growth(rows),
        "figures": named,
    }


def files() -> Path:
    """Return the directory for data that takes long to make; it is gone when the benchmark ends."""
    return Path(os.environ["KTRDR_BENCH_FILES"])


def find(rows: Iterable[Row], contest: str, program: str, size: int | None = None) -> Row:
    """Return the row of a program, at its largest size if none is given."""
    chosen = [row for row in rows if (row["contest"], row["program"]) == (contest, program)]
    return next(row for row in reversed(chosen) if size in (None, row["size"]))


def main(
    script: str,
    description: str | None,
    contests: Callable[[bool], Sequence[Contest]],
    figures: Figures | None = None,
) -> None:
    """Be the command line of a benchmark: measure, print a table, write JSON if asked to.

    The status is 0 also where a limit is missed; the table says so. It is not 0 if a program fails, or if programs that
    should do the same work do not.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    parser.add_argument("--only", default="", metavar="TEXT", help="contests whose name holds TEXT; no figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        # Libraries read it when they are loaded, which the script has done already.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": "1"})
    everything = contests(given.quick)
    if given.memory:
        name, program = given.memory
        print(json.dumps(_memory(next(each for each in everything if each.name == name), program)))
        return
    chosen = [each for each in everything if given.only in each.name]
    with tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as folder:
        # Where scripts keep data that takes long to make, for themselves and for the processes that measure memory.
        os.environ.setdefault("KTRDR_BENCH_FILES", folder)
        found = document(
            script, chosen, None if given.only else figures, given.quick, lambda text: print(text, file=sys.stderr)
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    from tables import show

    show(found)

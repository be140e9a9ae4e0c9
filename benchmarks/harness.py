"""The harness of the benchmarks: programs that do the same work on the same data are measured in turns.

A benchmark is a script that passes contests to :func:`main`. In a :class:`Contest` the first program is ours. Every
program runs once for warm-up, then all run in turn for several rounds, so that other load on the machine affects all of
them. The results are medians and quartiles of wall and CPU time, ratios per round, the memory that a run adds, and the
exponent by which time grows with size. Other numbers are a :class:`Figure`, with or without a limit.

Only the standard library is imported here: the peak memory of a child process is at least the memory of its parent when
it was started, so a process that measures others must be small.
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
    """Cost of one run: wall seconds, CPU seconds of all threads, and MiB of peak memory if measured."""

    wall: float
    cpu: float
    peak_mib: float | None = None


@dataclass(frozen=True)
class Contest:
    """Programs that do the same work on the same data.

    Attributes:
        name: of the work.
        programs: name -> function of the data; ours first. A program that returns :class:`Taken` has measured itself
            (in a separate process); for others the call is measured.
        prepare: returns the data of a size.
        sizes: three, ascending; one if the work has no size.
        unit: of the sizes.
        group: title of the table that several contests share.
        check: fails if the results of the programs differ; called once per size, not measured.
        rounds: number of turns of every program.
        few: number of turns of slow programs, which are warmed up only at the smallest size.
        largest: largest size of programs that would take too long at larger ones.
        clock: clock for ratios and growth.
        warm: whether each program runs once before it is measured.
        memory: also run every program once in a separate process, at its largest size.
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
    """A number that is not from a contest; its limit, if it has one, is met or missed.

    Attributes:
        name: of the measurement.
        value: the number.
        unit: of the number.
        at_most: upper limit, if there is one.
        at_least: lower limit, if there is one.
        of: source of the number: contest, program and size, or another description.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    of: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the limit is met; None without a limit."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


Row = dict[str, Any]
Figures = Callable[[list[Row], bool], Iterable[Figure]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles and minimum of at least one value."""
    low, middle, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": middle, "q1": low, "q3": high, "best": min(values)}


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the slope of log time over log size by least squares: 1 is linear, 2 is quadratic."""
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(t) for t in times]).slope


def run(work: Callable[[Any], object], data: Any) -> Taken:
    """Run a program once and return its cost."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(data)
    took = Taken(time.perf_counter() - wall, time.process_time() - cpu)
    return result if isinstance(result, Taken) else took


def process(*command: str, environment: Mapping[str, str] | None = None) -> Taken:
    """Run a command in a new process and return its cost, including its children.

    Raises:
        SystemExit: the command failed; the message contains the end of its standard error.
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
    """Return the peak memory of a child process in MiB; None if it may be that of this process at the fork."""
    peak = _mib(usage.ru_maxrss)
    return peak if peak > own_peak_mib() else None


def own_peak_mib() -> float:
    """Return the peak memory of this process in MiB.

    On Linux, `ru_maxrss` of a process begins with the memory of the one that started it; VmHWM is its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 2**10
    return _mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def reported(script: str, call: str) -> Any:
    """Call a function of ``script`` in a new interpreter; return its value, which is sent as JSON.

    Raises:
        SystemExit: the call failed.
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
    """Measure the programs of a contest in turns at every size; return a row per size and program."""
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
    """Return the exponent of the growth of time for each contest and program with several sizes."""
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
    """Run every program of a contest in a separate process at its largest size; return MiB for each."""
    found = {}
    for program in contest.programs:
        command = [sys.executable, script, "--memory", contest.name, program, *(["--quick"] if quick else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{contest.name}: {program} failed when it ran alone")
        found[program] = json.loads(done.stdout)
    return found


def memory_of(work: Callable[[], object]) -> dict[str, float]:
    """Return the peak resident memory of this process during ``work``, and the part that ``work`` added, in MiB."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        # Returns free memory to the system; reused, it would not appear as added.
        ctypes.CDLL(None).malloc_trim(0)
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if reset.exists():
        # Resets the peak: preparing the data may have needed more memory than the work.
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
    """Return the memory of one run of a program at its largest size."""
    work = contest.programs[program]
    run(work, contest.prepare(contest.sizes[0]))  # loads the modules
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
    """Return the directory for data that takes long to create; it is removed at the end of the benchmark."""
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
    """Run the command line of a benchmark: measure, print a table, and write JSON with ``--json``.

    The exit status is 0 even if a limit is missed, which the table shows. It is not 0 if a program fails, or if the
    results of the programs of a contest differ.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    parser.add_argument("--only", default="", metavar="TEXT", help="contests whose name holds TEXT; no figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        # Restart, because the script has loaded libraries already, which read the variable when they are loaded.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": "1"})
    everything = contests(given.quick)
    if given.memory:
        name, program = given.memory
        print(json.dumps(_memory(next(each for each in everything if each.name == name), program)))
        return
    chosen = [each for each in everything if given.only in each.name]
    with tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as folder:
        # See `files`; the processes that measure memory use the same directory.
        os.environ.setdefault("KTRDR_BENCH_FILES", folder)
        found = document(
            script, chosen, None if given.only else figures, given.quick, lambda text: print(text, file=sys.stderr)
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    from tables import show

    show(found)

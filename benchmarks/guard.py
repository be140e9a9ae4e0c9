"""Fails if a program has become more than twice as slow against its peer as recorded, or if a limit is exceeded.

    python benchmarks/guard.py              compare with benchmarks/baseline.json; status 1 if something is slower
    python benchmarks/guard.py --record     write benchmarks/baseline.json, the medians of three measurements

The compared number is a ratio: our CPU time over that of a peer, both the best of several turns in alternation in the
same process, at a size that takes milliseconds. A busy or slow machine affects both. A program that is too slow is
measured a second time before it counts, because a real slowdown is there the second time too.

A limit is a number of an issue or of the documentation: seconds, memory, or a ratio within one run. If it varies
between runs, the measured value may be up to ``SLACK`` times the limit. A limit that is exceeded is measured a second
time too. Seconds are those of the machine of the documentation: where two cores do the same work more slowly while this
runs, a limit in seconds is longer by that factor.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import verdict
from harness import Contest, find, measure, reported
from twin_limits import MOST_BESIDE_TORCH, MOST_MILLISECONDS
from two_cores import slowness

__all__ = ["BASELINE", "LIMITS", "PAIRS", "Limit", "Pair", "too_slow"]

BASELINE = Path(__file__).with_name("baseline.json")
ALLOWED = 2.0
SLACK = 1.3
# Of a bare loop beside a stack without evaluation: on machines of the same description members were 19 to 27 times
# cheaper in batches of 32, as the overhead of the loop and the arithmetic of the stack do not change alike.
SLACK_OF_PROCESSORS = 1.6


@dataclass(frozen=True, slots=True)
class Pair:
    """One of our programs and one peer: a contest of a script, at one size."""

    script: str
    contest: str
    peer: str
    size: int
    rounds: int

    @property
    def name(self) -> str:
        """Key in the baseline."""
        return f"{self.script}: {self.contest}, {self.size:,}, beside {self.peer}"


PAIRS = (
    Pair("startup", "ktrdr --help", "import click, importlib_metadata", 1, 7),
    Pair("startup", "import of the API", "import fastapi, uvicorn, pydantic_settings, sqlalchemy", 1, 2),
    Pair("data", "import of a CSV file", "pandas.read_csv", 50_000, 3),
    Pair("data", "reading stored bars", "DuckDB alone", 200_000, 5),
    Pair("indicators", "indicators of TA-Lib", "TA-Lib", 20_000, 7),
    Pair("features", "membership, triangular", "scikit-fuzzy", 100_000, 15),
    Pair("features", "membership, bell", "scikit-fuzzy", 100_000, 15),
    Pair("features", "features: 4 indicators, 12 memberships", "TA-Lib and scikit-fuzzy", 50_000, 7),
    Pair("labels", "first touch, 200 bars ahead", "row by row", 5_000, 5),
    Pair("training", "training, mlp 64x32, batches of 32", "bare loop", 1_400, 3),
    Pair("training", "training, mlp 64x32, batches of 1,024", "bare loop", 50_000, 3),
    Pair("training", "training, lstm 64x2, 20 steps, batches of 32", "bare loop", 300, 3),
    Pair("training", "prediction, mlp", "bare forward", 50_000, 5),
    Pair("training", "prediction, lstm", "bare forward", 1_000, 3),
    Pair("rules", "training, anfis, 16 rules", "bare least squares", 2_000, 5),
    Pair("inference_trees", "trees, gradient boosting, 100 rounds", "scikit-learn", 20_000, 2),
    Pair("inference_trees", "trees, forest, 100 trees", "scikit-learn", 20_000, 2),
    Pair("simulation", "simulation, 10,000 orders per million bars", "backtesting.py", 10_000, 3),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """A measurement, its limit, and the factor by which it may exceed the limit."""

    name: str
    unit: str
    at_most: float
    measure: Callable[[], float]
    slack: float = SLACK


def memory_of_features() -> float:
    """Return the peak memory of features of 200,000 bars, over four times the output plus the input."""
    from features import strategy_of_four
    from made_up import random_walk

    from ktrdr.core.features.pipeline import FeaturePipeline

    bars = random_walk(200_000)
    pipeline = FeaturePipeline(strategy_of_four())
    tracemalloc.start()
    try:
        output = pipeline.transform({"1m": bars}).values
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak / (4 * output.nbytes + 6 * 8 * len(bars))


def growth_of_trials() -> float:
    """Return the factor by which queries of a ledger of trials take longer with ten times as many rows."""
    from trials import growth

    # Few spans, so that even with few rows each span has as many rows as a count reads.
    return growth(2_000, 20_000, 10)


def import_beside_duckdb() -> float:
    """Return the CPU time of an import of 300,000 bars over that of DuckDB with the types given, both one thread."""
    from data import import_ratio

    return import_ratio(300_000, 3)


def cell_of_three_months() -> float:
    """Return the CPU time of a cell of a sweep over three months of hourly bars, in bare loops."""
    return _cell_in_loops(1_545, 120)


def cell_of_200_000_bars() -> float:
    """Return the CPU time of a cell of a sweep over 200,000 bars with 500 trades, in bare loops."""
    return _cell_in_loops(200_000, 1_500)


def _cell_in_loops(bars: int, signals: int) -> float:
    """Return the CPU time of a cell by that of a loop of 20,000 steps: milliseconds depend on the machine."""
    from sweep import cell_milliseconds

    def loop() -> float:
        began, total = time.process_time(), 0.0
        for number in range(20_000):
            total += number * 0.5
        return (time.process_time() - began) * 1000

    before = min(loop() for _ in range(50))
    cell = cell_milliseconds(bars, signals)[0]
    return cell / min(before, *(loop() for _ in range(50)))


def one_operation() -> float:
    """Return the CPU time of a read of one operation over that of a bare route of FastAPI."""
    from api_load import beside_bare

    return beside_bare()["one"]


def list_of_operations() -> float:
    """Return the CPU time of a list of 50 operations over that of a bare route of FastAPI."""
    from api_load import beside_bare

    return beside_bare()["list"]


def slow_reads() -> float:
    """Return the 99th percentile of the latency of reads over the median, with 50 clients."""
    from api_load import slowest_beside_median

    return slowest_beside_median()


def help_beside_click() -> float:
    """Return the CPU time of `ktrdr --help` over that of the import of click."""
    from startup import help_beside_click

    return help_beside_click()


@functools.cache
def short_backtest() -> dict[str, float]:
    """Return CPU seconds of `ktrdr backtest` of the demo, and time and peak memory beside those of the libraries."""
    import short_backtest

    # Alone: the peak of a process cannot be told from that of the guard, which has imported the frameworks.
    return reported(short_backtest.__file__, "figures_of_demo()")


def second_start_of_demo() -> float:
    """Return the CPU seconds from the call of the demo's second training to its first epoch, imports apart."""
    from second_start import seconds_of_demo

    return seconds_of_demo()


def second_preparation() -> float:
    """Return the CPU time of the preparation of a second training on 300,000 bars over that of one without cache."""
    from second_start import beside_first

    return beside_first(300_000)


def member_beside_loop(kind: int) -> float:
    """Return the CPU time of an epoch of one of 64 members over that of a bare loop, for one of the kinds."""
    from populations import KINDS, cost_of_member

    return cost_of_member(KINDS[kind])


@functools.cache
def thousand_trainings() -> dict[str, float]:
    """Return seconds and peak GB of a thousand trainings of the demo, in a process of their own."""
    import populations

    return reported(populations.__file__, "thousand_trainings()")


@functools.cache
def evaluation() -> dict[str, float]:
    """Return the seconds of an evaluation of the demo, and its time over that of its trainings, in a new process."""
    import evaluation as script

    found = reported(script.__file__, "whole_evaluation()")
    return {"seconds": found["seconds"], "beside_training": found["seconds"] / found["training"]}


def quick_verdict() -> float:
    """Return the seconds of a quick verdict on the demo's strategy, in a new process."""
    return float(reported(verdict.__file__, "whole_verdict(quick=True)"))


def trees_in_a_new_process() -> float:
    """Return the CPU time of 20,000 rows of gradient boosting with all imports, over that of scikit-learn."""
    from inference_trees import BOOSTING, SKLEARN, SMALL, started

    return ratio(Pair("inference_trees", started(BOOSTING), SKLEARN, SMALL, 2))


def deep_trees() -> float:
    """Return the CPU time of 20,000 rows of 300 deep trees over that of scikit-learn."""
    from inference_trees import DEEP, SKLEARN, SMALL, within

    return ratio(Pair("inference_trees", within(DEEP), SKLEARN, SMALL, 2))


def check_of_trees() -> float:
    """Return the CPU seconds of the check of a twin of 1.3 million nodes."""
    from inference_trees import check_seconds

    return check_seconds()


def twin_beside_torch(name: str) -> float:
    """Return the CPU time of the twin of a network over that of torch."""
    from inference_networks import MODELS, TORCH, within

    return ratio(Pair("inference_networks", within(name), TORCH, MODELS[name].sizes[0] * 5, 7))


def one_row_of_an_lstm() -> float:
    """Return the CPU milliseconds of one prediction of the twin of an lstm."""
    from inference_networks import milliseconds_of_one

    return milliseconds_of_one("lstm")


# Measurements that several limits read.
_CACHED = tuple(each for each in list(globals().values()) if hasattr(each, "cache_clear"))

LIMITS = (
    # Without slack: the allocations of Python are equal in each run.
    Limit(
        "memory of features beside four times the output plus the input", "times", 1.0, memory_of_features, slack=1.0
    ),
    # It would be 10 if all rows were read; more than 1 because of deeper indexes.
    Limit("counting and listing 20,000 trials beside 2,000", "times", 1.2, growth_of_trials),
    Limit("import of 300,000 bars beside DuckDB's typed read and COPY", "times", 2.0, import_beside_duckdb),
    Limit("ktrdr --help beside the import of click", "times", 2.2, help_beside_click),
    Limit(
        "ktrdr backtest of the demo beside numpy, duckdb and pydantic",
        "times",
        3.5,
        lambda: short_backtest()["ratio"],
    ),
    # 130 MB beside 54: how much of a library's file is mapped differs between environments, by a fifth.
    Limit("peak memory of the same", "times", 130 / 54, lambda: short_backtest()["memory"], slack=1.1),
    Limit("start of the demo's second training beyond imports", "CPU seconds", 0.3, second_start_of_demo),
    Limit("preparation of a second training, 300,000 bars, beside one without cache", "times", 0.5, second_preparation),
    Limit(
        "one of 64 members beside a bare loop: mlp, batches of 32",
        "times",
        1 / 25,
        partial(member_beside_loop, 0),
        SLACK_OF_PROCESSORS,
    ),
    Limit(
        "one of 64 members beside a bare loop: mlp, batches of 64",
        "times",
        1 / 15,
        partial(member_beside_loop, 1),
        SLACK_OF_PROCESSORS,
    ),
    Limit("the same with evaluation: mlp, batches of 32", "times", 1 / 15, partial(member_beside_loop, 2)),
    Limit("the same with evaluation: mlp, batches of 64", "times", 1 / 10, partial(member_beside_loop, 3)),
    Limit("one of 64 members beside a bare loop: anfis, 27 rules", "times", 1 / 10, partial(member_beside_loop, 4)),
    Limit("1,000 trainings of the demo, 26 epochs, two cores", "s", 60.0, lambda: thousand_trainings()["seconds"]),
    Limit("peak memory of the same", "GB", 1.5, lambda: thousand_trainings()["gigabytes"], slack=1.0),
    Limit("an evaluation of 75 trainings, two years of hours, two cores", "s", 40.0, lambda: evaluation()["seconds"]),
    Limit("the same beside its trainings", "times", 1 / 0.7, lambda: evaluation()["beside_training"], slack=1.0),
    Limit("a quick verdict, two years of hours, two cores", "s", verdict.QUICK, quick_verdict),
    *(
        Limit(f"twin beside torch: {name}", "times", at_most, partial(twin_beside_torch, name))
        for name, at_most in MOST_BESIDE_TORCH.items()
    ),
    Limit(
        "one row of the twin of an lstm, two layers of 64 units, 20 steps",
        "CPU ms",
        MOST_MILLISECONDS,
        one_row_of_an_lstm,
    ),
    Limit("300 deep trees of a twin, 20,000 rows, beside scikit-learn", "times", 6.0, deep_trees),
    Limit("20,000 rows of boosting in a new process, beside scikit-learn", "times", 1.0, trees_in_a_new_process, 1.0),
    Limit("check of a twin of 1.3 million nodes", "CPU seconds", 0.5, check_of_trees),
    Limit("a cell of a sweep, 1,545 bars, beside a loop of 20,000 steps", "times", 3.5, cell_of_three_months),
    Limit("a cell of a sweep, 200,000 bars and 500 trades, beside the same", "times", 17.5, cell_of_200_000_bars),
    Limit("one operation of the API beside a bare route of FastAPI", "times", 4.0, one_operation),
    Limit("a list of 50 operations beside a bare route of FastAPI", "times", 8.0, list_of_operations),
    Limit("99 % of reads within, beside the median, 50 clients, 2,000 operations", "times", 4.0, slow_reads),
)


def ratio(pair: Pair) -> float:
    """Return our best CPU time over that of the peer."""
    contests: Sequence[Contest] = import_module(pair.script).contests(False)
    whole = next(each for each in contests if each.name == pair.contest)
    contest = Contest(
        whole.name,
        {whole.ours: whole.programs[whole.ours], pair.peer: whole.programs[pair.peer]},
        whole.prepare,
        (pair.size,),
        rounds=pair.rounds,
    )
    rows = measure(contest)
    mine, theirs = (find(rows, whole.name, program)["cpu"]["best"] for program in contest.programs)
    return mine / theirs


def too_slow(found: Mapping[str, float], recorded: Mapping[str, float], allowed: float = ALLOWED) -> dict[str, str]:
    """Return name -> problem for every ratio that is more than ``allowed`` times the recorded one.

    A ratio that was measured but is not recorded, or the reverse, is a problem too.
    """
    wrong = {}
    for name in {**recorded, **found}:
        if name not in found:
            wrong[name] = "is recorded but was not measured"
        elif name not in recorded:
            wrong[name] = (
                "is not recorded: run `python benchmarks/guard.py --record` and commit benchmarks/baseline.json"
            )
        elif not found[name] <= allowed * recorded[name]:
            wrong[name] = (
                f"takes {found[name]:.2f} times as long as the peer, more than {allowed:g} times the recorded"
                f" {recorded[name]:.2f}"
            )
    return wrong


def main() -> None:
    """Measure and compare, or record the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": "1"})
    with tempfile.TemporaryDirectory(prefix="ktrdr-guard-") as folder:
        os.environ["KTRDR_BENCH_FILES"] = folder
        if given.record:
            record()
        else:
            slower = compare(json.loads(BASELINE.read_text(encoding="utf-8")))
            sys.exit(bool(exceeded(LIMITS)) or bool(slower))


def record() -> None:
    """Write the baseline."""
    found: dict[str, list[float]] = {pair.name: [] for pair in PAIRS}
    for _ in range(3):
        for pair in PAIRS:
            found[pair.name].append(ratio(pair))
            print(f"{pair.name}: {found[pair.name][-1]:.3f}", flush=True)
    middle = {name: round(statistics.median(values), 4) for name, values in found.items()}
    BASELINE.write_text(json.dumps(middle, indent=1) + "\n", encoding="utf-8")


def compare(recorded: Mapping[str, float]) -> dict[str, str]:
    """Measure every pair, slow ones twice, and print the comparison; return the problems."""
    found = {}
    for pair in PAIRS:
        began = time.perf_counter()
        found[pair.name] = ratio(pair)
        if found[pair.name] > ALLOWED * recorded.get(pair.name, math.inf):
            found[pair.name] = min(found[pair.name], ratio(pair))
        took, before = time.perf_counter() - began, recorded.get(pair.name, math.nan)
        print(f"{found[pair.name]:6.3f}, recorded {before:6.3f}  {pair.name} ({took:.1f} s)", flush=True)
    wrong = too_slow(found, recorded)
    for name, what in wrong.items():
        print(f"SLOWER: {name} {what}")
    print(f"{len(found) - len(wrong)} of {len(found)} pairs are within {ALLOWED:g} times what was recorded")
    return wrong


def _within(limit: Limit, found: float, slower: float = 1.0) -> bool:
    # NaN exceeds the limit too, and so does 0: then nothing was measured.
    return 0 < found <= limit.slack * limit.at_most * slower


def exceeded(limits: Sequence[Limit]) -> list[str]:
    """Measure and print every limit; return the names of those that are exceeded."""
    broken = []
    for limit in limits:
        found, slower = limit.measure(), 1.0
        if not _within(limit, found):
            for function in _CACHED:
                function.cache_clear()
            again = limit.measure()
            found = again if math.isnan(found) else min(found, again)
            if limit.unit == "s" and not _within(limit, found):
                slower = slowness()
        allowed = f"{limit.slack:g} times {limit.at_most:g}"
        if slower > 1:
            allowed += f", and {slower:.2f} times as long, because these cores are slower"
        print(f"{found:6.3f} {limit.unit}, at most {allowed}  {limit.name}", flush=True)
        if not _within(limit, found, slower):
            print(f"EXCEEDED: {limit.name}: {found:.3f} {limit.unit} is not between 0 and {allowed}")
            broken.append(limit.name)
    print(f"{len(limits) - len(broken)} of {len(limits)} limits hold")
    return broken


if __name__ == "__main__":
    main()

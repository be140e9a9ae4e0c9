"""The simulation against vectorbt and backtesting.py, on the same orders, and its growth with bars.

Run with `python benchmarks/simulation.py`; both peers must be installed (`pip install vectorbt backtesting`), they are
no dependencies of ours. Programs take turns, every time is a median; all are of one thread, so where other programs
keep the cores busy, the CPU time says more than the clock. The compared runs end with the same equity, or the benchmark
fails. vectorbt is measured twice: its simulation alone, which leaves equity and trades to be computed later, and with
both, which is what ours returns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ktrdr.core.backtesting.decisions import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, Simulation, simulate
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.strategy.model import PriceDistance, Risk, Sizing

UNITS = 1000.0
CAPITAL = 10_000.0
COMMISSION = 0.000_02
FREE = Risk(sizing=Sizing(type="fixed_units", value=UNITS))
BOUNDED = FREE.model_copy(
    update={
        "stop_loss": PriceDistance(kind="percent", value=0.2),
        "take_profit": PriceDistance(kind="percent", value=0.4),
    }
)

FIRST_CALL = """
import sys, time
sys.path.insert(0, {folder!r})
import simulation{peer}
bars, direction = simulation.case({bars})
times = []
for _ in range(4):
    begin = time.perf_counter()
    simulation.{function}(bars, direction)
    times.append(time.perf_counter() - begin)
print(times[0], min(times[1:]))
"""


def case(n: int, orders_per_million: int = 10_000) -> tuple[Bars, np.ndarray]:
    """Return a random walk of one-minute bars, and signals to buy and to sell in turns at random bars."""
    random = np.random.default_rng(0)
    close = 1.1 * np.exp(np.cumsum(random.normal(0, 1e-4, n)))
    opened = np.concatenate((close[:1], close[:-1]))
    bars = Bars(
        "EURUSD",
        Timeframe("1m"),
        np.datetime64("2015-01-01", "ns") + np.arange(n) * np.timedelta64(60, "s"),
        opened,
        np.maximum(opened, close) * 1.0001,
        np.minimum(opened, close) * 0.9999,
        close,
        np.full(n, np.nan),
    )
    direction = np.zeros(n, dtype=np.int8)
    # An even number, so that nothing is open at the end: there the programs differ.
    chosen = np.sort(random.choice(np.arange(10, n - 10), n * orders_per_million // 2_000_000 * 2, replace=False))
    direction[chosen[::2]], direction[chosen[1::2]] = 1, -1
    return bars, direction


def ours(bars: Bars, direction: np.ndarray, risk: Risk = FREE) -> Simulation:
    """Trades and the equity at every bar."""
    return simulate(
        [Market(bars, direction)], rules=SignalRules(), risk=risk, capital=CAPITAL, costs=Costs(COMMISSION, 0.0)
    )


def vectorbt_alone(bars: Bars, direction: np.ndarray) -> Any:
    """The call that simulates, signals shifted to the next bar."""
    import vectorbt

    shifted = np.concatenate((direction[:1] * 0, direction[:-1]))
    return vectorbt.Portfolio.from_signals(
        bars.close,
        entries=shifted > 0,
        exits=shifted < 0,
        price=bars.open,
        size=UNITS,
        fees=COMMISSION,
        init_cash=CAPITAL,
        direction="longonly",
        freq="1min",
    )


def vectorbt_with_results(bars: Bars, direction: np.ndarray) -> tuple[Any, Any, Any]:
    """The same, with trades and the equity at every bar."""
    portfolio = vectorbt_alone(bars, direction)
    return portfolio, portfolio.value(), portfolio.trades.records


def backtesting_py(bars: Bars, direction: np.ndarray) -> Any:
    """The loop over bars, with trades and the equity at every bar."""
    import backtesting
    import pandas

    # Its progress bar is no part of the work.
    backtesting.backtesting._tqdm = lambda bars, **_: bars
    signals = direction.tolist()

    class Follow(backtesting.Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            signal = signals[len(self.data) - 1]
            if signal > 0 and not self.position:
                self.buy(size=UNITS)
            elif signal < 0 and self.position:
                self.position.close()

    frame = pandas.DataFrame(
        {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close},
        index=pandas.DatetimeIndex(bars.time),
    )
    return backtesting.Backtest(frame, Follow, cash=CAPITAL, commission=COMMISSION).run()


def seconds(work: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Return the wall time and the CPU time of one run."""
    begin, used = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - begin, time.process_time() - used


def medians(taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median wall time and the median CPU time."""
    wall, cpu = zip(*taken, strict=True)
    return statistics.median(wall), statistics.median(cpu)


def check_equal(bars: Bars, direction: np.ndarray, programs: dict[str, Callable[..., Any]]) -> int:
    """Warm every program up; fail unless all end with the same equity. Returns the number of orders."""
    mine = programs["ktrdr"](bars, direction)
    finals = {"ktrdr": float(mine.equity[-1])}
    for name, program in programs.items():
        if name == "vectorbt":
            finals[name] = float(program(bars, direction).final_value())
        elif name == "backtesting.py":
            finals[name] = float(program(bars, direction)["Equity Final [$]"])
        elif name != "ktrdr":
            program(bars, direction)
    for name, final in finals.items():
        if abs(final / finals["ktrdr"] - 1) > 1e-6:
            raise SystemExit(f"{name} ends with {final}, ktrdr with {finals['ktrdr']}: they did not do the same work")
    return 2 * len(mine.trades)


def compared(bars: int, rounds: int, slow_rounds: int) -> dict[str, Any]:
    """Time all programs in turns."""
    given = case(bars)
    programs: dict[str, Callable[..., Any]] = {
        "ktrdr": ours,
        "vectorbt": vectorbt_alone,
        "vectorbt with results": vectorbt_with_results,
        "backtesting.py": backtesting_py,
    }
    orders = check_equal(*given, programs)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for number in range(rounds):
        for name, program in programs.items():
            if name != "backtesting.py" or number < slow_rounds:
                times[name].append(seconds(program, *given))
    middle = {name: medians(taken) for name, taken in times.items()}
    wall, cpu = middle["ktrdr"]
    return {
        "bars": bars,
        "orders": orders,
        "programs": {
            name: {
                "rounds": len(times[name]),
                "seconds": taken[0],
                "cpu_seconds": taken[1],
                "ratio": taken[0] / wall,
                "cpu_ratio": taken[1] / cpu,
            }
            for name, taken in middle.items()
        },
    }


def first_call(function: str, peer: str, bars: int) -> dict[str, float]:
    """Time the first call in a new interpreter, and the best of the next three."""
    folder = __file__.rpartition("/")[0] or "."
    code = FIRST_CALL.format(folder=folder, bars=bars, function=function, peer=peer)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, later = (float(text) for text in answer.stdout.split())
    return {"first": first, "later": later}


def growth(bars: int, rounds: int) -> list[dict[str, Any]]:
    """Time ours at three lengths, with and without stops and targets, and its memory at the longest."""
    results = []
    for name, risk in (("signals only", FREE), ("stop and target", BOUNDED)):
        lengths = (bars // 5, bars * 2 // 5, bars)
        cases = {length: case(length) for length in lengths}
        taken: dict[int, list[tuple[float, float]]] = {length: [] for length in lengths}
        for _ in range(rounds):
            for length in lengths:
                taken[length].append(seconds(ours, *cases[length], risk))
        times = {length: medians(taken[length])[1] for length in lengths}
        tracemalloc.start()
        ours(*cases[bars], risk)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        results.append({"case": name, "cpu_seconds": times, "peak_mib": peak / 2**20})
    return results


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000, help="bars of the comparison")
    parser.add_argument("--rounds", type=int, default=15, help="turns of the fast programs")
    parser.add_argument("--slow-rounds", type=int, default=3, help="turns of backtesting.py")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")  # those of the peers about dates and margins
    result = {
        "compared": compared(given.bars, given.rounds, given.slow_rounds),
        "first_call": {
            "ktrdr": first_call("ours", "", given.bars),
            "vectorbt": first_call("vectorbt_alone", ", vectorbt", given.bars),
        },
        "growth": growth(5 * given.bars, 5),
    }
    if given.json:
        json.dump(result, sys.stdout, indent=2)
        return
    side = result["compared"]
    print(f"{side['bars']:,} bars, {side['orders']:,} orders, median (aim: 3x vectorbt, 20x backtesting.py)")
    for name, row in side["programs"].items():
        print(
            f"  {name:<22} {row['seconds'] * 1e3:9.1f} ms {row['ratio']:6.1f}x   CPU {row['cpu_seconds'] * 1e3:9.1f} ms"
            f" {row['cpu_ratio']:6.1f}x   ({row['rounds']} rounds)"
        )
    print("First call in a new interpreter, imports done, and the best of the next three")
    for name, times in result["first_call"].items():
        print(f"  {name:<22} {times['first'] * 1e3:10.1f} ms, then {times['later'] * 1e3:.1f} ms")
    print("Growth of ktrdr with bars, CPU time, 10,000 orders per million bars")
    for row in result["growth"]:
        text = ", ".join(f"{length:,}: {taken * 1e3:.0f} ms" for length, taken in row["cpu_seconds"].items())
        print(f"  {row['case']:<22} {text}; peak {row['peak_mib']:.0f} MiB beyond the bars")


if __name__ == "__main__":
    main()

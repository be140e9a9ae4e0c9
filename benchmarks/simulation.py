"""The simulation against vectorbt and backtesting.py on the same orders, and its growth with the number of bars.

    python benchmarks/simulation.py [--quick] [--only TEXT] [--json FILE]

The benchmark fails if the compared runs do not end with the same equity. vectorbt is measured twice: the simulation
alone, which computes equity and trades only later, and with both, which ours returns. The times do not include its
compilation; the figures contain the times of first calls.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from harness import Contest, Figure, find, main, reported
from made_up import random_walk

from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, Simulation, simulate
from ktrdr.core.data.bars import Bars
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
SIDE_BY_SIDE = "simulation, 10,000 orders per million bars"
Case = tuple[Bars, np.ndarray]


def case(n: int) -> Case:
    """Return bars, and alternating signals to buy and to sell at random bars."""
    bars = random_walk(n)
    direction = np.zeros(n, dtype=np.int8)
    # An even number, so that no position is open at the end, which the programs treat differently.
    random = np.random.default_rng(1)
    chosen = np.sort(random.choice(np.arange(10, n - 10), n // 200 * 2, replace=False))
    direction[chosen[::2]], direction[chosen[1::2]] = 1, -1
    return bars, direction


def ours(given: Case, risk: Risk = FREE) -> Simulation:
    """Return trades and the equity at every bar."""
    return simulate([Market(*given)], rules=SignalRules(), risk=risk, capital=CAPITAL, costs=Costs(COMMISSION, 0.0))


def vectorbt_alone(given: Case) -> Any:
    """Run the simulation of vectorbt, with signals shifted to the next bar."""
    import vectorbt

    bars, direction = given
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


def vectorbt_with_results(given: Case) -> tuple[Any, Any, Any]:
    """Run the simulation of vectorbt, and compute trades and the equity at every bar."""
    portfolio = vectorbt_alone(given)
    return portfolio, portfolio.value(), portfolio.trades.records


def backtesting_py(given: Case) -> Any:
    """Run the loop over bars of backtesting.py, with trades and the equity at every bar."""
    import backtesting
    import pandas

    bars, direction = given

    # Without its progress bar.
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


def agree(given: Case) -> None:
    """Fail unless all end with the same equity; backtesting.py is run only for up to 100,000 bars."""
    mine = float(ours(given).equity[-1])
    finals = {"vectorbt": float(vectorbt_with_results(given)[1].iloc[-1])}
    if len(given[0]) <= 100_000:
        finals["backtesting.py"] = float(backtesting_py(given)["Equity Final [$]"])
    for name, final in finals.items():
        if abs(final / mine - 1) > 1e-6:
            raise SystemExit(f"{name} ends with {final}, ktrdr with {mine}: they did not do the same work")


def first_calls(function: str, size: int) -> list[float]:
    """Return the seconds of the first call in this process, after imports, and of the best of the next three."""
    warnings.filterwarnings("ignore")
    program: Callable[[Case], object] = globals()[function]
    if function != "ours":
        import vectorbt  # noqa: F401
    given, times = case(size), []
    for _ in range(4):
        began = time.perf_counter()
        program(given)
        times.append(time.perf_counter() - began)
    return [times[0], min(times[1:])]


def contests(quick: bool) -> list[Contest]:
    """Return the contests: the comparison, and longer runs of ours with and without stops and targets."""
    warnings.filterwarnings("ignore")  # warnings of the peers about dates and margins
    programs: dict[str, Callable[[Case], object]] = {
        "ktrdr": ours,
        "vectorbt": vectorbt_alone,
        "vectorbt with results": vectorbt_with_results,
        "backtesting.py": backtesting_py,
    }
    if quick:
        del programs["vectorbt with results"]  # its compilation takes longer than everything else
    found = [
        Contest(
            SIDE_BY_SIDE,
            programs,
            case,
            sizes=(1_000, 2_000, 4_000) if quick else (100_000, 300_000, 1_000_000),
            unit="bars",
            check=None if quick else agree,
            rounds=2 if quick else 9,
            few={"backtesting.py": 1 if quick else 2},
        )
    ]
    for name, risk in (("signals only", FREE), ("stop and target", BOUNDED)):
        found.append(
            Contest(
                name,
                {"ktrdr": partial(ours, risk=risk)},
                case,
                sizes=(1_000, 2_000, 4_000) if quick else (1_000_000, 2_000_000, 5_000_000),
                unit="bars",
                group="simulation of up to 5 million bars",
                rounds=2 if quick else 3,
                memory=not quick,
            )
        )
    return found


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the ratios with their limits, and the times of first calls."""
    if quick:
        return
    for program, least in (("vectorbt", 3.0), ("vectorbt with results", None), ("backtesting.py", 20.0)):
        row = find(rows, SIDE_BY_SIDE, program)
        yield Figure(
            f"{program} beside ours", row["ratio_cpu"]["median"], "times", at_least=least, of=f"{row['size']:,} bars"
        )
    for name, function in (("ktrdr", "ours"), ("vectorbt", "vectorbt_alone")):
        first, later = reported(__file__, f"first_calls({function!r}, 100_000)")
        yield Figure(f"first call of {name}, 100,000 bars", first, "s", of="a new process")
        yield Figure(f"next calls of {name}, 100,000 bars", later, "s", of="a new process")


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

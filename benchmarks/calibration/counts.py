"""The tables of the page: what share of the worlds got which word."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

from scipy.stats import binomtest
from tables import markdown

from calibration.judging import TRIALS
from calibration.processes import EDGES, NO_DIRECTION
from calibration.worlds import FALSE_ALARMS, LONG, PERIODS, POWER, SHARPES, WORLDS, planned, strengths_of
from ktrdr.core.backtesting.metrics.sharpe import expected_maximum
from ktrdr.core.limits import FEWEST_TRADES
from ktrdr.core.verdicts.deflation import LEAST_PROBABILITY
from ktrdr.core.verdicts.verdict_result import EXIT_STATUS

__all__ = ["BLOCKS", "at_least", "broken", "false_alarms", "in_theory", "power", "verdicts_of"]

WORDS = tuple(EXIT_STATUS)
MOST_FALSE_ALARMS = 0.05
"""What the lower bound of the share of EDGE may be where no direction can be predicted."""
LEAST_POWER = {("3 years of hours", 2): 0.8}
"""Least share of EDGE by period and Sharpe ratio, with one trial."""
_ACTIVE = f"with {FEWEST_TRADES} trades or more"
_NORMAL = NormalDist()


def at_least(count: int, worlds: int) -> float:
    """Return the lower 95 % bound of a share, on one side (C. J. Clopper and E. S. Pearson, Biometrika, 1934)."""
    return float(binomtest(count, worlds, alternative="greater").proportion_ci(0.95, "exact").low)


def in_theory(sharpe: float, years: float, trials: int) -> float:
    """Return the share of worlds whose deflated probability is at least 95 %, if only luck adds to the Sharpe ratio.

    With independent normal returns, the annual Sharpe ratio of so many years has a standard error of
    ``1 / sqrt(years)`` (A. W. Lo, Financial Analysts Journal, 2002); it has to be above that of the best of the trials
    by the quantile of 95 % of this error (D. H. Bailey and M. Lopez de Prado, Journal of Portfolio Management, 2014).
    """
    return _NORMAL.cdf(sharpe * math.sqrt(years) - expected_maximum(trials) - _NORMAL.inv_cdf(LEAST_PROBABILITY))


def verdicts_of(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines of worlds; the others say which run they belong to."""
    return [line for line in lines if "run" not in line]


def false_alarms(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the families without a predictable direction."""
    every = [row for row in verdicts_of(lines) if row["part"] == FALSE_ALARMS]
    groups = [(family, [row for row in every if row["family"] == family]) for family in NO_DIRECTION]
    table = []
    for name, rows in (*groups, ("all", every), (f"all {_ACTIVE}", _active(every))):
        if rows:
            words = Counter(row["words"][0] for row in rows)
            bound = f"{at_least(words['EDGE'], len(rows)):.1%}"
            shares = (f"{words[word] / len(rows):.1%}" for word in WORDS)
            table.append((name, f"{len(rows):,}", str(words["EDGE"]), bound, *shares))
    return markdown(("family", "worlds", "EDGE, number", "EDGE, at least (95 %)", *WORDS), table)


def power(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the worlds with an edge: the share of EDGE, and in theory, with each number of trials."""
    every = [row for row in verdicts_of(lines) if row["part"] == POWER]
    table = []
    for period in LONG:
        for family in EDGES:
            for sharpe in SHARPES:
                rows = [row for row in every if _cell(row) == (POWER, family, period, sharpe)]
                if rows:
                    found = [
                        f"{sum(row['words'][place] == 'EDGE' for row in rows) / len(rows):.0%}"
                        f" ({in_theory(sharpe, PERIODS[period].years, trials):.0%})"
                        for place, trials in enumerate(TRIALS)
                    ]
                    none = f"{sum(row['words'][0] == 'NONE' for row in rows) / len(rows):.0%}"
                    mean = f"{statistics.fmean(row['sharpe'] or 0.0 for row in rows):.2f}"
                    table.append((period, family, str(sharpe), str(len(rows)), mean, *found, none))
    trials = (f"{number} trial{'' if number == 1 else 's'} (theory)" for number in TRIALS)
    return markdown(("data", "process", "Sharpe", "worlds", "mean found", *trials, "NONE"), table)


def broken(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each promise of a verdict that the results break; a cell that is not complete says nothing.

    Args:
        lines: the results.
    """
    rows, found = verdicts_of(lines), []
    for family in NO_DIRECTION:
        own = [row for row in rows if (row["part"], row["family"]) == (FALSE_ALARMS, family)]
        # Those that hardly trade cannot be EDGE, and would make the share of the others look smaller.
        for name, each in ((family, own), (f"{family}, {_ACTIVE}", _active(own))):
            bound = at_least(_edges(each), len(each)) if len(own) == WORLDS[FALSE_ALARMS] else 0.0
            if bound > MOST_FALSE_ALARMS:
                found.append(f"{name}: at least {bound:.1%} are false alarms, and {MOST_FALSE_ALARMS:.0%} may be")
    for family in EDGES:
        for (period, sharpe), least in LEAST_POWER.items():
            own = [row for row in rows if _cell(row) == (POWER, family, period, sharpe)]
            if len(own) == WORLDS[POWER] and _edges(own) < least * len(own):
                share = f"{_edges(own) / len(own):.0%} of the worlds with a Sharpe ratio of {sharpe} are EDGE"
                found.append(f"{family}, {period}: {share}, and {least:.0%} have to be")
    return found


def _cell(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["part"], row["family"], row["period"], row["target"]


def _edges(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many are EDGE with one trial."""
    return sum(row["words"][0] == "EDGE" for row in rows)


def _active(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those that trade often enough to be EDGE."""
    return [row for row in rows if (row["trades"] or 0) >= FEWEST_TRADES]


def strengths(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the strengths and the seeds."""
    first: dict[tuple[str, ...], int] = {}
    count: Counter[tuple[str, ...]] = Counter()
    for world in planned():
        own = (world.part, world.family, world.period, str(world.sharpe))
        first.setdefault(own, world.seed)
        count[own] += 1
    known = strengths_of()
    table = []
    for own, seed in first.items():
        part, family, period, sharpe = own
        strength = f"{known[family, period][sharpe]:g}" if part == POWER else ""
        table.append(
            (part, family, period, sharpe if strength else "", strength, f"{seed:,} to {seed + count[own] - 1:,}")
        )
    return markdown(("part", "process", "data", "Sharpe", "strength", "seeds"), table)


def run(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the run: commits, versions, machine and time."""
    runs = [line["run"] for line in lines if "run" in line]
    spent = sum(row["seconds"] for row in verdicts_of(lines)) / 3600
    last = runs[-1]
    table = [
        ("commit", ", ".join(f"`{commit}`" for commit in dict.fromkeys(each["commit"] for each in runs))),
        ("worlds", f"{len(verdicts_of(lines)):,} of {len(planned()):,}"),
        ("processor time", f"{spent:.1f} hours"),
        ("date", last["date"]),
        ("machine", f"{last['machine']['cpu']}, {last['machine']['cores']} cores, {last['machine']['python']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in last["versions"].items())),
    ]
    return markdown(("", ""), table)


def _told(made: Callable[[Any], str], lines: Sequence[Mapping[str, Any]]) -> str:
    return made(lines) if verdicts_of(lines) else "No world was judged yet."


BLOCKS: Mapping[str, Callable[[Any], str]] = {
    "false alarms": partial(_told, false_alarms),
    "power": partial(_told, power),
    "strengths": strengths,
    "run": partial(_told, run),
}
"""Blocks of the page, each made of the lines of the results."""

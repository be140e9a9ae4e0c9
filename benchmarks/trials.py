"""The ledger of trials: counts for results and pages for screens, with a million rows.

    python benchmarks/trials.py [--quick] [--only TEXT] [--json FILE]

There is no peer: the question is whether queries take as long with a million rows as with a few. The rows are of 50
symbols and 2,000 spans of bars; three tenths of them are of one symbol and one span. Each has the returns of 120 days.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Contest, Figure, files, find, main

if TYPE_CHECKING:
    from ktrdr.core.trials.look import Look, Span
    from ktrdr.core.trials.trial_ledger import TrialLedger

SYMBOLS, SPANS, CROWDED = 50, 2_000, "CROWDED"
COUNT_SECONDS, PAGE_SECONDS = 0.2, 0.3
GROUP = "a ledger of trials"
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger, and the number of its spans."""

    ledger: TrialLedger
    spans: int


def span_of(number: int, spans: int) -> Span:
    """Return a span of bars: months of one or two symbols; number 0 is the crowded span."""
    from ktrdr.core.trials.look import Span

    if number == 0:
        return Span((CROWDED,), 17_000 * DAY, 17_100 * DAY)
    names = {f"SYMBOL{number % SYMBOLS}", f"SYMBOL{(number * 7) % SYMBOLS}"} if number % 5 == 0 else ()
    start = 16_000 + 3_000 * number // spans
    return Span(tuple(sorted(names)) or (f"SYMBOL{number % SYMBOLS}",), start * DAY, (start + 120) * DAY)


def looks(size: int, spans: int) -> Iterator[list[Look]]:
    """Yield groups of 20,000 looks: three of ten are at the crowded span, and every fourth is a training."""
    import numpy as np

    from ktrdr.core.trials.daily_returns import DailyReturns
    from ktrdr.core.trials.look import Look, digest

    random = np.random.default_rng(1)
    returns = [DailyReturns(17_000, random.normal(0, 0.01, 120).astype(np.float32)) for _ in range(200)]
    strategies = [digest(number) for number in range(5_000)]
    group: list[Look] = []
    for number in range(size):
        trains = number % 4 == 0
        span = span_of(0 if number % 10 < 3 else 1 + number * 31 % (spans - 1), spans)
        strategy = (number // 2) % len(strategies)
        group.append(
            Look(
                kind="training" if trains else "backtest",
                strategy=strategies[strategy],
                text=f"name: strategy {strategy}\n",
                changes={},
                parent=None,
                seed=number // 2,
                training_data="a" * 64,
                data="b" * 64,
                timeframe="1h",
                span=span,
                account={} if trains else {"capital": 10_000.0, "commission": 0.001 * (number % 7)},
                metrics={"sharpe": float(random.normal()), "trades": number % 900, "total_return": 0.01},
                returns=None if trains else returns[number % len(returns)],
                model=f"model/{number}",
            )
        )
        if len(group) == 20_000:
            yield group
            group = []
    if group:
        yield group


def made(place: Path, size: int, spans: int) -> Opened:
    """Return a ledger of ``size`` rows in a directory; create it if it does not exist."""
    from ktrdr.core.trials.trial_database import SQLiteDatabase
    from ktrdr.core.trials.trial_ledger import TrialLedger

    ledger = TrialLedger(SQLiteDatabase(place / "trials.sqlite"))
    if not (place / "done").exists():
        for group in looks(size, spans):
            ledger.record(group)
        (place / "done").touch()
    return Opened(ledger, spans)


def prepare(size: int) -> Opened:
    """Return a ledger of ``size`` rows."""
    return made(files() / f"trials-{size}", size, SPANS)


def count(opened: Opened) -> Any:
    """Count for a result of one symbol."""
    return opened.ledger.count(span_of(7, opened.spans), strategy="a" * 64)


def count_crowded(opened: Opened) -> Any:
    """Count for a result of the crowded bars."""
    return opened.ledger.count(span_of(0, opened.spans))


def count_all(opened: Opened) -> Any:
    """Count for a result that all spans overlap."""
    from ktrdr.core.trials.look import Span

    names = (CROWDED, *(f"SYMBOL{number}" for number in range(SYMBOLS)))
    return opened.ledger.count(Span(names, 0, 30_000 * DAY))


def page(opened: Opened) -> Any:
    """List the newest 20 rows."""
    return opened.ledger.page()


def page_of_symbol(opened: Opened) -> Any:
    """List the newest 20 rows of a symbol."""
    return opened.ledger.page(symbol="SYMBOL7")


def page_of_crowded(opened: Opened) -> Any:
    """List the newest 20 rows of the symbol with the most rows."""
    return opened.ledger.page(symbol=CROWDED)


def page_in_the_middle(opened: Opened) -> Any:
    """List 20 rows of a symbol from the middle of the ledger."""
    return opened.ledger.page(symbol="SYMBOL7", before=opened.ledger.page(limit=1)[0].number // 2)


COUNTS: dict[str, Callable[[Opened], Any]] = {
    "count, one symbol": count,
    "count, the crowded bars": count_crowded,
    "count, all spans": count_all,
}
PAGES: dict[str, Callable[[Opened], Any]] = {
    "newest page": page,
    "newest page of a symbol": page_of_symbol,
    "newest page of the crowded symbol": page_of_crowded,
    "page in the middle": page_in_the_middle,
}


def growth(few: int, many: int, spans: int) -> float:
    """Return the CPU time with many rows over that with few, for the query that grows most."""
    with tempfile.TemporaryDirectory() as folder:
        ledgers = [made(Path(folder) / str(size), size, spans) for size in (few, many)]
        return max(_times(work, *ledgers) for work in (*COUNTS.values(), *PAGES.values()))


def _times(work: Callable[[Opened], Any], few: Opened, many: Opened) -> float:
    # In turns, so that other load on the machine affects both; the first two turns are for warm-up.
    taken = [(_cpu(work, few), _cpu(work, many)) for _ in range(15)][2:]
    return min(many for _, many in taken) / min(few for few, _ in taken)


def _cpu(work: Callable[[Opened], Any], opened: Opened) -> float:
    began = time.process_time()
    work(opened)
    return time.process_time() - began


def contests(quick: bool) -> list[Contest]:
    """Return the contests: counts and pages, without a peer."""
    sizes = (1_000, 3_000, 10_000) if quick else (10_000, 100_000, 1_000_000)
    return [
        Contest(name, {"ktrdr": work}, prepare, sizes, "rows", GROUP, rounds=3 if quick else 7)
        for name, work in {**COUNTS, **PAGES}.items()
    ]


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the times of all queries with their limits."""
    if not quick:
        for names, seconds in ((COUNTS, COUNT_SECONDS), (PAGES, PAGE_SECONDS)):
            for name in names:
                row = find(rows, name, "ktrdr")
                yield Figure(name, row["wall"]["median"], "s", at_most=seconds, of=f"{row['size']:,} rows")


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)

"""Looks that are made up, and ledgers of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span, digest
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

DAY = 86_400


def _look(
    choice: object = 1,
    *,
    kind: str = "backtest",
    sharpe: float | None = 0.5,
    symbols: tuple[str, ...] = ("EURUSD",),
    days: tuple[int, int] = (17_000, 17_010),
    world: str = "",
    **more: Any,
) -> Look:
    trades = kind != "training"
    given: dict[str, Any] = {
        "kind": kind,
        "strategy": digest(["strategy", choice]),
        "text": f"name: strategy {choice}\n",
        "changes": {},
        "parent": None,
        "seed": 1,
        "training_data": "trained on",
        "data": "looked at",
        "timeframe": "1h",
        "span": Span(symbols, days[0] * DAY, days[1] * DAY, world),
        "account": {"capital": 10_000.0} if trades else {},
        "metrics": {"sharpe": sharpe, "trades": 7} if trades else {"accuracy": 0.5},
        "returns": DailyReturns(days[0], np.float32([0.5, -0.25])) if trades else None,
    }
    return Look(**{**given, **more})


@pytest.fixture(scope="session")
def look() -> Callable[..., Look]:
    """Make a look; those of another ``choice`` are of another strategy."""
    return _look


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "trials.sqlite"


@pytest.fixture
def ledger(place: Path) -> TrialLedger:
    """A ledger that is empty."""
    return TrialLedger(SQLiteDatabase(place))


@pytest.fixture
def other(tmp_path: Path) -> TrialLedger:
    """Another one."""
    return TrialLedger(SQLiteDatabase(tmp_path / "other.sqlite"))


@pytest.fixture
def damage(place: Path) -> Callable[..., None]:
    """Execute statements on the ledger's file, as somebody who is not KTRDR."""

    def execute(*statements: str) -> None:
        with closing(sqlite3.connect(place)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return execute


@pytest.fixture(scope="session")
def is_clean() -> Callable[[TrialLedger], bool]:
    """Whether a ledger finds nothing wrong with itself."""
    return lambda ledger: [chain.problem for chain in ledger.verify() if chain.problem] == []

"""The functions of `ktrdr.core.trials`, as Python code calls them."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ktrdr.core.trials as trials
from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.face import stored_trials
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span, digest
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.places import trials_in

DAY = 86_400
FIRST = 17_440  # 2017-10-01


def _look(kind: str = "backtest", **more: Any) -> Look:
    trades = kind != "training"
    given: dict[str, Any] = {
        "kind": kind,
        "strategy": digest("strategy"),
        "text": "name: neuro_mean_reversion\n",
        "changes": {},
        "parent": None,
        "seed": 1,
        "training_data": "trained on",
        "data": "looked at",
        "timeframe": "1h",
        "span": Span(("EURUSD",), FIRST * DAY, (FIRST + 90) * DAY),
        "account": {"capital": 10_000.0} if trades else {},
        "metrics": {"sharpe": 0.81} if trades else {"accuracy": 0.5},
        "returns": DailyReturns(FIRST, np.float32([0.5, -0.25])) if trades else None,
        "model": "neuro_mean_reversion/1" if trades else "neuro_mean_reversion",
    }
    return Look(**{**given, **more})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def recorded() -> TrialLedger:
    """The ledger of the home, with a training and the backtest of its model."""
    ledger = trials_in(None)
    ledger.record([_look("training")])
    ledger.record([_look()])
    return ledger


@pytest.mark.parametrize("name", trials.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(trials, name).__name__ == name


def test_importing_the_room_imports_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import ktrdr.core.trials;"
        "print(*{name.partition('.')[0] for name in sys.modules.keys() - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ktrdr"]


def test_the_count_is_a_function_whatever_was_imported_before() -> None:
    code = "import ktrdr.core.trials.trial_ledger, ktrdr.core.trials as trials; print(callable(trials.count))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_an_empty_home_gives_no_rows_of_the_same_types() -> None:
    empty = trials.list()
    assert empty.empty
    trials_in(None).record([_look(), _look(chosen_among=6, seed=2)])
    full = trials.list()
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert (empty.index.name, empty.index.dtype) == (full.index.name, full.index.dtype) == ("number", np.int64)


def test_the_list_has_what_was_recorded(recorded: TrialLedger) -> None:
    recorded.record([_look("sweep", seed=3, changes={"decisions.confidence_threshold": 0.5}, chosen_among=6)])
    frame = trials.list()
    assert list(frame.index) == [3, 2, 1]
    row = frame.loc[3]
    assert row[
        ["kind", "model", "symbols", "timeframe", "world", "sharpe", "chosen_among", "before_ledger"]
    ].to_dict() == {
        "kind": "sweep",
        "model": "neuro_mean_reversion/1",
        "symbols": "EURUSD",
        "timeframe": "1h",
        "world": "",
        "sharpe": 0.81,
        "chosen_among": 6,
        "before_ledger": False,
    }
    assert row.changes == {"decisions.confidence_threshold": 0.5}
    assert (row.start, row.end) == (pd.Timestamp("2017-10-01", tz="UTC"), pd.Timestamp("2017-12-30", tz="UTC"))
    assert row.ledger == recorded.id
    assert np.isnan(frame.sharpe[1])
    assert frame.chosen_among[[1, 2]].isna().all()


def test_the_list_is_narrowed_as_that_of_the_command_is(recorded: TrialLedger) -> None:
    recorded.record([_look(seed=number, span=Span(("GBPUSD",), 0, DAY)) for number in range(2, 7)])
    assert list(trials.list().index) == [7, 6, 5, 4, 3, 2, 1]
    assert list(trials.list(limit=2).index) == [7, 6]
    assert list(trials.list(limit=2, before=6).index) == [5, 4]
    assert list(trials.list("EURUSD").index) == [2, 1]
    assert list(trials.list("GBPUSD", limit=1, before=4).index) == [3]
    assert trials.list(before=1).empty


@pytest.mark.parametrize("page", [1, 2, 3, 1_000])
def test_a_list_of_many_pages_is_whole(recorded: TrialLedger, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(stored_trials, "_PAGE", page)
    recorded.record([_look(seed=number) for number in range(2, 7)])
    assert list(trials.list().index) == [7, 6, 5, 4, 3, 2, 1]
    assert list(trials.list(limit=5, before=7).index) == [6, 5, 4, 3, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"symbol": "no/symbol"}, "'no/symbol' cannot be a symbol"),
        ({"limit": 0}, "`limit` must be at least 1, not 0"),
        ({"before": -1}, "`before` must be at least 1, not -1"),
    ],
)
def test_a_list_of_what_cannot_be(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        trials.list(**arguments)


@pytest.mark.usefixtures("recorded")
def test_a_symbol_that_is_nearly_one_of_the_ledger_is_told() -> None:
    with pytest.warns(UserWarning, match=r"^no trial looked at bars of EURUSDD, did you mean `EURUSD`\?$"):
        assert trials.list("EURUSDD").empty
    with pytest.warns(UserWarning, match="of EURUSDD, did you mean"):
        assert trials.count(["EURUSDD"], "2017-10-01", "2017-12-31").number == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trials.list("AAPL").empty
        assert trials.count("AAPL", "2017-10-01", "2017-12-31").number == 0


def test_a_row_by_the_first_digits_of_its_id(recorded: TrialLedger) -> None:
    trial = trials.load(trials.list().id[2][:8])
    assert (trial.row.kind, trial.strategy_text, trial.imported, trial.warnings) == (
        "backtest", "name: neuro_mean_reversion\n", False, (),
    )  # fmt: skip
    assert repr(trial) == (
        f"<StoredTrial {trial.row.id}: backtest of neuro_mean_reversion/1 on EURUSD 1h, 2017-10-01 to 2017-12-29, "
        "Sharpe 0.81>"
    )
    with pytest.raises(NotFoundError, match="there is no trial 00000000 in this ledger"):
        trials.load("00000000")
    with pytest.raises(NotFoundError, match="'neuro_mean_reversion' is not the id of a trial"):
        trials.load("neuro_mean_reversion")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("symbols", "start", "end", "number"),
    [
        ("EURUSD", "2017-10-01", "2017-12-31", 1),
        (["GBPUSD", "EURUSD", "EURUSD"], dt.date(2017, 12, 29), dt.date(2017, 12, 29), 1),
        ("EURUSD", dt.datetime(2017, 12, 30, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2018-01-01", 1),
        ("EURUSD", pd.Timestamp("2017-12-30"), pd.Timestamp("2018-01-01"), 0),
        ("EURUSD", "2017-09-01", "2017-09-30", 0),
        (("GBPUSD",), "2017-10-01", "2017-12-31", 0),
    ],
)
def test_trials_are_counted_by_the_days_that_they_looked_at(symbols: Any, start: Any, end: Any, number: int) -> None:
    found = trials.count(symbols, start, end)
    assert found.number == number
    assert found.chosen_among is None


@pytest.mark.parametrize(
    ("symbols", "start", "end", "said"),
    [
        ([], "2017-10-01", "2017-12-31", "`symbols` is empty; name at least one, such as EURUSD"),
        ("no/symbol", "2017-10-01", "2017-12-31", "'no/symbol' cannot be a symbol"),
        ("EURUSD", "1 Oct 2017", "2017-12-31", "`start`: '1 Oct 2017' is not a date: write it as 2017-01-31"),
        ("EURUSD", "2017-10-01", "2017-02-31", "`end`: '2017-02-31' is not a date: .*; write it as 2017-01-31"),
        ("EURUSD", "2017-10-02", "2017-10-01", "the last day, 2017-10-01, is before the first, 2017-10-02; give"),
        ("EURUSD", 2017, 2018, "`start`: '2017' is not a date"),
    ],
)
def test_a_count_of_what_cannot_be(symbols: Any, start: Any, end: Any, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        trials.count(symbols, start, end)


def test_a_count_for_a_model_that_is_not_stored(recorded: TrialLedger) -> None:
    with pytest.raises(NotFoundError, match="there is no model `neuro_mean_reversion`"):
        trials.count("EURUSD", "2017-10-01", "2017-12-31", model="neuro_mean_reversion/1")


def test_a_damaged_ledger_is_told(recorded: TrialLedger, home: Path) -> None:
    import sqlite3
    from contextlib import closing

    row = trials.list().id[1]
    with closing(sqlite3.connect(home / "trials.sqlite")) as connection, connection:
        connection.execute("UPDATE trial_rows SET content = replace(content, '0.5', '0.9') WHERE number = 1")
    (found,) = trials.verify().to_dict("index").values()
    problem = f"row {row} of the ledger of trials was changed"
    assert found == {"own": True, "rows": 2, "state": "broken", "problem": problem}
    with pytest.warns(UserWarning, match=f"^{problem}; `ktrdr trials verify` shows more$"):
        assert len(trials.list()) == 2
    assert trials.load(row).warnings == (
        f"{problem}; `ktrdr trials verify` shows more",
        f"row {row} was changed after it was written",
    )
    assert trials.count("EURUSD", "2017-10-01", "2017-12-31").broken == problem


def test_rows_are_carried_to_another_home(
    recorded: TrialLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.trials"
    assert trials.export(str(file)) == 2
    with pytest.raises(BadInputError, match=r"exists; choose another file, or overwrite it with overwrite=True$"):
        trials.export(file)
    assert trials.export(file, overwrite=True) == 2
    with pytest.raises(BadInputError, match="is the ledger itself"):
        trials.export(tmp_path / "home" / "trials.sqlite", overwrite=True)
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "other"))
    assert trials.import_file(file) == 2
    assert trials.import_file(file) == 0
    assert set(trials.list().ledger) == {recorded.id}
    assert trials.load(trials.list().id.iloc[0]).imported
    checked = trials.verify()
    assert list(checked.own) == [True, False]
    assert list(checked.rows) == [0, 2]
    with pytest.raises(BadInputError, match=r"absent\.trials cannot be read"):
        trials.import_file(tmp_path / "absent.trials")


def test_looks_are_shown_on_a_line() -> None:
    look = _look(model="")
    assert repr(look) == "<Look: backtest on EURUSD 1h, 2017-10-01 to 2017-12-29, Sharpe 0.81>"
    assert repr(_look("training")).endswith("training of neuro_mean_reversion on EURUSD 1h, 2017-10-01 to 2017-12-29>")
    assert repr(look.returns) == "<DailyReturns: 2 days from 2017-10-01>"
    assert repr(look.span) == "<Span EURUSD, 2017-10-01 to 2017-12-29>"
    many = replace(look.span, symbols=tuple(f"SYMBOL{number}" for number in range(999)))
    assert repr(many) == "<Span SYMBOL0 SYMBOL1 SYMBOL2 and 996 more, 2017-10-01 to 2017-12-29>"
    assert len(repr(replace(look, span=many, model="m" * 64))) == 120


@pytest.mark.usefixtures("recorded")
def test_a_row_is_shown_on_a_line() -> None:
    row = trials.load(trials.list().id[1]).row
    about = "training of neuro_mean_reversion on EURUSD 1h, 2017-10-01 to 2017-12-29"
    assert repr(row) == str(row) == f"<TrialRow {row.id}: {about}>"


def test_days_become_the_seconds_from_the_first_to_the_end_of_the_last() -> None:
    span = Span.of_days(["B", "A", "B"], dt.date(1970, 1, 2), dt.date(1970, 1, 3))
    assert span == Span(("A", "B"), DAY, 3 * DAY)
    assert span.days == "1970-01-02 to 1970-01-03"

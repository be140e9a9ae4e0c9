"""What backtests and sweeps say of their bars: jumps that may be no moves of the market, and volume that is missing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting import prepare
from ktrdr.core.backtesting.explanation import explain
from ktrdr.core.backtesting.results import BacktestResult, read_result
from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.backtesting.signals import volume_ratio
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.cli.sweep import print_sweep
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.workflows.run_sweep import sweep

SPLIT = (
    "AAPL 1d: 1 jump looks like a split that prices were not adjusted for: 2005-02-28 00:00 (2 to 1); features, labels"
    " and trades take such a jump for a move of the market: import adjusted prices, or choose dates without it"
)


def of_data(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the warnings that are not of how good the result is, nor of how little there was to judge it by."""
    return tuple(each for each in warnings if not re.search("too few to|is below|the epoch that was kept", each))


@pytest.fixture
def run(bar_store, plugins, ledger) -> Callable[..., BacktestResult]:
    def run_it(bundle: Bundle, *, store: BarStore = bar_store, **settings: Any) -> BacktestResult:
        return run_backtest(
            bundle, bar_store=store, plugins=plugins, trials=ledger, settings=BacktestSettings(**settings)
        )

    return run_it


@pytest.fixture
def lacking(tmp_path: Path) -> Callable[..., BarStore]:
    """Return ``make(rows, volume)``: a store of the sample with this volume, by default none, on some bars."""

    def make(rows: Any, volume: float = np.nan) -> BarStore:
        bars = sample_bars()
        changed = bars.volume.copy()
        changed[rows] = volume
        store = BarStore(tmp_path / "lacking")
        store.write(dataclasses.replace(bars, volume=changed))
        return store

    return make


def in_2005(first: str, last: str) -> dict[str, Any]:
    return {
        "start": dt.date.fromisoformat(f"2005-{first}"),
        "end": dt.date.fromisoformat(f"2005-{last}"),
        "symbols": ("AAPL",),
    }


def with_filter(changed: Callable[..., Bundle], bundle: Bundle, least: float) -> Bundle:
    filters = bundle.strategy.decisions.filters.model_copy(update={"volume_filter": least})
    return changed(bundle, decisions={"filters": filters})


class TestJumps:
    def test_a_split_in_the_traded_bars_is_in_every_form_of_the_result(self, stocks_bundle, run, tmp_path):
        result = run(stocks_bundle, **in_2005("02-01", "04-30"))
        assert SPLIT in result.warnings
        assert SPLIT in result.to_json()["warnings"]
        result.write(tmp_path / "run")
        assert SPLIT in read_result(tmp_path / "run").warnings

    def test_a_split_in_the_warm_up_counts_and_one_before_does_not(self, stocks_bundle, run):
        # The model's warm-up is 15 bars.
        assert SPLIT in run(stocks_bundle, **in_2005("03-10", "04-30")).warnings
        assert SPLIT not in run(stocks_bundle, **in_2005("04-10", "06-30")).warnings
        assert SPLIT not in run(stocks_bundle, **in_2005("01-03", "02-25")).warnings

    def test_a_sweep_says_it_once(self, stocks_bundle, bar_store, plugins, ledger, monkeypatch, capsys):
        looked = []
        honest = prepare.data_warnings
        monkeypatch.setattr(prepare, "data_warnings", lambda *given: looked.append(given) or honest(*given))
        values = {"decisions.confidence_threshold": (0.34, 0.36, 0.4)}
        asked = SweepSettings(settings=values, **in_2005("02-01", "04-30"))
        result = sweep(stocks_bundle, asked, bar_store=bar_store, plugins=plugins, trials=ledger, cache=NO_CACHE)
        result = result.to_json()
        assert (result["warnings"], len(looked)) == ([SPLIT], 1)
        print_sweep(result, 3)
        assert capsys.readouterr().out.count(f"Warning: {SPLIT}.") == 1
        # What a server from before answers.
        print_sweep({key: value for key, value in result.items() if key != "warnings"}, 3)
        assert "Warning" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def with_mfi(train, bundle) -> Bundle:
    return train(bundle.strategy_text.replace("roc_5: {type: roc, period: 5}", "roc_5: {type: mfi, period: 5}"))


class TestMissingVolume:
    def test_what_it_costs(self, with_mfi, run, lacking):
        first = int(np.searchsorted(sample_bars().time, np.datetime64("2017-09-01")))
        store = lacking([10, first + 100, first + 101, first + 300])
        result = run(with_mfi, store=store)
        assert result.warnings[0] == (
            "EURUSD 1h: 13 of 2,046 bars have no features for lack of volume: 3 of its 2,109 1h bars have no volume"
            " (the first: 2017-09-07 04:00), and `roc_5` (mfi) needs 6 in a row; import bars that have a volume, or use"
            " an indicator that does not read it in place of `roc_5`"
        )
        assert "13 of the 2,046 bars of EURUSD lack features" in result.warnings[1]

    def test_no_row_at_all(self, with_mfi, run, lacking):
        message = (
            r"none of the 2,046 bars of EURUSD has all features of .*: none of its .* bars has a volume, which `roc_5`"
            r" \(mfi\) reads; import bars that have a volume$"
        )
        with pytest.raises(BadInputError, match=message):
            run(with_mfi, store=lacking(slice(None)))

    def test_what_the_volume_filter_stops(self, bundle, changed, run, lacking):
        filtered = with_filter(changed, bundle, 0.5)
        assert of_data(run(filtered).warnings) == ()
        result = run(filtered, store=lacking(slice(4200, 6225, 100)))
        (warning,) = of_data(result.warnings)
        assert warning == (
            "EURUSD 1h: decisions.filters.volume_filter stops every signal on 420 of 2,046 bars because volume is"
            " missing: 21 of its 2,065 1h bars have no volume (the first: 2017-09-03 21:00), and"
            " `decisions.filters.volume_filter` needs 20 in a row; import bars that have a volume, or train"
            " without the filter"
        )
        for volume in (np.nan, 0.0):
            with pytest.raises(BadInputError, match="no 20 bars in a row of EURUSD with known volumes that are"):
                run(filtered, store=lacking(slice(None), volume))

    def test_nothing_is_said_of_a_volume_of_0_here_and_there(self, bundle, changed, run, lacking):
        filtered = with_filter(changed, bundle, 0.5)
        assert of_data(run(filtered, store=lacking(slice(4200, 4300), 0.0)).warnings) == ()

    def test_an_explanation_asks_the_volume_filter_what_a_backtest_asks(self, bundle, changed, bar_store, plugins, run):
        filtered = with_filter(changed, bundle, 1.0)
        bars = bar_store.read("EURUSD", "1h")
        ratio = volume_ratio(bars.volume)
        signal = run(filtered).symbols[0].positions
        free = run(bundle).symbols[0].positions["signal"]
        stopped = np.flatnonzero((free != 0) & (signal["signal"] == 0))
        passed = np.flatnonzero(signal["signal"])
        for row, decisions in ((stopped[5], ("HOLD",)), (passed[5], ("BUY", "SELL"))):
            found = explain(filtered, bar_store=bar_store, plugins=plugins, symbol=None, at=signal["time"][row])
            assert found.decision in decisions
        place = int(np.searchsorted(bars.time, signal["time"][stopped[5]]))
        assert ratio[place] < 1.0 < bars.volume[place]

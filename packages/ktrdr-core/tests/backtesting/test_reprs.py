"""Objects with arrays have representations of one short line, which say what a researcher wants to know."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.backtesting.account import Account
from ktrdr.core.backtesting.explanation import Explanation
from ktrdr.core.backtesting.metrics import AccountCurve
from ktrdr.core.backtesting.results import BacktestResult, read_result
from ktrdr.core.backtesting.signals import SignalRules, Signals
from ktrdr.core.backtesting.simulation import Costs, Market, simulate
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.report.content import page_of
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.strategy.model import Risk
from ktrdr.core.sweeps.grid import SweepResult
from ktrdr.core.trials.trial_count import TrialCount


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return read_result(Path(__file__).parent / "files" / "run_with_aims")


def test_a_result(result):
    assert repr(result) == (
        "<BacktestResult neuro_mean_reversion/1, EURUSD 1h, 168 bars, return -0.39%, Sharpe -4.57, 4 trades>"
    )
    (symbol,) = result.symbols
    assert repr(symbol) == "<SymbolResult EURUSD, 168 bars, 2017-10-02 00:00 to 2017-10-10 24:00, 6 executed>"
    assert repr(result.reasons) == "<Reasons 4 trades, 3 outputs, 18 features, 3 values>"
    assert repr(result.baselines[0]) == "<Baseline majority class, return 0.00%, Sharpe -, 0 trades>"
    assert repr(result.histograms[0]) == "<ValueHistogram rsi reads rsi_14 on 1h, 60 bins, 168 bars>"


def test_many_symbols_with_long_names_are_cut(result):
    (symbol,) = result.symbols
    many = tuple(dataclasses.replace(symbol, symbol=f"{'X' * 40}{number}") for number in range(100))
    manifest = result.manifest.model_copy(update={"name": "n" * 200})
    shown = repr(dataclasses.replace(result, symbols=many, manifest=manifest))
    assert len(shown) <= 120
    assert shown.startswith("<BacktestResult nnn")
    assert shown.endswith("...>")


def test_an_explanation():
    explained = Explanation(
        "rsi_turns/1", "EURUSD", "1h", np.datetime64("2017-12-29T21:00", "ns"), np.datetime64("2017-12-29T22:00", "ns"),
        {"BUY": 0.4123, "HOLD": 0.3, "SELL": 0.2877}, "BUY", "BUY is the most probable class (0.412)", (), (),
    )  # fmt: skip
    assert repr(explained) == (
        "<Explanation rsi_turns/1, EURUSD 1h, 2017-12-29 21:00, BUY, outputs BUY 0.412 HOLD 0.3 SELL 0.288>"
    )


def test_a_sweep():
    facts = {"model": "rsi_turns/1", "symbols": ["EURUSD"], "timeframe": "1h", "bars": 1545}
    rows = tuple({"trial": 1, "settings": {}, "metrics": {"sharpe": sharpe}} for sharpe in (0.694, None))
    count = TrialCount(known=2, ledger="e9c42261c285")
    swept = SweepResult(facts, "sharpe", 0, count, rows)
    assert repr(swept) == "<SweepResult rsi_turns/1, EURUSD 1h, 1,545 bars, 2 combinations, best sharpe 0.69>"
    assert "best sharpe -" in repr(dataclasses.replace(swept, rows=rows[1:]))
    assert "1 combination," in repr(dataclasses.replace(swept, rows=rows[1:]))


def test_a_simulation(make_bars):
    bars = make_bars(1, 500)
    direction = np.zeros(500, dtype=np.int8)
    direction[[10, 200]], direction[[50, 300]] = 1, -1
    market = Market(bars, direction)
    done = simulate([market], rules=SignalRules(), risk=Risk(), capital=1000.0, costs=Costs())
    assert repr(market) == f"<Market {bars.symbol} {bars.timeframe}, 500 bars, 4 signals>"
    assert repr(done.trades) == "<Trades 2 trades>"
    assert repr(done) == f"<Simulation 500 bars, 2 trades, equity 1,000.00 to {done.equity[-1]:,.2f}>"
    signals = Signals(direction, {"bars": 500})
    assert repr(signals) == "<Signals 500 bars, 2 BUY, 2 SELL>"
    account = Account([signals], [market], done, 6200.0)
    assert repr(account).startswith(f"<Account {bars.symbol}, 500 bars, 2 trades, equity 1,000.00 to")
    curve = AccountCurve(done.time, done.equity, 1000.0, 6200.0)
    assert repr(curve) == f"<AccountCurve 500 bars, equity 1,000.00 to {done.equity[-1]:,.2f}>"
    inputs = SymbolInput({str(bars.timeframe): bars}, 100)
    assert repr(inputs) == f"<SymbolInput {bars.symbol} {bars.timeframe}, 400 traded bars, 100 of history>"


def test_a_page(result):
    page = page_of(dataclasses.replace(result, strategy_text="name: x\n" * 10_000))
    assert repr(page) == (
        "<Page neuro_mean_reversion: backtest of neuro_mean_..., 11 figures, 2 tables, 4 rows of trades>"
    )
    shown = [*page.wide_figures, *page.paired_figures, *page.tables, *page.blocks]
    assert all(len(repr(each)) <= 120 and "\n" not in repr(each) for each in shown)
    assert repr(Timeline.of(result.equity["time"], 100)) == "<Timeline 168 bars, 2 bars per place>"

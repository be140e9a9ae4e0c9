"""The median account of an evaluation, traded again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.jobs.job_settings import BacktestSettings, EvaluationSettings
from ktrdr.core.strategy.loader import load_strategy
from ktrdr.core.validation.evaluation_setup import set_up
from ktrdr.core.verdicts.break_even import break_even_of
from ktrdr.core.verdicts.median_account import MedianAccount, median_account
from ktrdr.core.verdicts.signal_delay import delay_of
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.run_evaluation import evaluate


@pytest.fixture
def evaluated(home, example_plugins, write_strategy):
    """An evaluation of the sample with costs, and the bars that it was made from."""
    loaded = load_strategy(write_strategy("waves"), plugins=example_plugins)
    settings = EvaluationSettings(seeds=2, commission=0.0002, slippage=0.0001)
    evaluation = evaluate(loaded, settings, plugins=example_plugins)
    setup = set_up(
        evaluation.strategy,
        loaded.strategy.training_data.date_range,
        bar_store=default_store(),
        plugins=example_plugins,
        device="cpu",
        steps=Steps(NO_PROGRESS, Cancellation()),
    )
    return evaluation, setup.bars


def test_traded_again_it_is_the_median_account_to_the_last_bit(evaluated):
    evaluation, bars = evaluated
    median = median_account(evaluation, bars)
    place = [(own.path, own.seed) for own in evaluation.facts.paths].index(evaluation.facts.median_path)
    metrics = evaluation.facts.paths[place].metrics
    account = median.trade()
    assert metrics["trades"] > 10
    assert account.simulation.equity.tobytes() == evaluation.curves.equity[place].tobytes()
    assert median.paid == pytest.approx(0.0003)
    assert median.sharpe_and_profit_at(median.paid) == pytest.approx((metrics["sharpe"], metrics["net_profit"]))
    assert median.sharpe_after(0) == metrics["sharpe"]
    assert median.curve(account).equity is account.simulation.equity


def test_other_bars_than_those_of_the_evaluation_are_refused(evaluated):
    evaluation, bars = evaluated
    later = {symbol: {name: part[1000:] for name, part in own.items()} for symbol, own in bars.items()}
    with pytest.raises(ValueError, match="the bars of EURUSD are not those"):
        median_account(evaluation, later)


def made(signals, *, commission=0.0, slippage=0.0, symbols=("EURUSD",), strategy=None):
    """A median account that trades these signals, per symbol int ``(n,)``, on the sample."""
    bars = sample_bars()
    inputs, outputs = [], []
    for symbol, own in zip(symbols, signals, strict=True):
        base = dataclasses.replace(bars, symbol=symbol)[: len(own) + 10]
        inputs.append(SymbolInput({"1h": base}, 10))
        probabilities = np.full((len(own), 3), 0.1)
        probabilities[np.arange(len(own)), 1 - own] = 0.8
        outputs.append(probabilities)
    settings = BacktestSettings(commission=commission, slippage=slippage)
    return MedianAccount(strategy, tuple(inputs), tuple(outputs), settings)


@pytest.fixture
def strategy(example_plugins, write_strategy):
    return load_strategy(write_strategy("waves", stop=50.0), plugins=example_plugins).strategy


def turns(n, every=7, first=1):
    signals = np.zeros(n, dtype=np.int64)
    signals[first::every] = 1
    signals[first + every // 2 :: every] = -1
    return signals


def test_a_delay_moves_every_entry_and_exit_by_its_bars(strategy):
    median = made([turns(300)], strategy=strategy)
    at_once, later = (median.trade(delay=delay).simulation.trades for delay in (0, 2))
    common = min(len(at_once), len(later)) - 1
    assert common > 15
    np.testing.assert_array_equal(at_once.entry_bar[:common] + 2, later.entry_bar[:common])
    np.testing.assert_array_equal(at_once.exit_bar[:common] + 2, later.exit_bar[:common])


def test_costs_take_their_share_and_leave_the_signals_alone(strategy):
    median = made([turns(300)], commission=0.0003, slippage=0.0001, strategy=strategy)
    trades = median.trade(Costs(0.003, 0.001)).simulation.trades
    free = median.trade(Costs()).simulation.trades
    np.testing.assert_array_equal(trades.entry_bar, free.entry_bar)
    # Ten times the cost, in the proportion of what was paid.
    account = median.trade(Costs(0.003, 0.001))
    assert median.sharpe_and_profit_at(0.004)[1] == pytest.approx(account.simulation.equity[-1] - 10_000)
    assert trades.slippage.sum() * 3 == pytest.approx(trades.commission.sum(), rel=1e-2)
    assert median.sharpe_and_profit_at(0.0)[1] == pytest.approx(free.gross.sum())


def test_at_the_break_even_cost_nothing_is_left(strategy):
    close = sample_bars().close[10:1510]
    knows = np.zeros(1500, dtype=np.int64)
    knows[:-4:4] = np.sign(close[4::4] - close[:-4:4])
    median = made([knows], commission=0.0001, strategy=strategy)
    found = break_even_of(median.sharpe_and_profit_at, median.paid)
    assert found.cost > 0.0001
    profit = median.sharpe_and_profit_at(0.0)[1]
    assert abs(median.sharpe_and_profit_at(found.cost)[1]) < 1e-3 * profit
    assert found.sharpe[0] > found.sharpe[-1]


def test_several_symbols_share_the_account(strategy):
    signals = [turns(300), turns(200, every=9)]
    median = made(signals, symbols=("EURUSD", "GBPUSD"), strategy=strategy)
    account = median.trade(delay=1)
    assert set(account.simulation.trades.market) == {0, 1}
    assert len(median.curve(account).equity) == 300


def test_an_account_that_never_trades_has_no_ratio(strategy):
    median = made([np.zeros(300, dtype=np.int64)], commission=0.0002, strategy=strategy)
    assert median.sharpe_and_profit_at(0.0) == (None, 0.0)
    assert delay_of(median.sharpe_after) == delay_of(lambda delay: None)
    assert break_even_of(median.sharpe_and_profit_at, median.paid) is None

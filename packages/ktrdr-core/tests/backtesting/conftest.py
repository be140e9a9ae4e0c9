"""Random markets, the slow obvious simulation, bar by bar, that the fast one is held to, and a real small model."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, Simulation
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import install_sample
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.models.bundle import Bundle, check_contents
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.contract import Predictor
from ktrdr.core.plugins.manager import PluginManager, default_manager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import PriceDistance, Risk
from ktrdr.core.trials.trial_database import SQLiteDatabase, default_database
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.run_training import train as train_strategy

_EXAMPLE = Path(__file__).parents[4] / "examples" / "ktrdr-ml-example" / "src"
_STOCKS = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"


def make_bars(seed: int, n: int, *, symbol: str = "EURUSD", first: int = 0, volatility: float = 0.01) -> Bars:
    """Return bars with gaps, wide ranges, and opens and closes on the extremes now and then."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, volatility, n)))
    opened = np.concatenate(([100.0], close[:-1])) * np.exp(random.normal(0, volatility / 2, n))
    reach = np.abs(random.normal(0, volatility, (2, n))) * (random.random((2, n)) < 0.8)
    return Bars(
        symbol,
        Timeframe("1h"),
        np.datetime64("2020-01-01", "ns") + (first + np.arange(n)) * np.timedelta64(3_600_000_000_000, "ns"),
        opened,
        np.maximum(opened, close) * (1 + reach[0]),
        np.minimum(opened, close) * (1 - reach[1]),
        close,
        np.full(n, np.nan),
    )


@pytest.fixture(name="make_bars", scope="session")
def make_bars_fixture() -> Callable[..., Bars]:
    return make_bars


@pytest.fixture(scope="session")
def make_signals() -> Callable[..., np.ndarray]:
    def make(seed: int, n: int, density: float) -> np.ndarray:
        random = np.random.default_rng(seed + 1)
        signals = random.choice(np.array([-1, 1], dtype=np.int8), n)
        signals[random.random(n) > density] = 0
        return signals

    return make


@dataclass
class Position:
    """A position of the reference."""

    side: int
    units: float
    price: float
    reference_price: float
    decision: int
    bar: int
    stop: float
    target: float
    trail: PriceDistance | None
    trail_distance: float
    best: float
    clock: int


@dataclass
class Reference:
    """What the slow simulation found."""

    equity: list[float] = field(default_factory=list)
    cash: list[float] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    reduced: int = 0
    refused: int = 0


def distance(given: PriceDistance | None, price: float, atr: float) -> float:
    if given is None:
        return math.inf
    return price * given.value / 100 if given.kind == "percent" else atr * given.value


def reaches(price: float, level: float) -> bool:
    """At or above a level that was computed."""
    return price >= level or math.isclose(price, level, rel_tol=1e-9)


def slow_simulation(
    markets: list[Market], *, rules: SignalRules, risk: Risk, capital: float, costs: Costs
) -> Reference:
    """Go through time step by step, and in each step through the four phases of a bar, with plain numbers."""
    result = Reference()
    cash = capital
    positions: list[Position | None] = [None] * len(markets)
    last_executed = [-(10**9)] * len(markets)
    orders: list[str | None] = [None] * len(markets)
    marks = [math.nan] * len(markets)
    rows = [{int(t): row for row, t in enumerate(market.bars.time.view(np.int64))} for market in markets]

    def close(number: int, bar: int, reference_price: float, reason: str) -> None:
        nonlocal cash
        position = positions[number]
        assert position is not None
        price = reference_price * (1 - position.side * costs.slippage)
        cash += position.side * position.units * price - position.units * price * costs.commission
        entry_cost = position.units * position.price * costs.commission
        gain = position.side * position.units * (price - position.price)
        result.trades.append(
            {
                "market": number,
                "side": position.side,
                "decision": position.decision,
                "entry_bar": position.bar,
                "exit_bar": bar,
                "units": position.units,
                "entry": position.price,
                "exit": price,
                "reason": reason,
                "net": gain - entry_cost - position.units * price * costs.commission,
            }
        )
        positions[number] = None

    def enter(number: int, bar: int, side: int) -> None:
        nonlocal cash
        market = markets[number]
        reference_price = float(market.bars.open[bar])
        price = reference_price * (1 + side * costs.slippage)
        atr = float(market.atr[bar - 1]) if market.atr is not None else math.nan
        stop = distance(risk.stop_loss, price, atr)
        target = distance(risk.take_profit, price, atr)
        trail = distance(risk.trailing_stop, price, atr)
        equity = cash + sum(p.side * p.units * marks[k] for k, p in enumerate(positions) if p is not None)
        free = equity - sum(p.units * marks[k] for k, p in enumerate(positions) if p is not None)
        if not (stop > 0 and target > 0 and trail > 0):
            result.refused += 1
            return
        each = price * (1 + costs.commission)
        sizing = risk.sizing
        if sizing.type == "fixed_fraction":
            wanted = sizing.value * equity / each
        elif sizing.type == "fixed_units":
            wanted = sizing.value
        elif sizing.type == "fixed_cash":
            wanted = sizing.value / each
        elif sizing.type == "risk_per_trade":
            wanted = sizing.value * equity / min(stop, trail)
        else:
            decision = bar - 1
            if decision < sizing.window:
                result.refused += 1
                return
            closes = [float(x) for x in market.bars.close[decision - sizing.window : decision + 1]]
            returns = [math.log(b / a) for a, b in itertools.pairwise(closes)]
            mean = sum(returns) / len(returns)
            variance = sum((x - mean) ** 2 for x in returns) / (len(returns) - 1)
            wanted = sizing.value * equity / (math.sqrt(variance * market.periods_per_year) * price)
        most = free / each
        if free <= 1e-9 * equity or wanted <= 0:
            result.refused += 1
            return
        units = min(wanted, most)
        if risk.lot_size:
            units = math.floor(units / risk.lot_size + 1e-9) * risk.lot_size
        if units <= 0:
            result.refused += 1
            return
        result.reduced += wanted > most * (1 + 1e-9)
        cash -= side * units * price + units * price * costs.commission
        positions[number] = Position(
            side=side,
            units=units,
            price=price,
            reference_price=reference_price,
            decision=bar - 1,
            bar=bar,
            stop=price - side * stop,
            target=price + side * target,
            trail=risk.trailing_stop,
            trail_distance=trail,
            best=price,
            clock=bar,
        )
        last_executed[number] = bar - 1
        # Until the entry bar closes, its own fill is the last price known of it.
        marks[number] = price

    def inside(number: int, bar: int) -> None:
        position = positions[number]
        assert position is not None
        bars = markets[number].bars
        opened, high, low = float(bars.open[bar]), float(bars.high[bar]), float(bars.low[bar])
        side, level, reason = position.side, position.stop, "stop_loss"
        if position.trail is not None:
            if position.trail.kind == "percent":
                trail = position.best * (1 - side * position.trail.value / 100)
            else:
                trail = position.best - side * position.trail_distance
            # Where both are at one price, the stop is what ends the position.
            nearer = trail > level if side > 0 else trail < level
            if nearer and not math.isclose(trail, level, rel_tol=1e-9):
                level, reason = trail, "trailing_stop"
        if side > 0:
            steps = [
                (reaches(-opened, -level), opened, reason),
                (reaches(opened, position.target), opened, "take_profit"),
                (reaches(-low, -level), level, reason),
                (reaches(high, position.target), position.target, "take_profit"),
            ]
            position.best = max(position.best, high)
        else:
            steps = [
                (reaches(opened, level), opened, reason),
                (reaches(-opened, -position.target), opened, "take_profit"),
                (reaches(high, level), level, reason),
                (reaches(-low, -position.target), position.target, "take_profit"),
            ]
            position.best = min(position.best, low)
        for true, reference_price, why in steps:
            if true:
                close(number, bar, reference_price, why)
                return

    for time in sorted({time for own in rows for time in own}):
        present = [(number, rows[number][time]) for number in range(len(markets)) if time in rows[number]]
        for number, bar in present:
            order = orders[number]
            if order in ("signal", "max_holding_period"):
                close(number, bar, float(markets[number].bars.open[bar]), order)
        for number, bar in present:
            if orders[number] in ("long", "short"):
                enter(number, bar, 1 if orders[number] == "long" else -1)
            orders[number] = None
        for number, bar in present:
            if positions[number] is not None:
                inside(number, bar)
        for number, bar in present:
            bars = markets[number].bars
            marks[number] = float(bars.close[bar])
            if bar == len(bars) - 1:
                if positions[number] is not None:
                    close(number, bar, float(bars.close[bar]), "end_of_data")
                continue
            signal = int(markets[number].direction[bar])
            position = positions[number]
            separated = bar - last_executed[number] >= rules.min_separation
            if position is None:
                if separated and (signal == 1 or (signal == -1 and rules.allow_short_from_flat)):
                    # Executed only if it is filled: `enter` notes it.
                    orders[number] = "long" if signal == 1 else "short"
            elif separated and signal == -position.side:
                orders[number] = "signal"
                last_executed[number] = bar
            else:
                if separated and signal == position.side and not rules.position_awareness:
                    last_executed[number] = bar
                    position.clock = bar + 1
                longest = risk.max_holding_period
                if longest is not None and bar + 1 - position.clock >= longest:
                    orders[number] = "max_holding_period"
        result.cash.append(cash)
        result.equity.append(cash + sum(p.side * p.units * marks[k] for k, p in enumerate(positions) if p is not None))
    result.trades.sort(key=lambda trade: (markets[trade["market"]].bars.time[trade["entry_bar"]], trade["market"]))
    return result


@pytest.fixture(scope="session")
def reference() -> Callable[..., Reference]:
    return slow_simulation


@pytest.fixture(scope="session")
def identities() -> Callable[[list[Market], Simulation], None]:
    """Return a check of what holds for every account."""

    def check(markets: list[Market], simulation: Simulation) -> None:
        trades, capital = simulation.trades, simulation.capital
        scale = max(capital, float(np.abs(simulation.equity).max(initial=0)))
        # Sum of what trades earned is the change of equity.
        assert abs(capital + trades.net.sum() - simulation.equity[-1]) <= 1e-9 * scale
        # gross - costs = net, for each.
        np.testing.assert_allclose(
            trades.gross - trades.commission - trades.slippage, trades.net, rtol=1e-9, atol=1e-9 * scale
        )
        # Cash and positions are the equity, at each bar: both rebuilt here from the trades alone.
        cash = np.full(len(simulation.time), capital)
        value = np.zeros(len(simulation.time))
        for k in range(len(trades)):
            bars = markets[trades.market[k]].bars
            entry = np.searchsorted(simulation.time, bars.time[trades.entry_bar[k]])
            exit_row = np.searchsorted(simulation.time, bars.time[trades.exit_bar[k]])
            cash[entry:] -= trades.side[k] * trades.units[k] * trades.entry_price[k] + trades.entry_commission[k]
            cash[exit_row:] += trades.side[k] * trades.units[k] * trades.exit_price[k] - trades.exit_commission[k]
            rows = np.searchsorted(bars.time, simulation.time[entry:exit_row], side="right") - 1
            value[entry:exit_row] += trades.side[k] * trades.units[k] * bars.close[rows]
        np.testing.assert_allclose(simulation.cash, cash, rtol=1e-9, atol=1e-9 * scale)
        np.testing.assert_allclose(simulation.equity, cash + value, rtol=1e-9, atol=1e-9 * scale)

    return check


TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-08-31}
indicators:
  rsi_14: {type: rsi, period: 14}
  roc_5: {type: roc, period: 5}
fuzzy_sets:
  rsi:
    indicator: rsi_14
    low: [0, 25, 45]
    middle: [30, 50, 70]
    high: [55, 75, 100]
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
  - {raw_indicator: roc_5, timeframes: [1h]}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.35, allow_short_from_flat: true}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 6
  batch_size: 64
  learning_rate: 0.5
  seed: 3
risk:
  sizing: {type: fixed_fraction, fraction: 0.95}
  stop_loss: {atr: 3}
"""

STOCKS_TEXT = (
    TEXT.replace("{mode: single, symbol: EURUSD}", "{mode: multi_symbol, list: [AAPL, FB]}")
    .replace("{mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}", "{mode: single, timeframe: 1d}")
    .replace("timeframes: [1h]", "timeframes: [1d]")
    .replace("name: waves", "name: stocks")
    .replace("  date_range: {start: 2017-01-01, end: 2017-08-31}\n", "")
    .replace("threshold: 0.0005", "threshold: 0.01")
)


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PluginManager]:
    """The example backend, which needs numpy alone, installed as far as discovery can tell."""
    site = tmp_path_factory.mktemp("site")
    info = site / "ktrdr_ml_example-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_EXAMPLE)
        patch.syspath_prepend(site)
        yield PluginManager(path=[str(site)], environ={})
    for name in [name for name in sys.modules if name.split(".")[0] == "ktrdr_ml_example"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def bar_store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Holds the hourly sample, and daily bars of AAPL and FB; not to be written to."""
    store = BarStore(tmp_path_factory.mktemp("bars"))
    install_sample(store)
    frame = pd.read_csv(_STOCKS, index_col="Date", parse_dates=True).rename(columns=str.lower)
    for symbol in ("AAPL", "FB"):
        store.write(Bars.from_frame(symbol, "1d", frame[frame["ticker"] == symbol].sort_index()))
    return store


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return ModelStore(tmp_path_factory.mktemp("home") / "models")


@pytest.fixture(scope="session")
def train(bar_store: BarStore, model_store: ModelStore, plugins: PluginManager) -> Callable[[str], Bundle]:
    ledger = TrialLedger(SQLiteDatabase(model_store.root.parent / "trials.sqlite"))

    def run(text: str) -> Bundle:
        loaded = load_strategy_text(text, plugins=plugins)
        places = {"bar_store": bar_store, "model_store": model_store, "plugins": plugins}
        return train_strategy(loaded, trials=ledger, cache=NO_CACHE, **places).bundle

    return run


@pytest.fixture(scope="session")
def bundle(train: Callable[[str], Bundle]) -> Bundle:
    """A model of hourly EURUSD, trained on January to August 2017."""
    return train(TEXT)


@pytest.fixture(scope="session")
def stocks_bundle(train: Callable[[str], Bundle]) -> Bundle:
    """A model of daily AAPL (from 2000) and FB (from 2012), trained on all there is of them."""
    return train(STOCKS_TEXT)


class Varied(Bundle):
    """A model of which a test has varied the strategy: its text, which nobody has written anew, says another."""

    __slots__ = ()

    def verify_files(self) -> None:
        check_contents(self.directory, self.manifest)


@pytest.fixture(scope="session")
def changed() -> Callable[..., Bundle]:
    """Return ``changed(bundle, decisions={...}, risk=...)``: the same model with parts of its strategy replaced."""

    def run(bundle: Bundle, **sections: Any) -> Bundle:
        strategy = bundle.strategy
        for name, value in sections.items():
            if isinstance(value, dict):
                value = getattr(strategy, name).model_copy(update=value)
            strategy = strategy.model_copy(update={name: value})
        return Varied(bundle.directory, bundle.manifest.model_copy(update={"strategy": strategy}))

    return run


@pytest.fixture
def predicting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return ``predicting(predictor)``: every bundle loads that one."""

    def run(predictor: Predictor) -> None:
        monkeypatch.setattr(Bundle, "load_predictor", lambda self, plugins, device="auto", inference="auto": predictor)

    return run


@pytest.fixture
def home(
    tmp_path: Path, bar_store: BarStore, bundle: Bundle, plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A ``KTRDR_HOME`` with the bars and the models, for commands; what they write is the test's own.

    So is its ledger of trials, which is made here: one that a command makes takes in the models, and which there are
    depends on the tests that ran before.
    """
    place = tmp_path / "home"
    place.mkdir()
    (place / "data").symlink_to(bar_store.root)
    (place / "models").symlink_to(bundle.directory.parents[1])
    monkeypatch.setenv("KTRDR_HOME", str(place))
    TrialLedger(default_database())
    default_manager.cache_clear()
    yield place
    default_manager.cache_clear()

"""What the page shows is what anybody computes from the stored run, by the plain definition."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.metrics.over_time import rolling_sharpe, rolling_window, worst_drawdowns
from ktrdr.core.backtesting.results import BacktestResult, read_result
from ktrdr.core.report import write_report
from ktrdr.core.report.content import page_of
from ktrdr.core.report.page import Cell, Page, Table

HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def stored(result: BacktestResult, tmp_path_factory: pytest.TempPathFactory) -> BacktestResult:
    """The run as its files have it."""
    directory = tmp_path_factory.mktemp("stored") / "run"
    result.write(directory)
    return read_result(directory)


@pytest.fixture(scope="module")
def shown(stored: BacktestResult) -> Page:
    return page_of(stored)


@pytest.fixture(scope="module")
def portfolio(stored: BacktestResult) -> BacktestResult:
    """Three symbols that share the trades of the run; of the second the first bars are missing."""
    (symbol,) = stored.symbols
    names = ("AAA", "BBB", "CCC")
    symbols = tuple(dataclasses.replace(symbol, symbol=name, positions=dict(symbol.positions)) for name in names)
    for name, column in symbols[1].positions.items():
        symbols[1].positions[name] = column[100:]
    numbers = stored.trades["number"]
    trades = {**stored.trades, "symbol": np.array([names[number % 3] for number in numbers], dtype=object)}
    return dataclasses.replace(stored, symbols=symbols, trades=trades)


def table(page: Page, title: str) -> Table:
    (found,) = [each for each in page.tables if each.title == title]
    return found


def percent(cell: Cell) -> float:
    return float(cell.text.removesuffix("%")) / 100


def picture(page: Page, key: str) -> list[dict[str, Any]]:
    (found,) = [each.figure["data"] for each in page.wide_figures if each.key == key]
    return found


def test_years(stored: BacktestResult, shown: Page):
    (row,) = table(shown, "Returns by year").rows
    year, own, held, excess = row
    capital, equity = stored.settings.capital, stored.equity
    assert year.text == "2017"
    assert percent(own) == pytest.approx(equity["equity"][-1] / capital - 1, abs=6e-5)
    assert percent(held) == pytest.approx(equity["benchmark"][-1] / capital - 1, abs=6e-5)
    assert percent(own) == pytest.approx(stored.metrics["total_return"], abs=6e-5)
    assert excess.sort == pytest.approx((equity["equity"][-1] - equity["benchmark"][-1]) / capital)


def test_worst_drawdowns(stored: BacktestResult, shown: Page):
    rows = table(shown, "Worst drawdowns").rows
    depths = [percent(row[0]) for row in rows]
    assert depths == sorted(depths)
    assert len(depths) == 5
    assert depths[0] == pytest.approx(stored.metrics["max_drawdown"], abs=6e-5)
    # The trough is the bar whose equity is furthest below the high before it.
    trough = int(stored.equity["drawdown"].argmin())
    assert rows[0][2].text == str(stored.equity["time"][trough].astype("datetime64[m]")).replace("T", " ")


def test_a_high_that_is_reached_again_but_for_the_last_bit_is_reached() -> None:
    equity = np.array([100.0, 99.0, 100.0 * (1 - 1e-15), 98.0, 100.0])
    time = np.datetime64("2024-01-01", "ns") + np.arange(5) * HOUR
    found = worst_drawdowns(time, equity, 100.0, HOUR)
    assert [(each.depth, each.bars) for each in found] == [(pytest.approx(-0.02), 1), (pytest.approx(-0.01), 1)]


@given(
    steps=st.lists(st.sampled_from([-0.05, -0.01, 0.0, 0.01, 0.06]), min_size=1, max_size=40),
    gaps=st.lists(st.integers(1, 70), min_size=40, max_size=40),
)
def test_drawdowns_equal_the_slow_ones(steps: list[float], gaps: list[int]):
    equity = 100 * np.cumprod(1 + np.array(steps))
    time = np.datetime64("2024-01-01", "ns") + np.cumsum(gaps[: len(steps)]) * HOUR
    found, high, begin, low, lowest = [], 100.0, time[0], 0.0, 0
    closes, before = time + HOUR, time[0]
    for number, value in enumerate(equity):
        if value >= high * (1 - 1e-9):
            if low < 0:
                found.append((low, begin, time[lowest], time[number], closes[number] - before))
            high, begin, before, low = max(value, high), time[number], closes[number], 0.0
        elif value / high - 1 < low:
            low, lowest = value / high - 1, number
    if low < 0:
        found.append((low, begin, time[lowest], None, closes[-1] - before))
    found.sort(key=lambda each: each[0])
    got = worst_drawdowns(time, equity, 100.0, HOUR, most=100)
    assert [each.depth for each in got] == pytest.approx([each[0] for each in found])
    for one, other in zip(got, found, strict=True):
        if [each[0] for each in found].count(other[0]) == 1:
            assert (one.start, one.trough, one.end) == other[1:4]
            assert one.days == pytest.approx(other[4] / np.timedelta64(1, "D"))
            assert one.recovery_days == (None if one.end is None else (one.end - one.trough) / np.timedelta64(1, "D"))


def test_rolling_sharpe(stored: BacktestResult, shown: Page):
    equity, periods = stored.equity["equity"], stored.metrics["periods_per_year"]
    name, window = rolling_window(len(equity), periods) or ("", 0)
    assert (name, window) == ("month", round(periods / 12))
    note = next(each.note for each in shown.wide_figures if each.key == "rolling")
    assert f"last {window:,} bars (a month)" in note
    returns = np.diff(equity, prepend=stored.settings.capital) / np.append(stored.settings.capital, equity[:-1])
    own, _ = picture(shown, "rolling")
    for place, value in list(zip(own["x"], own["y"], strict=True))[::97]:
        seen = returns[place - window + 1 : place + 1]
        assert value == pytest.approx(seen.mean() / seen.std(ddof=1) * math.sqrt(periods), rel=1e-5, abs=1e-9)
    # Over the whole it is the metric itself.
    whole = rolling_sharpe(returns, len(returns), periods)[-1]
    assert whole == pytest.approx(stored.metrics["sharpe"], rel=1e-9)


@given(
    n=st.integers(1, 300),
    window=st.integers(2, 60),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-9, 1e-4, 0.3]),
    still=st.floats(0, 1),
)
def test_rolling_sharpe_equals_the_slow_one(n: int, window: int, seed: int, scale: float, still: float):
    """Also where an account rests: there is no ratio where nothing varies."""
    random = np.random.default_rng(seed)
    returns = random.normal(0, scale, n) * (random.random(n // 20 + 1) > still).repeat(20)[:n]
    got = rolling_sharpe(returns, window, 252.0)
    for end in range(n):
        seen = returns[end - window + 1 : end + 1] if end + 1 >= window else np.zeros(0)
        if len(seen) and len(set(seen.tolist())) > 1:
            expected = seen.mean() / seen.std(ddof=1) * math.sqrt(252.0)
            assert got[end] == pytest.approx(expected, rel=1e-6, abs=1e-6)
        else:
            assert np.isnan(got[end])


@pytest.mark.parametrize(
    ("bars", "periods", "expected"),
    [(503, 252.0, ("half year", 126)), (504, 252.0, ("year", 252)), (42, 252.0, ("month", 21)), (41, 252.0, None),
     (1545, 6260.0, ("month", 522)), (400, 52.0, ("year", 52)), (60, 52.0, ("half year", 26)), (10, 365.0, None)],
)  # fmt: skip
def test_the_window_is_the_longest_that_goes_in_twice(bars: int, periods: float, expected: tuple[str, int] | None):
    assert rolling_window(bars, periods) == expected


def test_exposure(stored: BacktestResult, shown: Page, portfolio: BacktestResult):
    long, short = picture(shown, "exposure")
    both = np.array(long["y"]) + np.array(short["y"])
    np.testing.assert_allclose(both, stored.equity["positions"] / stored.equity["equity"], rtol=1e-5, atol=1e-9)
    assert np.mean(both != 0) == pytest.approx(stored.metrics["exposure"])
    # Where a symbol has no bar yet it has no position.
    long, short = picture(page_of(portfolio), "exposure")
    np.testing.assert_allclose(np.array(long["y"])[100:] + np.array(short["y"])[100:], 3 * both[100:], rtol=1e-5)
    np.testing.assert_allclose(np.array(long["y"])[:100] + np.array(short["y"])[:100], 2 * both[:100], rtol=1e-5)


def test_symbols_add_up_to_the_account(stored: BacktestResult, shown: Page, portfolio: BacktestResult):
    assert "By symbol" not in [each.title for each in shown.tables]
    found = table(page_of(portfolio), "By symbol")
    columns = {column.title: [row[number] for row in found.rows] for number, column in enumerate(found.columns)}
    assert [cell.text for cell in columns["symbol"]] == ["AAA", "BBB", "CCC"]
    for title, metric in {"net profit": "net_profit", "costs": "costs", "trades": "trades"}.items():
        assert sum(cell.sort for cell in columns[title]) == pytest.approx(stored.metrics[metric], rel=1e-9)
    trades = portfolio.trades
    for number, name in enumerate(("AAA", "BBB", "CCC")):
        net = [value for value, symbol in zip(trades["net"], trades["symbol"], strict=True) if symbol == name]
        assert columns["win rate"][number].text == f"{sum(value > 0 for value in net) / len(net):.2%}"
    # Two of the three hold what the account's own benchmark holds, with a third of the capital each.
    held = [cell.sort for cell in columns["buy and hold"]]
    assert held[0] == held[2] == pytest.approx(stored.benchmark["net_profit"] / 3, rel=1e-9)


def test_excursions_of_each_trade(stored: BacktestResult, shown: Page):
    titles = [column.title for column in shown.trade_columns]
    for row, mae, mfe, notional in zip(
        shown.trades, *(stored.trades[name] for name in ("mae", "mfe", "notional")), strict=True
    ):
        for title, share in (("MAE", mae), ("MFE", mfe)):
            cell = row[titles.index(title)]
            assert (cell.text, cell.note, cell.sort) == (f"{share:.2%}", f"{share * notional:,.2f}", share)


def test_a_run_from_before_candles_and_excursions_were_kept(stored: BacktestResult, tmp_path: Path):
    (symbol,) = stored.symbols
    positions = {name: column for name, column in symbol.positions.items() if name not in ("open", "high", "low")}
    trades = {name: column for name, column in stored.trades.items() if name not in ("mae", "mfe")}
    old = dataclasses.replace(stored, symbols=(dataclasses.replace(symbol, positions=positions),), trades=trades)
    old.write(tmp_path / "run")
    made = page_of(read_result(tmp_path / "run"))
    closes, *_ = picture(made, "price-0")
    assert closes["name"] == "close"
    np.testing.assert_allclose(closes["y"], positions["close"], rtol=1e-6)
    titles = [column.title for column in made.trade_columns]
    assert {row[titles.index("MAE")].text for row in made.trades} == {"-"}


def test_it_is_small(html: str, result: BacktestResult, tmp_path: Path):
    """Of a backtest such as the demo's, of some two thousand bars."""
    assert len(result.equity["time"]) > 1545
    assert len(html.encode("utf-8")) <= 2_500_000
    # What is packed is the whole library, with the notice of its licence.
    import base64
    import gzip

    from plotly.offline import get_plotlyjs

    packed = re.search(r'<script type="text/plain" id="plotly">([A-Za-z0-9+/=]+)</script>', html)
    assert packed is not None
    library = gzip.decompress(base64.b64decode(packed[1])).decode("utf-8")
    assert library == get_plotlyjs()
    assert "MIT" in library[:500]


def test_the_same_is_written_from_the_files(stored: BacktestResult, html: str, tmp_path: Path):
    assert write_report(stored, tmp_path / "r.html").read_text(encoding="utf-8") == html

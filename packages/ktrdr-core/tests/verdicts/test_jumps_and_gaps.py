"""Unadjusted jumps and missing bars are found and named; moves of the market and closed markets are not."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.exchange_sessions import exchange_sessions
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.verdicts import fitting_exchange
from ktrdr.core.verdicts.jumps_and_gaps import check_jumps, check_missing_bars

Market = Callable[..., Bars]

# 2010-01-04 to 2019-12-30, in days since 1970.
DECADE = (14_613, 18_260)


def scaled(bars: Bars, first: int, factor: float) -> Bars:
    """Return the bars with other prices from a position on."""
    factors = np.where(np.arange(len(bars)) < first, 1.0, factor)
    return replace(bars, **{name: getattr(bars, name) * factors for name in ("open", "high", "low", "close")})


def without(bars: Bars, keep: np.ndarray) -> Bars:
    columns = (getattr(bars, name)[keep] for name in ("time", "open", "high", "low", "close", "volume"))
    return Bars(bars.symbol, bars.timeframe, *columns, calendar=bars.calendar)


def real_shares() -> list[Bars]:
    """Return daily bars of AAPL, GOOG, IBM and MSFT, and of others that are in the file, not adjusted for splits."""
    path = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    shares = []
    for symbol in sorted({row["Ticker"] for row in rows}):
        own = [row for row in rows if row["Ticker"] == symbol]
        time = np.array([row["Date"] for row in own], dtype="datetime64[ns]")
        columns = (np.array([float(row[name]) for row in own]) for name in ("Open", "High", "Low", "Close", "Volume"))
        shares.append(Bars(symbol, Timeframe("1d"), time, *columns))
    return shares


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 2 / 3, 10.0, 0.2])
def test_a_jump_like_a_split_is_found_with_symbol_and_time(market: Market, factor: float):
    finding = check_jumps([market(symbol="AAA"), scaled(market(symbol="BBB"), 500, factor)])
    assert not finding.clean
    assert finding.sentence.startswith("BBB 1h: 1 jump looks like a split")
    assert "2018-01-21 20:00" in finding.sentence
    assert "import adjusted prices" in finding.sentence
    assert "AAA" not in finding.sentence


def test_a_fall_on_news_is_no_split_and_is_said(market: Market):
    finding = check_jumps([scaled(market(symbol="AAA"), 500, 0.55)])
    assert finding.clean
    assert "large moves are taken for those of the market (AAA 2018-01-21 20:00)" in finding.sentence


@pytest.mark.parametrize("volume", [100.0, np.nan])
@pytest.mark.parametrize("factor", [0.69, 0.66, 0.515, 0.49])
def test_an_overnight_gap_that_is_no_split_ratio_is_clean(market: Market, factor: float, volume: float):
    bars = market(symbol="AAA", timeframe="1d")
    assert check_jumps([replace(scaled(bars, 500, factor), volume=np.full(len(bars), volume))]).clean


@pytest.mark.parametrize(("volume", "found"), [(100.0, True), (np.nan, False)])
def test_a_split_may_be_off_by_the_usual_gap_where_volume_is_known(market: Market, volume: float, found: bool):
    bars = market(symbol="AAA", timeframe="1d")
    opens = bars.close * np.where(np.arange(len(bars)) % 2, 1.006, 1 / 1.006)
    gaps = replace(bars, open=opens, high=np.maximum(bars.high, opens), low=np.minimum(bars.low, opens))
    gaps = replace(gaps, volume=np.full(len(bars), volume))
    jumped = scaled(gaps, 500, 0.5)
    opened = jumped.open.copy()
    opened[500] = jumped.close[499] * 0.51
    finding = check_jumps([replace(jumped, open=opened)])
    assert finding.clean != found


def test_the_splits_of_real_shares_are_found_and_a_fall_on_news_is_not():
    found = {share.symbol: check_jumps([share]) for share in real_shares()}
    assert [symbol for symbol, finding in found.items() if not finding.clean] == ["AAPL", "MSFT"]
    assert "2 jumps look like splits" in found["AAPL"].sentence
    assert "2000-06-21" in found["AAPL"].sentence
    assert "2005-02-28" in found["AAPL"].sentence
    assert "2000-09-29" not in found["AAPL"].sentence
    assert "2003-02-18" in found["MSFT"].sentence


def test_a_jump_near_a_large_ratio_is_found_by_its_size(market: Market):
    assert not check_jumps([scaled(market(symbol="AAA"), 500, 1 / 4.9)]).clean


def test_a_jump_too_large_for_a_market_is_found(market: Market):
    assert not check_jumps([scaled(market(symbol="AAA"), 500, 1 / 4.5)]).clean


@pytest.mark.parametrize(("volume", "clean"), [(12.0, True), (6.0, True), (4.0, False), (np.nan, False), (0.0, False)])
def test_a_jump_like_a_split_with_very_many_trades_is_news(market: Market, volume: float, clean: bool):
    bars = market(symbol="AAA")
    amounts = np.full(len(bars), 100.0)
    amounts[500] *= volume
    amounts[900] = 100.0
    jumped = replace(scaled(bars, 500, 0.5), volume=amounts)
    finding = check_jumps([jumped])
    assert finding.clean == clean
    assert "2018-01-21 20:00" in finding.sentence
    both = check_jumps([scaled(jumped, 900, 2.0)])
    assert not both.clean
    assert ("1 jump looks" in both.sentence) == clean
    assert "2018-02-07 12:00 (0.5 to 1)" in both.sentence


def test_missing_bars_are_counted_by_the_calendar(market: Market):
    bars = market()
    random = np.random.default_rng(3)
    few, many = (np.sort(random.permutation(len(bars))[: len(bars) - lost]) for lost in (18, 22))
    assert check_missing_bars([without(bars, few)]).clean
    finding = check_missing_bars([sample_bars(), without(bars, many)])
    assert not finding.clean
    assert "EURUSD 1h: 22 bars (1.1%) are missing while 24/7 was open, in " in finding.sentence
    assert "`ktrdr data calendar`" in finding.sentence


def test_one_large_gap_is_named(market: Market):
    bars = market()
    position = np.arange(len(bars))
    finding = check_missing_bars([without(bars, (position < 300) | (position >= 400))])
    assert "most of them from 2018-01-13 12:00 to 2018-01-17 16:00" in finding.sentence


def test_weekends_of_real_bars_are_not_missing():
    assert check_missing_bars([sample_bars()]).clean
    assert check_jumps([sample_bars()]).clean


def hour_and_day(bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    """Return hour and day of the week (Thursday is 0) of each bar, UTC."""
    hours = bars.time.astype("datetime64[h]").astype(np.int64)
    return hours % 24, hours // 24 % 7


def test_an_hour_without_bars_every_day_is_a_break_of_the_market():
    bars = sample_bars()
    hour, _ = hour_and_day(bars)
    assert check_missing_bars([without(bars, hour != 21)]).clean


def test_a_late_open_every_sunday_is_one_too():
    bars = sample_bars()
    hour, day = hour_and_day(bars)
    assert check_missing_bars([without(bars, (day != 3) | (hour >= 23))]).clean


def test_eight_hours_without_bars_every_day_are_missing():
    bars = sample_bars()
    hour, _ = hour_and_day(bars)
    finding = check_missing_bars([without(bars, hour < 16)])
    assert not finding.clean


def test_an_hour_without_bars_in_a_few_weeks_is_missing():
    bars = sample_bars()
    hour, _ = hour_and_day(bars)
    some = bars.time < np.datetime64("2017-04-20")
    finding = check_missing_bars([without(bars, (hour != 12) | ~some)])
    assert "EURUSD 1h: 78 bars" in finding.sentence


def on_days(days: np.ndarray, symbol: str, calendar: str | None = None) -> Bars:
    """Return daily bars on some days, numbers since 1970."""
    price = np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.01, len(days))))
    time = days.astype("datetime64[D]").astype("datetime64[ns]")
    return Bars(symbol, Timeframe("1d"), time, price, price, price, price, price, calendar=calendar)


@pytest.mark.parametrize("exchange", ["XTKS", "XFRA", "XSHG"])
def test_daily_shares_of_another_exchange_are_clean_and_its_calendar_is_named(exchange: str):
    days = exchange_sessions(exchange, *DECADE)[0]
    finding = check_missing_bars([on_days(days, "ACME")])
    assert finding.clean
    assert f"the days of ACME are the sessions of {exchange}, and not of XNYS" in finding.sentence
    assert f"`ktrdr data calendar ACME {exchange}`" in finding.sentence
    # What a person has said holds.
    assert not check_missing_bars([on_days(days, "ACME", "XNYS")]).clean
    assert check_missing_bars([on_days(days, "ACME", exchange)]).clean


def test_shares_that_fit_no_exchange_miss_bars(monkeypatch: pytest.MonkeyPatch):
    # Without the calendars that take seconds to make.
    monkeypatch.setattr(fitting_exchange, "_EXCHANGES", ("XNYS", "XLON", "XTSE"))
    days = exchange_sessions("XNYS", *DECADE)[0]
    kept = np.random.default_rng(2).random(len(days)) > 0.03
    assert check_missing_bars([on_days(days, "ACME")]).clean
    finding = check_missing_bars([on_days(days[kept], "ACME")])
    assert not finding.clean
    assert "are missing while XNYS was open" in finding.sentence

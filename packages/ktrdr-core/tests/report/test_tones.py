"""No figure that is worse than its baseline is shown as good, on the page or in a terminal."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.backtesting.metrics import METRICS
from ktrdr.core.backtesting.results import BacktestResult, Baseline
from ktrdr.core.report.account_tables import account_tables
from ktrdr.core.report.content import page_of
from ktrdr.core.report.page import render
from ktrdr.core.report.tones import tone_of

NAMES = [info.name for info in METRICS]
BETTER = {info.name: info.better for info in METRICS}
VALUE = st.none() | st.floats(-3, 3)
FIGURES = st.fixed_dictionaries(dict.fromkeys(NAMES, VALUE))


def worse(name: str, value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return False
    return {"higher": value < other, "lower": value > other, "": False}[BETTER[name]]


@given(name=st.sampled_from(NAMES), own=FIGURES, rivals=st.lists(FIGURES, max_size=3))
def test_nothing_worse_than_a_baseline_is_good(name: str, own: dict[str, Any], rivals: list[dict[str, Any]]):
    rivals.append({})
    tone = tone_of(name, own, rivals)
    if any(worse(name, own[name], each.get(name)) for each in rivals):
        # What is worse by no more than rounding is not worse.
        near = any(own[name] == pytest.approx(each.get(name), rel=1e-9, abs=0) for each in rivals if each.get(name))
        assert tone != "good" or near
    if own[name] is None:
        assert tone == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=FIGURES, held=FIGURES, other=FIGURES)
def test_no_card_of_any_result_is(result: BacktestResult, own, held, other):
    keep = {name: result.metrics[name] for name in ("periods_per_year", "monthly_returns")}
    counts = dict.fromkeys(("trades", "long_trades", "short_trades"), 3)
    made = page_of(
        dataclasses.replace(
            result, metrics={**own, **keep, **counts}, benchmark=held, baselines=(Baseline("other", "does", other),)
        )
    )
    labels = {info.label: info.name for info in METRICS}
    judged = 0
    for card in made.cards:
        name = labels[re.sub(", 95% .*", "", card.label)]
        judged += card.tone == "good"
        if worse(name, own[name], held[name]) or worse(name, own[name], other[name]):
            assert card.tone != "good", (card, held[name], other[name])
    assert judged <= len(made.cards)


@given(seed=st.integers(0, 10_000), years=st.integers(1, 4))
def test_no_year_that_lost_to_holding_is(result: BacktestResult, seed: int, years: int):
    random = np.random.default_rng(seed)
    time = np.datetime64("2015-06-01", "ns") + np.arange(years * 12) * np.timedelta64(30, "D")
    paths = 1e4 * np.exp(np.cumsum(random.normal(0, 0.05, (2, len(time))), axis=1))
    equity = {**result.equity, "time": time, "equity": paths[0], "benchmark": paths[1]}
    (table,) = [
        each
        for each in account_tables(dataclasses.replace(result, equity=equity, timeframe="1d"))
        if each.title == "Returns by year"
    ]
    for _, own, held, excess in table.rows:
        assert ("good" in own.css) == (own.sort > 0 and own.sort >= held.sort)
        assert ("good" in excess.css) == (own.sort > held.sort)
        assert "good" not in held.css


def test_the_page_has_no_other_place_for_it(result: BacktestResult, read_page: Callable[[str], Any]):
    """Where everything lost, and every baseline won, the only good ones are trades and their own results."""
    poor = {name: -1.0 if BETTER[name] == "higher" else 1.0 for name in NAMES} | {"trades": 3}
    rich = {name: 2.0 if BETTER[name] == "higher" else 0.0 for name in NAMES}
    keep = {name: result.metrics[name] for name in ("periods_per_year", "monthly_returns")}
    falling = {**result.equity, "equity": np.linspace(9999, 5000, len(result.equity["time"]))}
    lost = {**result.trades, "net": -np.abs(result.trades["net"])}
    made = page_of(
        dataclasses.replace(result, metrics=poor | keep, benchmark=rich, baselines=(), equity=falling, trades=lost)
    )
    page = read_page(render(made))
    assert "bad" in str(page.tags("b"))
    assert not [tag for tag, attributes in page.elements if "good" in (attributes.get("class") or "").split()]

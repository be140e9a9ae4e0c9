"""A verdict asks what its data cannot show, and what concerns its own symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.strategy.loader import LoadedStrategy
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.verdicts.questions import questions_of

Market = Callable[..., Bars]


@pytest.fixture
def strategy(load: Callable[..., LoadedStrategy]) -> Strategy:
    return load().strategy


def test_at_least_five_questions_are_asked_of_every_strategy(strategy: Strategy, market: Market):
    asked = questions_of(strategy, [market(symbol="AAA")])
    assert len(asked) >= 5
    assert len(set(asked)) == len(asked)
    assert all("?" in question for question in asked)
    text = " ".join(asked)
    assert "after looking at a chart" in text
    assert "`--trials`" in text
    assert "Why AAA?" in text


def test_a_list_of_symbols_is_asked_for_its_dead_ones(strategy: Strategy, market: Market):
    first, *_ = questions_of(strategy, [market(symbol=f"S{number}") for number in range(7)])
    assert first.startswith("Do the 7 symbols (S0, S1, S2, S3, S4 and 2 more) include those that have died")


@pytest.mark.parametrize(
    ("calendar", "word"), [("FX", "Swap rates"), ("24/7", "in and out of the venue"), ("XNYS", "dividends and splits")]
)
def test_each_kind_of_market_has_its_question(strategy: Strategy, market: Market, calendar: str, word: str):
    words = ["Swap rates", "in and out of the venue", "dividends and splits"]
    text = " ".join(questions_of(strategy, [replace(market(), calendar=calendar)]))
    assert [each for each in words if each in text] == [word]


def test_short_sales_are_asked_about_where_they_are_made(strategy: Strategy, market: Market):
    short = strategy.decisions.model_copy(update={"allow_short_from_flat": True})
    with_them = questions_of(strategy.model_copy(update={"decisions": short}), [market()])
    assert "sold short" in " ".join(with_them)
    long_only = strategy.decisions.model_copy(update={"allow_short_from_flat": False})
    without = questions_of(strategy.model_copy(update={"decisions": long_only}), [market()])
    assert "sold short" not in " ".join(without)

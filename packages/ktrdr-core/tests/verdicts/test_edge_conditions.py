"""The conditions of an edge: their limits, and the figures of what would change them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.verdicts.edge_conditions import conditions_of_edge, mark_to_beat
from ktrdr.core.verdicts.evidence import Evidence
from ktrdr.core.verdicts.verdict_result import Condition, Deflation, NullWorlds


def worlds(observed: float, values: list[float]) -> NullWorlds:
    p = (1 + sum(value >= observed for value in values)) / (1 + len(values))
    return NullWorlds(family="garch", observed=observed, values=tuple(values), p=p)


def condition(name: str, **pieces: Any) -> Condition:
    evidence = Evidence(**{"validity": (), **pieces})
    return next(each for each in conditions_of_edge(evidence) if each.name == name)


def deflation(**changes: Any) -> Deflation:
    given = {
        "sharpe": 1.2,
        "low": 0.1,
        "high": 2.3,
        "years": 0.25,
        "trials": 9,
        "other_trials": 8,
        "expected_best": 0.8,
        "probability": 0.71,
        "needed_years": 3.1,
    }
    return Deflation.model_validate({**given, **changes})


# Few values, so that many are equal.
ratios = st.integers(-3, 3).map(float)


@given(ratios, st.lists(ratios, max_size=120))
def test_a_ratio_above_the_mark_is_what_makes_p_small(observed: float, values: list[float]):
    found = worlds(observed, values)
    mark = mark_to_beat(found)
    assert (mark is not None and observed > mark) == (found.p <= 0.05)
    assert (mark is None) == (len(values) < 19)


@pytest.mark.parametrize(
    ("count", "as_good", "p", "met"),
    [
        (20, 0, "p = 4.8%", True),
        (20, 1, "p = 9.5%", False),
        (19, 0, "p = 5.0%", True),
        (18, 0, "p = 5.3%", False),
        (100, 4, "p = 4.95%", True),
        (100, 5, "p = 5.9%", False),
        (1000, 0, "p = 0.1%", True),
    ],
)
def test_p_is_compared_with_5_percent(count: int, as_good: int, p: str, met: bool):
    found = condition("null_garch", nulls=(worlds(1.0, [2.0] * as_good + [0.0] * (count - as_good)),))
    assert (found.found, found.met) == (p, met)
    assert ("the smallest that" in found.sentence) == (as_good == 0)
    assert f"on {as_good:,} of {count:,} null worlds" in found.sentence


def test_few_worlds_say_how_many_are_needed_and_that_the_mark_is_rough():
    assert "from 19 null worlds on" in condition("null_garch", nulls=(worlds(1.0, [0.0] * 18),)).change
    rough = condition("null_garch", nulls=(worlds(1.0, [1.25, *[0.0] * 19]),)).change
    assert "above 1.25, and that training has 1.00 on the real bars" in rough
    assert rough.count("the folds of the null worlds, which may be fewer than those of the evaluation") == 1
    assert rough.endswith(
        "longer data lower that mark, and the full form, without `--quick`, tells it more exactly with its 100 null"
        " worlds"
    )
    exact = condition("null_garch", nulls=(worlds(1.0, [1.25] * 6 + [0.0] * 94),)).change
    assert exact.endswith("longer data lower that mark")


def test_a_family_that_is_missing_is_not_met():
    found = condition("null_sign_flips", nulls=(worlds(1.0, [0.0] * 20),))
    assert found.met is None
    assert found.change


def test_too_little_data_says_how_much_is_needed():
    found = condition("track_record", deflation=deflation())
    assert (found.met, found.sentence) == (False, "0.25 years of data")
    assert found.change == "with 9 trials 3.10 years are needed for a Sharpe ratio of 1.20"
    assert (found.found, found.needed) == ("0.25 years", "3.10 years")
    enough = condition("track_record", deflation=deflation(years=3.1, needed_years=3.1, trials=1))
    assert enough.met
    assert enough.sentence == "3.10 years of data; with 1 trial 3.10 years are needed for a Sharpe ratio of 1.20"


def test_no_length_of_data_proves_a_ratio_that_luck_explains():
    found = condition("track_record", deflation=deflation(sharpe=0.3, needed_years=None))
    assert found.met is False
    assert "no length of data would be enough for a Sharpe ratio of 0.30 with 9 trials" in found.sentence
    assert found.change == "the ratio has to be clearly above 0.80"
    assert found.needed == "no length does"


def test_figures_do_not_look_like_the_limit_that_they_miss():
    near = deflation(probability=0.94996, years=3.098, needed_years=3.1)
    assert condition("deflated_sharpe", deflation=near).found == "94.996%"
    record = condition("track_record", deflation=near)
    assert record.sentence == "3.098 years of data"
    assert "3.100 years are needed" in record.change
    assert condition("profit", total_return=0.0000004, trades=5).found == "0.00004%"


@pytest.mark.parametrize(("probability", "met"), [(0.95, True), (0.9499, False), (1.0, True)])
def test_the_deflated_probability_is_compared_with_95_percent(probability: float, met: bool):
    found = condition("deflated_sharpe", deflation=deflation(probability=probability))
    assert found.met is met
    assert "above 0.80, the best of 9 trials without an edge" in found.sentence
    assert ("stay counted" in found.change) == (not met)


def test_one_trial_has_no_rivals():
    found = condition("deflated_sharpe", deflation=deflation(trials=1, other_trials=0, expected_best=0.0))
    assert found.sentence == "with a probability of 71.0% the true Sharpe ratio is above 0"
    assert "stay counted" not in found.change


@pytest.mark.parametrize(
    ("total", "trades", "met", "words"),
    [
        (0.123, 5, True, "earns 12.3% after costs"),
        (-0.05, 5, False, "loses 5.0% after costs"),
        (0.0, 5, False, "ends where it began"),
        (None, 5, None, "is not known"),
        (0.0, 0, None, "no trade to earn from"),
    ],
)
def test_profit_is_told_as_a_trader_says_it(total: float | None, trades: int, met: bool | None, words: str):
    found = condition("profit", total_return=total, trades=trades)
    assert found.met is met
    assert words in found.sentence


@pytest.mark.parametrize(("trades", "met"), [(0, False), (1, False), (29, False), (30, True)])
def test_few_trades_are_not_enough(trades: int, met: bool):
    found = condition("trades", trades=trades)
    assert found.met is met
    assert ("never trades" in found.sentence) == (trades == 0)


def test_trading_for_nothing_is_no_condition_met():
    free = condition("costs", paid=0.0)
    assert (free.met, free.found, free.needed) == (False, "0%", "above 0%")
    assert "`commission` and `slippage`" in free.change
    assert condition("costs", paid=0.00025).sentence == (
        "commission and slippage are 0.025% of the traded value per side"
    )

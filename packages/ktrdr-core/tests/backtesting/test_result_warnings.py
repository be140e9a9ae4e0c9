"""What must be said of a result, and in one sentence each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.metrics import METRICS, worse_than
from ktrdr.core.backtesting.result_warnings import result_warnings
from ktrdr.core.limits import FEWEST_TRADES

RETURN = st.floats(-1, 10)


def test_a_strategy_below_its_baselines_is_called_that():
    own = {"total_return": 0.0072, "sharpe": 0.69, "trades": 18}
    hold, majority = {"total_return": 0.018, "sharpe": 1.21}, {"total_return": 0.0, "sharpe": None}
    assert result_warnings(own, {"buy and hold": hold, "the majority class": majority}) == [
        "the strategy is below a baseline: its total return is 0.72% (Sharpe ratio 0.69), that of buy and hold 1.80%"
        " (Sharpe ratio 1.21)",
        "18 trades are too few to judge by: the win rate is uncertain by up to 23 percentage points either way (95%);"
        " figures of trades need at least 30",
    ]
    lost = {**own, "total_return": -0.01, "trades": 1}
    below, few = result_warnings(lost, {"buy and hold": hold, "the majority class": majority})
    assert "below its baselines: its total return is -1.00% (Sharpe ratio 0.69)" in below
    assert below.endswith("that of the majority class 0.00%")
    assert few.startswith("1 trade is too few to judge by: the win rate is uncertain by up to 98 percentage points")


@given(own=RETURN, others=st.lists(RETURN, min_size=1, max_size=3), trades=st.integers(0, 100))
def test_each_is_said_exactly_where_it_holds(own: float, others: list[float], trades: int):
    rivals = {f"rival {number}": {"total_return": value} for number, value in enumerate(others)}
    said = result_warnings({"total_return": own, "trades": trades}, rivals)
    below = [name for name, each in rivals.items() if worse_than("total_return", own, each["total_return"])]
    assert any("below" in each for each in said) == bool(below)
    assert all((f"that of {name} " in "".join(said)) == (name in below) for name in rivals)
    assert any("too few" in each for each in said) == (0 < trades < FEWEST_TRADES)


@given(name=st.sampled_from([info.name for info in METRICS]), value=RETURN, other=RETURN)
def test_worse_is_one_way_round(name: str, value: float, other: float):
    better = next(info.better for info in METRICS if info.name == name)
    worse, opposite = worse_than(name, value, other), worse_than(name, other, value)
    assert not (worse and opposite)
    if not better or value == pytest.approx(other, rel=1e-9, abs=0):
        assert not worse
        assert not opposite
    else:
        assert worse == ((value < other) == (better == "higher"))
    assert not worse_than(name, None, other)
    assert not worse_than(name, value, None)

"""Decisions in one pass equal decisions bar by bar, and together with the simulation equal the slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting import signals
from ktrdr.core.backtesting.signals import SignalRules, decide, volume_ratio
from ktrdr.core.backtesting.simulation import Costs, Market, simulate
from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import CostModel, Decisions, Filters, Risk

classifications = st.builds(
    Decisions,
    confidence_threshold=st.sampled_from([0.0, 0.34, 0.5, 0.9]),
    position_awareness=st.booleans(),
    allow_short_from_flat=st.booleans(),
    filters=st.builds(
        Filters, min_signal_separation=st.integers(0, 6), volume_filter=st.sampled_from([None, 0.5, 1.0])
    ),
)
regressions = st.builds(
    Decisions,
    output_format=st.just("regression"),
    filters=st.builds(Filters, volume_filter=st.sampled_from([None, 1.0])),
    cost_model=st.builds(CostModel, round_trip_cost=st.sampled_from([0.0, 0.003]), min_edge_multiplier=st.just(1.5)),
)


def above(value: float, level: float) -> bool:
    """Above, and not equal but for rounding."""
    return value > level and not math.isclose(value, level, rel_tol=1e-9)


def slow_signal(outputs: list[float], decisions: Decisions, volumes: list[float]) -> int:
    """One bar: its outputs, and the volumes of up to 20 bars, its own last."""
    if any(math.isnan(value) for value in outputs):
        return 0
    if decisions.output_format == "classification":
        buy, hold, sell = outputs
        signal = 1 if above(buy, max(hold, sell)) else -1 if above(sell, max(hold, buy)) else 0
        if signal and not above(buy if signal > 0 else sell, decisions.confidence_threshold):
            signal = 0
    else:
        edge = decisions.cost_model.round_trip_cost * decisions.cost_model.min_edge_multiplier
        signal = 1 if above(outputs[0], edge) else -1 if above(-outputs[0], edge) else 0
    least = decisions.filters.volume_filter
    if least is not None:
        mean = sum(volumes) / 20
        if len(volumes) < 20 or math.isnan(mean) or mean == 0 or above(least, volumes[-1] / mean):
            return 0
    return signal


def outputs_of(seed: int, n: int, decisions: Decisions) -> np.ndarray:
    """Coarse values, so that ties and values at the threshold are common."""
    random = np.random.default_rng(seed)
    if decisions.output_format == "regression":
        values = random.integers(-3, 4, n) * 0.0015
        return np.where(random.random(n) < 0.1, np.nan, values * (1 + 1e-8 * random.integers(-1, 2, n)))
    weights = random.integers(0, 5, (n, 3)) + 1e-3
    outputs = weights / weights.sum(axis=1, keepdims=True)
    outputs[random.random(n) < 0.1] = np.nan
    return outputs


def volumes_of(seed: int, n: int) -> np.ndarray:
    random = np.random.default_rng(seed + 1)
    volume = random.integers(0, 6, n).astype(np.float64)
    volume[random.random(n) < 0.01] = np.nan
    # Where nothing at all is known the filter is refused, which is tested below.
    volume[-20:] = np.maximum(np.nan_to_num(volume[-20:]), 1.0)
    return volume


class TestAgainstTheSlowOne:
    @given(seed=st.integers(0, 10_000), n=st.integers(25, 200), decisions=classifications | regressions)
    def test_signals(self, seed, n, decisions):
        outputs, volume = outputs_of(seed, n, decisions), volumes_of(seed, n)
        fast = decide(outputs, decisions, volume_ratio(volume)).direction
        rows = outputs.reshape(n, -1).tolist()
        slow = [slow_signal(rows[k], decisions, volume[max(0, k - 19) : k + 1].tolist()) for k in range(n)]
        assert fast.tolist() == slow

    def test_signals_do_not_depend_on_the_size_of_blocks(self, monkeypatch):
        decisions = Decisions(confidence_threshold=0.34)
        outputs = outputs_of(1, 20_000, decisions)
        whole = decide(outputs, decisions)
        monkeypatch.setattr(signals, "_BLOCK", 37)
        parts = decide(np.asfortranarray(outputs), decisions)
        assert (parts.direction == whole.direction).all()
        assert parts.passed == whole.passed

    @given(seed=st.integers(0, 10_000), n=st.integers(25, 200), decisions=classifications)
    def test_trades(self, make_bars, reference, seed, n, decisions):
        """From outputs to the account: what the section says, against a walk over the bars with plain numbers."""
        outputs, volume, bars = outputs_of(seed, n, decisions), volumes_of(seed, n), make_bars(seed, n)
        rows = outputs.tolist()
        slow = [slow_signal(rows[k], decisions, volume[max(0, k - 19) : k + 1].tolist()) for k in range(n)]
        rules, costs = SignalRules.of(decisions), Costs(0.001, 0.001)
        fast = simulate(
            [Market(bars, decide(outputs, decisions, volume_ratio(volume)).direction)],
            rules=rules, risk=Risk(), capital=1000.0, costs=costs,
        )  # fmt: skip
        wanted = reference(
            [Market(bars, np.array(slow, dtype=np.int8))], rules=rules, risk=Risk(), capital=1000.0, costs=costs
        )
        assert fast.trades.entry_decision.tolist() == [trade["decision"] for trade in wanted.trades]
        np.testing.assert_allclose(fast.equity, wanted.equity, rtol=1e-9)

    @given(seed=st.integers(0, 10_000), n=st.integers(25, 200), decisions=classifications | regressions)
    def test_counts_fall_from_filter_to_filter(self, seed, n, decisions):
        signals = decide(outputs_of(seed, n, decisions), decisions, volume_ratio(volumes_of(seed, n)))
        counts = list(signals.passed.values())
        assert counts == sorted(counts, reverse=True)
        assert counts[0] == n
        assert counts[-1] == np.count_nonzero(signals.direction)


class TestByHand:
    def test_a_tie_is_hold(self):
        assert decide(
            np.array([[0.4, 0.2, 0.4], [0.45, 0.45, 0.1]]), Decisions(confidence_threshold=0.1)
        ).direction.tolist() == [0, 0]

    def test_only_above_the_threshold(self):
        outputs = np.array([[0.5, 0.3, 0.2], [0.51, 0.3, 0.19]])
        assert decide(outputs, Decisions(confidence_threshold=0.5)).direction.tolist() == [0, 1]

    def test_regression_has_to_beat_its_costs(self):
        decisions = Decisions(output_format="regression")
        assert decide(np.array([0.0045, 0.0046, -0.0046, np.nan]), decisions).direction.tolist() == [0, 1, -1, 0]

    def test_the_volume_of_a_bar_is_among_its_twenty(self):
        volume = np.ones(30)
        volume[25] = 3.0
        ratio = volume_ratio(volume)
        assert np.isnan(ratio[:19]).all()
        assert ratio[25] == pytest.approx(3 / (22 / 20))

    @pytest.mark.parametrize("ratio", [None, np.full(4, np.nan)])
    def test_a_volume_filter_without_volume_is_refused(self, ratio):
        decisions = Decisions(filters=Filters(volume_filter=1.0))
        with pytest.raises(BadInputError, match="no 20 bars in a row with known volumes"):
            decide(np.full((4, 3), 1 / 3), decisions, ratio)

    def test_outputs_must_fit_the_format(self):
        with pytest.raises(BadInputError, match="a regression gives"):
            decide(np.full((4, 3), 1 / 3), Decisions(output_format="regression"))
        with pytest.raises(BadInputError, match="a classifier of BUY, HOLD, SELL gives"):
            decide(np.full((4, 2), 1 / 2), Decisions())

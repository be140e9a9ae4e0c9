"""Worlds of GARCH, against one bar after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.verdicts.garch_fit import fit_garch
from ktrdr.core.verdicts.garch_worlds import GarchModel, garch_model
from ktrdr.core.verdicts.relative_bars import CLOSE, moves_of


@pytest.fixture(scope="module")
def moves() -> np.ndarray:
    market = synthetic_market("garch", 7)
    return moves_of(market_bars(market, "X", Timeframe("1h"), np.datetime64("2017-01-02", "ns"), 3_000))


@pytest.fixture(scope="module")
def model(moves: np.ndarray) -> GarchModel:
    return garch_model(moves, float(moves[CLOSE].mean()), 1e6 * np.abs(moves[CLOSE]))


def test_a_world_is_that_of_one_bar_after_the_other(moves: np.ndarray, model: GarchModel) -> None:
    random = np.random.default_rng(1)
    n, mean = moves.shape[1], float(moves[CLOSE].mean())
    drawn, flipped = random.integers(0, n, n), random.random(n) < 0.5
    fit = fit_garch(moves[CLOSE])
    shocks = (moves - mean) / np.sqrt(fit.variances)
    unit = math.sqrt((shocks[CLOSE] ** 2).mean())
    variance, largest, variances = fit.variance, fit.variances.max() * unit**2, []
    for bar in drawn:
        variances.append(variance)
        square = variance * (shocks[CLOSE, bar] / unit) ** 2
        variance = fit.variance * (1 - fit.alpha - fit.beta) + fit.alpha * square + fit.beta * variance
        variance = min(variance, largest)
    mean_variance = sum(variances) / n
    found, volume = model.world(drawn, flipped)
    for row in range(n):
        size = math.sqrt(variances[row] * fit.variance / mean_variance) / unit
        opened, high, low, close = (size * shocks[:, drawn[row]]).tolist()
        expected = [-opened, -low, -high, -close] if flipped[row] else [opened, high, low, close]
        assert found[:, row].tolist() == pytest.approx([mean + value for value in expected])
        deviation = math.sqrt(fit.variances[drawn[row]])
        assert volume[row] == pytest.approx(1e6 * abs(moves[CLOSE, drawn[row]]) / deviation * size)


def test_volatility_comes_in_clusters(moves: np.ndarray, model: GarchModel) -> None:
    def clustering(closes: np.ndarray) -> float:
        sizes = np.abs(closes - closes.mean())
        return float(np.mean([np.corrcoef(sizes[lag:], sizes[:-lag])[0, 1] for lag in range(1, 21)]))

    random = np.random.default_rng(1)
    n = moves.shape[1]
    worlds = [model.world(random.integers(0, n, n), random.random(n) < 0.5)[0][CLOSE] for _ in range(10)]
    assert clustering(moves[CLOSE]) > 0.05
    assert np.mean([clustering(closes) for closes in worlds]) == pytest.approx(clustering(moves[CLOSE]), abs=0.04)


def test_an_extreme_that_is_drawn_again_and_again_sets_off_no_explosion(moves: np.ndarray) -> None:
    wild = moves.copy()
    wild[:, 1_000] *= 100.0
    model = garch_model(wild, float(wild[CLOSE].mean()), np.ones(moves.shape[1]))
    found, _ = model.world(np.full(moves.shape[1], 1_000), np.zeros(moves.shape[1], dtype=bool))
    assert np.abs(found).max() < 100 * np.abs(wild).max()


def test_unknown_volume_stays_unknown(moves: np.ndarray) -> None:
    volume = np.where(np.arange(moves.shape[1]) % 2, np.nan, 5.0)
    drawn = np.arange(moves.shape[1])[::-1]
    _, found = garch_model(moves, 0.0, volume).world(drawn, drawn > 100)
    assert np.array_equal(np.isnan(found), np.isnan(volume[drawn]))

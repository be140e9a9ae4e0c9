"""The fit of GARCH(1, 1), against a recursion and a general optimizer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ktrdr.core.synthetic.market import synthetic_market
from ktrdr.core.verdicts.garch_fit import fit_garch


def simulated(alpha: float, beta: float, n: int, seed: int = 7) -> np.ndarray:
    market = synthetic_market("garch", seed, {"alpha": alpha, "beta": beta, "volatility": 0.01})
    return np.diff(market.path(n + 1).log_price)


def recursion(returns: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    squares = (returns - returns.mean()) ** 2
    variance = squares.mean()
    variances = [variance]
    for square in squares[:-1]:
        variances.append(variance * (1 - alpha - beta) + alpha * square + beta * variances[-1])
    return np.array(variances)


def loss(returns: np.ndarray, alpha: float, beta: float) -> float:
    variances = recursion(returns, alpha, beta)
    return float((np.log(variances) + (returns - returns.mean()) ** 2 / variances).mean())


@pytest.mark.parametrize(("alpha", "beta"), [(0.08, 0.9), (0.2, 0.5), (0.02, 0.97), (0.0, 0.0), (0.15, 0.8)])
def test_the_weights_are_found(alpha: float, beta: float) -> None:
    fit = fit_garch(simulated(alpha, beta, 17_520))
    assert fit.alpha == pytest.approx(alpha, abs=0.02)
    # Without alpha nothing depends on beta.
    assert alpha == 0.0 or fit.beta == pytest.approx(beta, abs=0.05)


@given(
    st.integers(100, 400),
    st.integers(0, 1_000),
    st.sampled_from([(0.08, 0.9), (0.3, 0.3), (0.0, 0.0)]),
    st.sampled_from([2.5, 8.0]),
)
def test_the_variances_are_those_of_the_recursion(
    n: int, seed: int, weights: tuple[float, float], freedom: float
) -> None:
    returns = simulated(*weights, n, seed) + 0.001 * np.random.default_rng(seed).standard_t(freedom, n)
    fit = fit_garch(returns)
    assert fit.alpha >= 0
    assert fit.beta >= 0
    assert fit.alpha + fit.beta < 1
    assert fit.variance == pytest.approx(returns.var())
    assert fit.variances == pytest.approx(recursion(returns, fit.alpha, fit.beta), rel=1e-9)


@pytest.mark.parametrize("process", ["garch", "regime_volatility", "walk", "mean_reversion"])
def test_a_general_optimizer_finds_nothing_better(process: str) -> None:
    returns = np.diff(synthetic_market(process, 11).path(1_500).log_price)
    fit = fit_garch(returns)

    def at(values: np.ndarray) -> float:
        persistence, share = (1 / (1 + math.exp(-value)) for value in values)
        return loss(returns, persistence * share, persistence * (1 - share))

    best = min(minimize(at, start, method="Nelder-Mead").fun for start in ((4.0, -2.0), (0.0, -1.0)))
    assert loss(returns, fit.alpha, fit.beta) < best + 2e-5


def test_the_unit_of_returns_does_not_count() -> None:
    returns = simulated(0.08, 0.9, 2_000)
    fits = [fit_garch(unit * returns) for unit in (1e-6, 1.0, 100.0)]
    assert [fit.alpha for fit in fits] == pytest.approx([fits[0].alpha] * 3, rel=1e-4)
    assert [fit.beta for fit in fits] == pytest.approx([fits[0].beta] * 3, rel=1e-4)


@pytest.mark.parametrize("n", [0, 1, 99])
def test_few_returns_have_a_constant_variance(n: int) -> None:
    returns = simulated(0.08, 0.9, 200)[:n]
    fit = fit_garch(returns)
    assert (fit.alpha, fit.beta, len(fit.variances)) == (0.0, 0.0, n)
    assert fit.variances == pytest.approx(np.full(n, returns.var() if n else 0.0))


@pytest.mark.parametrize("growth", [1.0, 1.01])
def test_returns_that_differ_by_rounding_alone_have_a_constant_variance(growth: float) -> None:
    fit = fit_garch(np.diff(np.log(growth ** np.arange(500.0))))
    assert (fit.alpha, fit.beta) == (0.0, 0.0)
    assert fit.variance == pytest.approx(0.0, abs=1e-30)
    assert np.isfinite(fit.variances).all()


def test_a_market_that_stood_still_for_long_has_a_fit() -> None:
    returns = np.concatenate((np.zeros(3_000), simulated(0.08, 0.9, 1_000), np.zeros(2_000)))
    fit = fit_garch(returns)
    assert np.isfinite(fit.variances).all()
    assert fit.variances.min() > 0
    assert loss(returns, fit.alpha, fit.beta) <= min(loss(returns, 0.1, 0.85), loss(returns, 0.05, 0.94))

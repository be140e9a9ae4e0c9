"""The fit of GARCH(1, 1) is that of arch, but for the variance: ours targets that of the returns, theirs is free."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arch import arch_model
from arch.univariate import GARCH

from ktrdr.core.data.sample import sample_bars
from ktrdr.core.synthetic.market import synthetic_market
from ktrdr.core.verdicts.garch_fit import fit_garch


def made(process: str, seed: int) -> np.ndarray:
    return np.diff(synthetic_market(process, seed).path(8_001).log_price)


SERIES = {
    "garch": made("garch", 7),
    "switching volatility": made("regime_volatility", 7),
    "EURUSD": np.diff(np.log(sample_bars().close)),
}


@pytest.mark.parametrize("name", SERIES)
def test_variances_are_those_of_arch_at_the_same_weights(name: str) -> None:
    returns = SERIES[name]
    fit = fit_garch(returns)
    deviations, theirs = returns - returns.mean(), np.empty(len(returns))
    GARCH().compute_variance(
        np.array([fit.variance * (1 - fit.alpha - fit.beta), fit.alpha, fit.beta]),
        deviations,
        theirs,
        fit.variance,
        np.tile([0.0, math.inf], (len(returns), 1)),
    )
    assert fit.variances == pytest.approx(theirs, rel=1e-9)


# A free variance is worth one unit where the process is that of the model. Hours of the day with volatilities of their
# own are none, and there it is worth more.
@pytest.mark.parametrize(
    ("name", "worth", "apart"), [("garch", 3, 0.03), ("switching volatility", 3, 0.03), ("EURUSD", 10, 0.1)]
)
def test_the_likelihood_is_almost_that_of_arch(name: str, worth: float, apart: float) -> None:
    returns = SERIES[name]
    fit = fit_garch(returns)
    unit = 1 / returns.std()
    model = arch_model(unit * (returns - returns.mean()), mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
    theirs = model.fit(disp="off")
    squares = (returns - returns.mean()) ** 2
    likelihood = -0.5 * float((np.log(2 * math.pi * unit**2 * fit.variances) + squares / fit.variances).sum())
    assert theirs.loglikelihood - worth < likelihood < theirs.loglikelihood + 1
    assert fit.alpha == pytest.approx(theirs.params["alpha[1]"], abs=apart)
    assert fit.beta == pytest.approx(theirs.params["beta[1]"], abs=apart)

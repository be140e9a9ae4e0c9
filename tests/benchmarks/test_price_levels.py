"""As the page says of price levels on random walks: `cpcv` rewards them, and `walk_forward` does not."""

from __future__ import annotations

import numpy as np
import price_levels


def test_cpcv_rewards_a_price_level_on_random_walks_and_walk_forward_does_not():
    """The seeds are others than those of the page."""
    means, errors = {}, {}
    for kind in price_levels.KINDS:
        accuracy = np.array([price_levels.found(kind, seed)["accuracy"] for seed in range(1000, 1100)])
        means[kind], errors[kind] = accuracy.mean(), accuracy.std(ddof=1) / 10
    assert means["cpcv"] > 3 * errors["cpcv"]
    assert abs(means["walk_forward"]) < 3 * errors["walk_forward"]


def test_the_regression_is_where_the_likelihood_has_no_slope():
    random = np.random.default_rng(1)
    feature = random.standard_normal(400)
    up = (feature + random.logistic(size=400) > 0.3).astype(float)
    weights = price_levels.fitted(feature, up)
    p = 1 / (1 + np.exp(-weights[0] - weights[1] * feature))
    assert abs((p - up).sum() + 1e-3 * weights[0]) < 1e-8
    assert abs(((p - up) * feature).sum() + 1e-3 * weights[1]) < 1e-8

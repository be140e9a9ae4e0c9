"""Shares of the features in a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import Explainable, RuleBased


@pytest.mark.parametrize("name", ["mlp", "lstm", "gru", "anfis"])
@pytest.mark.parametrize("output", ["classification", "regression"])
def test_shares_add_up_to_the_difference_from_the_average_sample(problem, train, name, output):
    given = problem(name, output, settings={"epochs": 6})
    model = train(given)
    predictor = model.predictor()
    assert isinstance(predictor, Explainable)
    assert isinstance(predictor, RuleBased) == (name == "anfis")
    window = predictor.window
    features = given.data.features[: window + 11].copy()
    features[5, 1] = np.nan
    shares = predictor.contributions(features)
    answers = predictor.predict(features).reshape(len(features), -1)
    assert shares.shape == (len(features), 4, answers.shape[1])
    np.testing.assert_array_equal(np.isnan(shares).all(axis=1), np.isnan(answers))
    average = given.data.features[given.data.train.rows].mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_allclose(model.tensors["average"], average, atol=1e-6)
    base = predictor.predict(np.tile(average, (window, 1)))[-1]
    whole = ~np.isnan(answers[:, 0])
    difference = answers[whole] - base
    np.testing.assert_allclose(shares[whole].sum(axis=1), difference, atol=0.03 * np.abs(difference).max() + 1e-7)


def test_what_a_linear_model_does_is_known_exactly(problem, train):
    given = problem("mlp", "regression", architecture={"activation": "leaky_relu"}, settings={"epochs": 30})
    predictor = train(given).predictor()
    shares = predictor.contributions(given.data.features[:200])[:, :, 0]
    # Labels are the first feature less the second; the other two are noise.
    average = given.data.features.mean(axis=0)
    for column, sign in ((0, 1), (1, -1)):
        assert np.corrcoef(shares[:, column], sign * (given.data.features[:200, column] - average[column]))[0, 1] > 0.9
    assert np.abs(shares[:, :2]).mean() > 5 * np.abs(shares[:, 2:]).mean()


def test_a_wrong_number_of_columns_is_refused(problem, train):
    with pytest.raises(BadInputError, match="the model takes 4 features"):
        train(problem()).predictor().contributions(np.zeros((3, 5), np.float32))

"""Permutation importance of models whose inputs are known to matter or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.inspection import permutation_importance as sklearn_importance

from ktrdr.core.errors import CancelledError
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.training.importance import JudgedSamples, change_in_words, permutation_importance, relative_change
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import ProgressEvent

Predict = Callable[[np.ndarray], np.ndarray]


def membership(fuzzy_set: str, name: str, lag: int = 0, timeframe: str = "1h") -> FeatureColumn:
    suffix = f"_lag{lag}" if lag else ""
    return FeatureColumn(f"{timeframe}_{fuzzy_set}_{name}{suffix}", "membership", timeframe, "i", fuzzy_set, name)


def raw(indicator: str) -> FeatureColumn:
    return FeatureColumn(f"1h_{indicator}_raw", "raw", "1h", indicator, normalization="zscore")


COLUMNS = (membership("rsi", "low"), membership("rsi", "high"), membership("turn", "up"), raw("atr"))


def logistic(features: np.ndarray) -> np.ndarray:
    """Probabilities of three classes from columns 0 and 2; column 2 has less weight, columns 1 and 3 have none."""
    up = 8 * (features[:, 0].astype(np.float64) - 0.5) + 2 * (features[:, 2] - 0.5)
    scores = np.exp(np.stack([up, np.zeros(len(up)), -up], axis=1))
    return scores / scores.sum(axis=1, keepdims=True)


def samples_for(predict: Predict, n: int = 800, seed: int = 0, columns: int = 4) -> JudgedSamples:
    """Labels drawn from the model's own probabilities, of every row."""
    random = np.random.default_rng(seed)
    features = random.random((n, columns), dtype=np.float32)
    labels = (predict(features).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return JudgedSamples(features, np.arange(n), labels)


def by_id(result: dict[str, Any], score: str) -> dict[str, float]:
    return {item["id"]: item[score]["mean"] for item in result["features"]}


def test_stronger_inputs_are_more_important_and_unused_ones_are_not_important():
    result = permutation_importance(logistic, [samples_for(logistic)], COLUMNS, "classification")
    for score in ("log_loss", "accuracy"):
        costs = by_id(result, score)
        assert costs["1h_rsi_low"] > 2 * costs["1h_turn_up"] > 0
        assert costs["1h_rsi_high"] == costs["1h_atr_raw"] == 0
    assert result["features"][1]["log_loss"] == {"mean": 0.0, "std": 0.0}
    assert result["samples"] == 800
    assert json.loads(json.dumps(result, allow_nan=False)) == result


class _Model:
    """A model with the interface of scikit-learn."""

    classes_ = np.arange(3)

    def fit(self) -> None: ...

    def predict(self, features: np.ndarray) -> np.ndarray:
        return logistic(features).argmax(axis=1)

    def score(self, features: np.ndarray, labels: np.ndarray) -> float:
        return float((self.predict(features) == labels).mean())


def test_equals_scikit_learn_up_to_the_choice_of_permutations():
    samples, repeats = samples_for(logistic, 300), 400
    ours = permutation_importance(logistic, [samples], COLUMNS, "classification", repeats=repeats)
    theirs = sklearn_importance(_Model(), samples.features, samples.labels, n_repeats=repeats, random_state=0)
    for position, item in enumerate(ours["features"]):
        error = 4 * np.hypot(item["accuracy"]["std"], theirs.importances_std[position]) / np.sqrt(repeats)
        assert abs(item["accuracy"]["mean"] - theirs.importances_mean[position]) <= error
        assert item["accuracy"]["std"] == pytest.approx(theirs.importances_std[position], rel=0.2)


def test_groups_hold_all_memberships_lags_and_timeframes():
    columns = (
        membership("rsi", "low"),
        membership("rsi", "high"),
        membership("rsi", "low", lag=1),
        membership("rsi", "low", timeframe="4h"),
        raw("rsi"),
        membership("turn", "up"),
    )
    samples = samples_for(logistic, columns=6)
    result = permutation_importance(logistic, [samples], columns, "classification")
    assert [(group["kind"], group["id"], group["columns"]) for group in result["groups"]] == [
        ("fuzzy_set", "rsi", ["1h_rsi_low", "1h_rsi_high", "1h_rsi_low_lag1", "4h_rsi_low"]),
        ("raw_indicator", "rsi", ["1h_rsi_raw"]),
        ("fuzzy_set", "turn", ["1h_turn_up"]),
    ]
    # The only column of its group: the same permutations, the same cost.
    assert result["groups"][2]["log_loss"] == result["features"][5]["log_loss"]
    # Column 2 matters, and is one of `rsi` here: the group costs more than its most important column.
    assert result["groups"][0]["log_loss"]["mean"] > result["features"][0]["log_loss"]["mean"]


def test_columns_of_a_group_move_together():
    """A model that reads how two equal columns differ: nothing, if both are permuted alike."""

    def difference(features: np.ndarray) -> np.ndarray:
        up = 5 * (features[:, 0] - features[:, 1]).astype(np.float64)
        return np.stack([1 / (1 + np.exp(-up)), 1 / (1 + np.exp(up))], axis=1)

    random = np.random.default_rng(0)
    column = random.random((300, 1), dtype=np.float32)
    samples = JudgedSamples(np.hstack([column, column]), np.arange(300), np.zeros(300, dtype=np.int64))
    result = permutation_importance(difference, [samples], COLUMNS[:2], "classification")
    assert result["groups"][0]["log_loss"] == {"mean": 0.0, "std": 0.0}
    assert all(item["log_loss"]["mean"] > 0.1 for item in result["features"])


def test_regression_is_judged_by_its_error():
    random = np.random.default_rng(0)
    features = random.random((500, 4), dtype=np.float32)
    labels = (features[:, 0] - features[:, 1]).astype(np.float64)
    result = permutation_importance(
        lambda x: x[:, 0].astype(np.float64) - x[:, 1],
        [JudgedSamples(features, np.arange(500), labels)],
        COLUMNS,
        "regression",
    )
    assert result["scores"] == {"rmse": pytest.approx(0.0, abs=1e-6)}
    # A permuted uniform column is wrong by sqrt(2 * 1/12) on average.
    assert by_id(result, "rmse")["1h_rsi_low"] == pytest.approx(np.sqrt(1 / 6), rel=0.05)
    assert by_id(result, "rmse")["1h_turn_up"] == 0


def test_seeds_repeat_and_differ():
    samples = [samples_for(logistic)]
    first, again = (permutation_importance(logistic, samples, COLUMNS, "classification", seed=1) for _ in range(2))
    assert first == again
    other = permutation_importance(logistic, samples, COLUMNS, "classification", seed=2)
    assert other["features"] != first["features"]
    assert other["scores"] == first["scores"]


def mean_of_window(window: int) -> Predict:
    """A model of ``window`` rows, as backends have them: NaN where the window is not complete."""

    def predict(features: np.ndarray) -> np.ndarray:
        padded = np.full((window - 1, features.shape[1]), np.nan)
        rows = np.lib.stride_tricks.sliding_window_view(np.vstack([padded, features]), window, axis=0)
        return rows.mean(axis=2)[:, 0]

    return predict


def test_windows_lie_within_the_rows_that_samples_look_at():
    """Rows before, after and between the samples' windows are not warm, and are not used."""
    window, random = 4, np.random.default_rng(0)
    features = random.random((120, 2), dtype=np.float32)
    rows = np.concatenate([np.arange(13, 50), np.arange(63, 110)])
    features[:10] = features[50:60] = features[110:] = np.nan
    predict = mean_of_window(window)
    before = features.copy()
    labels = predict(features)[rows]
    result = permutation_importance(
        predict, [JudgedSamples(features, rows, labels)], COLUMNS[:2], "regression", window=window
    )
    assert result["scores"]["rmse"] == 0.0
    assert by_id(result, "rmse")["1h_rsi_low"] > 0.05
    assert by_id(result, "rmse")["1h_rsi_high"] == 0.0
    np.testing.assert_array_equal(features, before)


def test_most_steps_within_a_window_stay_unchanged():
    """The model reads the steps between neighbouring rows, which are all 1: permuted row by row they would be wild."""
    window, n, seen = 10, 200, []

    def predict(features: np.ndarray) -> np.ndarray:
        seen.append(features[:, 0].copy())
        return np.zeros(len(features))

    features = np.arange(n, dtype=np.float32)[:, None]
    rows = np.arange(window - 1, n)
    samples = JudgedSamples(features, rows, np.zeros(len(rows)))
    permutation_importance(predict, [samples], COLUMNS[:1], "regression", window=window, repeats=3)
    assert len(seen) == 1 + 3
    np.testing.assert_array_equal(seen[0], np.arange(n))
    for column in seen[1:]:
        np.testing.assert_array_equal(np.sort(column), np.arange(n))
        assert not np.array_equal(column, np.arange(n))
        assert (np.diff(column) == 1).mean() >= 1 - 1 / window


def test_symbols_never_exchange_values():
    """Each symbol's column is constant: exchanged within the symbol, nothing changes."""
    parts = []
    for value, label in ((0.9, 0), (0.1, 2)):
        features = np.full((50, 4), value, dtype=np.float32)
        parts.append(JudgedSamples(features, np.arange(50), np.full(50, label)))
    result = permutation_importance(logistic, parts, COLUMNS, "classification")
    assert result["samples"] == 100
    assert set(by_id(result, "log_loss").values()) == {0.0}


def test_of_too_many_samples_the_latest_are_used():
    calls: list[int] = []

    def counted(features: np.ndarray) -> np.ndarray:
        calls.append(len(features))
        return logistic(features)

    parts = [samples_for(logistic, 300), samples_for(logistic, 100, seed=1)]
    result = permutation_importance(counted, parts, COLUMNS, "classification", max_samples=100)
    assert result["samples"] == 100
    assert set(calls) == {75, 25}
    latest = [
        JudgedSamples(p.features, p.rows[-keep:], p.labels[-keep:]) for p, keep in zip(parts, (75, 25), strict=True)
    ]
    assert permutation_importance(logistic, latest, COLUMNS, "classification") == result


def test_progress_comes_after_each_input_and_ends_at_the_end():
    events: list[ProgressEvent] = []
    permutation_importance(logistic, [samples_for(logistic)], COLUMNS, "classification", progress=events.append)
    assert {event.step for event in events} == {"importance"}
    assert [event.done for event in events] == list(range(1, 4 + 3 + 1))
    assert events[-1].fraction == 1.0


def test_cancellation_comes_before_the_next_prediction_and_leaves_the_features_alone():
    cancellation, calls, samples = Cancellation(), 0, samples_for(logistic)
    before = samples.features.copy()

    def predict(features: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 4:
            cancellation.cancel()
        return logistic(features)

    with pytest.raises(CancelledError):
        permutation_importance(predict, [samples], COLUMNS, "classification", cancellation=cancellation)
    assert calls == 4
    np.testing.assert_array_equal(samples.features, before)


def test_no_sample_and_no_prediction_are_refused():
    with pytest.raises(ValueError, match="there is no sample"):
        permutation_importance(logistic, [], COLUMNS, "classification")
    with pytest.raises(ValueError, match="no prediction for some of the samples"):
        permutation_importance(
            lambda features: np.full((len(features), 3), np.nan), [samples_for(logistic)], COLUMNS, "classification"
        )


@pytest.mark.parametrize(
    ("score", "mean", "std", "words"),
    [
        (0.0012, 0.000_015, 0.000_000_84, "+1.25% ± 0.07%"),
        (0.0012, -0.000_000_011, 0.0, "-0.000917% ± 0.000000%"),
        (0.0012, 0.0031, 0.0001, "+258% ± 8%"),
        (1.1042, 0.0123, 0.0007, "+1.11% ± 0.06%"),
        (0.5, 8.25, 0.5, "+1,650% ± 100%"),
        (0.31, -2e-17, 0.0134, "+0.00% ± 4.32%"),
        (0.0, 0.000_012, 0.000_001, "+1.2e-05 ± 1e-06"),
    ],
)
def test_a_change_is_shown_as_a_share_of_the_score_with_three_digits(score, mean, std, words):
    """An RMSE of hourly returns is about 0.001, so its change needs more decimal places."""
    importance = {"scores": {"rmse": score}}
    entry = {"id": "1h_rsi_low", "rmse": {"mean": mean, "std": std}}
    assert change_in_words(importance, entry, "rmse") == words
    share, spread = relative_change(importance, entry, "rmse")
    assert (share, spread) == (
        pytest.approx((mean / score, std / score)) if score else pytest.approx((np.nan, np.nan), nan_ok=True)
    )


def test_without_scores_there_is_no_relative_change():
    """A manifest of other origin may have no scores."""
    entry = {"id": "1h_rsi_low", "rmse": {"mean": 0.5, "std": 0.25}}
    assert change_in_words({}, entry, "rmse") == "+0.5 ± 0.25"

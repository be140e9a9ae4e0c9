"""Intervals of metrics: against a slow bootstrap, and what they must not depend on."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.validation.intervals import block_length, metric_intervals

CLASSES = ("BUY", "HOLD", "SELL")


def probabilities(random, m, k=3):
    return random.dirichlet(np.ones(k), m)


def slow_width(n, length, look_ahead):
    """Return the factor of the width from the definition in the module, with scipy's quantile of Student."""
    from scipy import stats

    student = stats.t.ppf(0.95, 1.5 * n / length) / stats.norm.ppf(0.95)
    return student / math.sqrt(1 - look_ahead / (3 * length)) * math.sqrt(round(n / length) * length / n)


def slow_reach(values):
    """Return the reach by the sums of Politis and White, lag by lag."""
    n, mean = len(values), sum(values) / len(values)

    def covariance(lag):
        return sum((values[i] - mean) * (values[i + lag] - mean) for i in range(n - lag)) / n

    if covariance(0) < 1e-20:
        return 0.0
    successive = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = math.ceil(math.sqrt(n)) + successive
    noise = 2 * math.sqrt(math.log10(n) / n)
    quiet = [abs(covariance(lag) / covariance(0)) < noise for lag in range(1, n)]
    spells = [lag for lag in range(n - successive) if all(quiet[lag : lag + successive])]
    window = min(2 * max(spells[0] if spells else most, 1), most, n - 1)
    whole, moment = covariance(0), 0.0
    for lag in range(1, window + 1):
        weight = min(1.0, 2 * (1 - lag / window))
        whole += 2 * weight * covariance(lag)
        moment += 2 * weight * lag * covariance(lag)
    return max(moment / whole, 0.0) if whole > 0 else 0.0


def slow_length(truth, outputs, samples, classes, look_ahead):
    """Return the length of a block from the largest reach, of labels, losses and confidence."""
    loss, confidence = [], []
    for rows in samples.values():
        if classes:
            loss.append(np.mean([-math.log(each[row][truth[row]]) for each in outputs for row in rows]))
            confidence.append(np.mean([sum(p * math.log(p) for p in each[row]) for each in outputs for row in rows]))
        else:
            loss.append(np.mean([(each[row] - truth[row]) ** 2 for each in outputs for row in rows]))
            confidence.append(np.mean([abs(each[row] - np.median(each)) for each in outputs for row in rows]))
    n, reach = len(samples), max(slow_reach(loss), slow_reach(confidence))
    of_labels = round((look_ahead**2 * n / 6) ** (1 / 3))
    return max(1, look_ahead, of_labels, min(round((1.5 * reach**2 * n) ** (1 / 3)), n // 8))


def slow_intervals(truth, outputs, position, classes, look_ahead, seed):
    """Return the intervals from samples that are joined block by block, and judged anew in each resample."""
    bars = sorted(set(position.tolist()))
    n = len(bars)
    samples = {bar: [i for i in range(len(truth)) if position[i] == bar] for bar in bars}
    length = slow_length(truth, outputs, samples, classes, look_ahead)
    runs, own = [], [bars[0]]
    for before, bar in pairwise(bars):
        if bar - before > length:
            runs.append(own)
            own = []
        own.append(bar)
    runs.append(own)
    run_of = {bar: run for run in runs for bar in run}
    random = np.random.default_rng(seed)
    blocks = round(n / length)
    judge = (
        (lambda rows, each: evaluate_classification(truth[rows], each[rows], classes))
        if classes
        else (lambda rows, each: evaluate_regression(truth[rows], each[rows]))
    )
    drawn = []
    for _ in range(8):
        drawn.extend(random.integers(0, n, (125, blocks)))
    found = []
    for starts in drawn:
        rows = []
        for start in starts:
            run = run_of[bars[start]]
            at = run.index(bars[start])
            for step in range(length):
                rows += samples[run[(at + step) % len(run)]]
        found.append([judge(rows, each) for each in outputs])
    whole = [judge(list(range(len(truth))), each) for each in outputs]
    width = slow_width(n, length, look_ahead)
    intervals = {}
    for name in found[0][0]:
        if not isinstance(found[0][0][name], float):
            continue
        value = np.mean([each[name] for each in whole])
        drawn = [np.mean([each[name] for each in row]) for row in found]
        low, high = np.quantile(drawn, [0.05, 0.95])
        bias = np.mean(drawn) - value if name == "r2" else 0.0
        middle = value + bias
        intervals[name] = (value, value - bias + width * (low - middle), value - bias + width * (high - middle))
    return intervals


def a_case(seed, *, regression):
    """Samples of two symbols, in no order, with a gap in time."""
    random = np.random.default_rng(seed)
    # Bar 5 has no sample, which ends no run; the gap from 40 to 55 does.
    position = np.concatenate((np.delete(np.arange(40), 5), np.arange(55, 75), np.arange(10, 30)))
    random.shuffle(position)
    m = len(position)
    if regression:
        truth = random.normal(0, 0.001, m)
        return truth, [truth * each + random.normal(0, 0.001, m) for each in (0.1, 0.3)], position
    return random.integers(0, 3, m), [probabilities(random, m) for _ in range(2)], position


def test_classification_equals_a_slow_bootstrap():
    truth, outputs, position = a_case(3, regression=False)
    fast = metric_intervals(truth, outputs, position, classes=CLASSES, look_ahead=4, seed=7)
    slow = slow_intervals(truth, outputs, position, CLASSES, 4, 7)
    assert list(fast) == ["accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss"]
    for name, interval in fast.items():
        assert (interval.value, interval.low, interval.high) == pytest.approx(slow[name], rel=2e-3), name


def test_regression_equals_a_slow_bootstrap():
    truth, outputs, position = a_case(5, regression=True)
    fast = metric_intervals(truth, outputs, position, classes=(), look_ahead=4, seed=7)
    slow = slow_intervals(truth, outputs, position, (), 4, 7)
    assert list(fast) == ["rmse", "mae", "r2", "directional_accuracy", "information_coefficient"]
    for name, interval in fast.items():
        # Resamples keep the ranks of all samples; the slow ones rank anew.
        loose = {"abs": 0.05} if name == "information_coefficient" else {"rel": 2e-3}
        assert (interval.value, interval.low, interval.high) == pytest.approx(slow[name], **loose), name


@given(seed=st.integers(0, 1000), shift=st.integers(-(10**6), 10**6), regression=st.booleans())
def test_order_and_origin_of_the_timeline_do_not_matter(seed, shift, regression):
    truth, outputs, position = a_case(seed, regression=regression)
    classes = () if regression else CLASSES
    one = metric_intervals(truth, outputs, position, classes=classes, look_ahead=4)
    order = np.random.default_rng(seed).permutation(len(truth))
    moved = [each[order] for each in outputs]
    other = metric_intervals(truth[order], moved, position[order] + shift, classes=classes, look_ahead=4)
    for name, interval in one.items():
        same = (interval.value, interval.low, interval.high)
        assert (other[name].value, other[name].low, other[name].high) == pytest.approx(same, rel=1e-9, abs=1e-12)


def test_the_value_is_the_mean_over_the_models():
    random = np.random.default_rng(0)
    truth, outputs = random.integers(0, 3, 500), [probabilities(random, 500) for _ in range(3)]
    found = metric_intervals(truth, outputs, np.arange(500), classes=CLASSES, look_ahead=2)
    for name, interval in found.items():
        mean = np.mean([evaluate_classification(truth, each, CLASSES)[name] for each in outputs])
        assert interval.value == pytest.approx(mean)
        assert interval.low < interval.value < interval.high


def test_a_second_symbol_with_the_same_samples_tells_nothing_new():
    random = np.random.default_rng(1)
    truth, output, position = random.integers(0, 3, 400), probabilities(random, 400), np.arange(400)
    one = metric_intervals(truth, [output], position, classes=CLASSES, look_ahead=3)
    twice = metric_intervals(
        np.tile(truth, 2), [np.tile(output, (2, 1))], np.tile(position, 2), classes=CLASSES, look_ahead=3
    )
    assert twice["accuracy"].low == pytest.approx(one["accuracy"].low)
    assert twice["accuracy"].high == pytest.approx(one["accuracy"].high)


def test_is_wide_where_labels_overlap():
    random = np.random.default_rng(2)
    # Each label and its prediction hold for 24 bars.
    truth = np.repeat(random.integers(0, 3, 100), 24)
    output = np.repeat(probabilities(random, 100), 24, axis=0)
    aware = metric_intervals(truth, [output], np.arange(2400), classes=CLASSES, look_ahead=24)["accuracy"]
    order = random.permutation(2400)
    mixed = metric_intervals(truth[order], [output[order]], np.arange(2400), classes=CLASSES, look_ahead=1)["accuracy"]
    assert aware.high - aware.low > 3 * (mixed.high - mixed.low)


def test_too_few_bars_have_no_interval():
    random = np.random.default_rng(3)
    truth, output = random.integers(0, 3, 60), probabilities(random, 60)
    found = metric_intervals(truth, [output], np.arange(60), classes=CLASSES, look_ahead=24)
    assert found["accuracy"].value is not None
    assert (found["accuracy"].low, found["accuracy"].high) == (None, None)


def test_one_class_and_constant_values_have_intervals_of_no_width():
    output = np.tile([0.7, 0.2, 0.1], (100, 1))
    found = metric_intervals(np.zeros(100), [output], np.arange(100), classes=CLASSES, look_ahead=1)
    assert (found["accuracy"].low, found["accuracy"].high) == (1.0, 1.0)
    assert (found["mcc"].low, found["mcc"].high) == (0.0, 0.0)
    constant = metric_intervals(np.full(100, 0.1), [np.full(100, 0.1)], np.arange(100), classes=(), look_ahead=1)
    assert (constant["rmse"].low, constant["r2"].low, constant["information_coefficient"].high) == (0.0, 1.0, 0.0)


def test_a_missing_prediction_is_an_error():
    with pytest.raises(ValueError, match="1 of 50 samples have no prediction"):
        metric_intervals(np.zeros(50), [np.r_[np.nan, np.zeros(49)]], np.arange(50), classes=(), look_ahead=1)


def test_block_length_is_that_of_the_formula():
    assert block_length(3000, 24) == round((24**2 * 3000 / 6) ** (1 / 3))
    assert block_length(10, 24) == 24
    assert block_length(1, 0) == 1
    assert block_length(3000, 24, 20.0) == round((1.5 * 20**2 * 3000) ** (1 / 3))
    # What is estimated leaves eight blocks.
    assert block_length(400, 1, 1000.0) == 50


def test_is_wide_where_the_confidence_of_the_model_lasts():
    random = np.random.default_rng(4)
    m, strength = 2000, np.repeat(random.normal(0, 2, 40), 50)
    output = np.exp(np.stack((strength, np.zeros(m), np.zeros(m)), axis=1))
    output /= output.sum(axis=1, keepdims=True)
    truth = np.array([random.choice(3, p=row) for row in output])
    lasting = metric_intervals(truth, [output], np.arange(m), classes=CLASSES, look_ahead=1)["log_loss"]
    order = random.permutation(m)
    mixed = metric_intervals(truth[order], [output[order]], np.arange(m), classes=CLASSES, look_ahead=1)["log_loss"]
    assert lasting.high - lasting.low > 1.5 * (mixed.high - mixed.low)

"""Intervals of prediction metrics that account for overlapping labels.

A label looks at the bars after it, so neighbouring samples share most of their future, and as many samples hold far
less evidence than independent ones would. Blocks of successive bars are therefore resampled instead of single samples:
the circular block bootstrap of D. N. Politis and J. P. Romano, "A Circular Block-Resampling Procedure for Stationary
Data" (1992). All samples of a bar, of whatever symbol, stay together. A block never crosses a gap that is longer than
itself, such as that between two test parts: it goes on at the beginning of the run of bars that it is in.

The length of a block is that of H. R. Künsch, "The Jackknife and the Bootstrap for General Stationary Observations"
(Annals of Statistics, 1989), as D. N. Politis and H. White, "Automatic Block-Length Selection for the Dependent
Bootstrap" (Econometric Reviews, 2004), give it: the cube root of ``1.5 reach^2 n``, where the reach ``G / g`` is the
sum of the autocovariances times their lags, divided by their sum. Sums of ``h`` successive independent returns have
the autocovariances ``1 - k / h`` up to lag ``h``, so their reach is ``h / 3``. Features may remember longer than
labels look ahead, and then errors come in longer stretches. So the reach is also estimated from the mean loss of each
bar, and from the mean confidence of the models, which carries less noise: by the flat-top lag window of Politis and
White. The largest reach counts, but what is estimated makes no block longer than an eighth of the bars.

Two errors of any block bootstrap are corrected: blocks leave out the share ``reach / length`` of the variance (by the
reach of the labels), and a variance estimated from few blocks is itself uncertain, as that of Student's distribution
with ``1.5 n / length`` degrees of freedom (the relative variance of the estimate is ``4 length / (3 n)``, Künsch). The
interval of ``r2`` is also moved by its bias, as few labels tell their mean badly. `docs/explanation/validation.md`
shows how often the intervals contain the true value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from ktrdr.core.training.evaluation import (
    confusion_scores,
    evaluate_classification,
    evaluate_regression,
    ranks,
    surprise,
)
from ktrdr.core.validation.evaluation_result import Interval

__all__ = ["SHARE", "block_length", "metric_intervals", "reach_of"]

SHARE = 0.9
"""Probability that an interval contains the true value."""

_RESAMPLES = 1000
# Evenly spaced bars at which blocks may begin: more would take time and hardly change the result.
_MOST_STARTS = 4000
_FEWEST_BARS = 20
_FEWEST_BLOCKS = 4
# Least number of blocks that an estimated reach leaves.
_FEWEST_BY_REACH = 8
# Resamples of which the weights are in memory at once.
_AT_ONCE = 125
_BOUNDS = {
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "macro_f1": (0.0, 1.0),
    "mcc": (-1.0, 1.0),
    "log_loss": (0.0, math.inf),
    "rmse": (0.0, math.inf),
    "mae": (0.0, math.inf),
    "r2": (-math.inf, 1.0),
    "directional_accuracy": (0.0, 1.0),
    "information_coefficient": (-1.0, 1.0),
}
_CLASSIFICATION = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss")
_REGRESSION = ("rmse", "mae", "r2", "directional_accuracy", "information_coefficient")


def block_length(bars: int, look_ahead: int, reach: float = 0.0) -> int:
    """Return the number of bars of a block; see the module.

    Args:
        bars: number of bars with samples.
        look_ahead: number of bars that a label looks ahead.
        reach: estimated reach of the dependence.

    Returns:
        The length, at least 1 and at least ``look_ahead``.
    """

    def by(reach: float) -> int:
        return round((1.5 * reach**2 * bars) ** (1 / 3))

    return max(by(look_ahead / 3), min(by(reach), bars // _FEWEST_BY_REACH), look_ahead, 1)


def metric_intervals(
    truth: np.ndarray,
    outputs: Sequence[np.ndarray] | np.ndarray,
    position: np.ndarray,
    *,
    classes: Sequence[str],
    look_ahead: int,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return metrics of predictions with intervals that contain the true value with a probability of 90 %.

    Several models that predict the same samples, such as those of several seeds or the paths of an evaluation, have one
    value, the mean of their metrics, and the interval is that of this mean: each resample takes the same blocks of all
    models.

    Args:
        truth: ``(m,)`` labels: class numbers, or values of a regression. At least one; in any order.
        outputs: predictions of each model: float ``(m, k)`` probabilities, or ``(m,)`` values of a regression. At least
            one model.
        position: int64 ``(m,)``: position of each sample's bar on the timeline of all symbols; the same for samples of
            several symbols at the same time.
        classes: names of the ``k`` classes, in label order; empty for a regression.
        look_ahead: number of bars that a label looks ahead.
        seed: seed of the resampling.

    Returns:
        Metrics by name, as :func:`~ktrdr.core.training.evaluation.evaluate_classification` and
        :func:`~ktrdr.core.training.evaluation.evaluate_regression` define them. The bounds are ``None`` if there are
        fewer than 20 bars, or fewer than four blocks.

    Raises:
        ValueError: there is no sample, or a prediction is missing (NaN), or the shapes do not fit each other.
    """
    truth, position = np.asarray(truth), np.asarray(position, dtype=np.int64)
    names = _CLASSIFICATION if classes else _REGRESSION
    values = dict.fromkeys(names, 0.0)
    for each in outputs:
        metrics = evaluate_classification(truth, each, classes) if classes else evaluate_regression(truth, each)
        for name in names:
            values[name] += metrics[name] / len(outputs)
    plan = _Plan.of(position, look_ahead, *_series(truth, outputs, bool(classes)))
    if plan is None:
        return {name: Interval(value=value) for name, value in values.items()}
    weights = _weights(plan, seed)
    resampled = {name: np.zeros(_RESAMPLES) for name in names}
    for each in outputs:
        columns, scores = _class_sums(truth, each, len(classes)) if classes else _value_sums(truth, each)
        totals = weights @ plan.block_sums(columns)
        for name, score in scores(totals).items():
            resampled[name] += score / len(outputs)
    return {name: _interval(name, values[name], resampled[name], plan.width) for name in names}


def _series(
    truth: np.ndarray, outputs: Sequence[np.ndarray] | np.ndarray, classes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and confidence of each sample, the means over the models, float64 ``(m,)`` each.

    The confidence in a class is measured by the entropy of the probabilities, that in a value by its distance from the
    median of all predictions.
    """
    loss, confidence = np.zeros(len(truth)), np.zeros(len(truth))
    for each in outputs:
        if classes:
            loss += surprise(truth.astype(np.int64), each)
            confidence -= (each * np.log(np.maximum(each, np.finfo(np.float64).tiny))).sum(axis=1)
        else:
            loss += np.square(each - truth, dtype=np.float64)
            confidence += np.abs(each - np.median(each))
    return loss / len(outputs), confidence / len(outputs)


def reach_of(values: np.ndarray) -> float:
    """Return how far the dependence of a series reaches, by the flat-top lag window of Politis and White.

    Args:
        values: float64 ``(n,)``, at least 20.

    Returns:
        The reach in steps of the series; see the module. At least 0.
    """
    n = len(values)
    centred = values - values.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size)[:n]
    # A constant series has no more than rounding errors.
    if covariance[0] <= n * (1e-12 * float(np.abs(values).max())) ** 2:
        return 0.0
    # The first lag after which so many successive correlations are those of noise, with the constants of the paper.
    successive = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = math.ceil(math.sqrt(n)) + successive
    quiet = np.abs(covariance[1:] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    spells = np.lib.stride_tricks.sliding_window_view(quiet, successive).all(axis=1)
    last = int(spells.argmax()) if spells.any() else most
    window = min(2 * max(last, 1), most, n - 1)
    lags = np.arange(1, window + 1)
    weighted = np.clip(2 * (1 - lags / window), 0.0, 1.0) * covariance[1 : window + 1]
    whole = float(covariance[0] + 2 * weighted.sum())
    return max(2 * float((lags * weighted).sum()) / whole, 0.0) if whole > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Blocks of bars.

    Attributes:
        order: int64 ``(m,)``: samples in the order of their bars.
        first: int64 ``(bars,)``: first sample of each bar, in that order.
        runs: half-open ranges of bars without a gap of more than a block between them.
        length: bars of a block.
        starts: int64: bars at which blocks begin.
        blocks: number of blocks of a resample.
        width: factor of the width of the interval.
    """

    order: np.ndarray
    first: np.ndarray
    runs: tuple[tuple[int, int], ...]
    length: int
    starts: np.ndarray
    blocks: int
    width: float

    @classmethod
    def of(cls, position: np.ndarray, look_ahead: int, *series: np.ndarray) -> _Plan | None:
        order = np.argsort(position, kind="stable")
        bars, first, counts = np.unique(position[order], return_index=True, return_counts=True)
        n = len(bars)
        if n < _FEWEST_BARS:
            return None
        reach = max(reach_of(np.add.reduceat(each[order], first) / counts) for each in series)
        length = block_length(n, look_ahead, reach)
        if n < _FEWEST_BLOCKS * length:
            return None
        # No label reaches over a gap of this length. Shorter ones, of bars without a label, end no run: runs shorter
        # than a block would lose the dependence that blocks keep.
        edges = np.flatnonzero(np.diff(bars) > length) + 1
        ends = [0, *edges.tolist(), n]
        blocks = round(n / length)
        # A resample has as many bars as whole blocks have, not exactly those of the data.
        width = _correction(n, length, look_ahead) * math.sqrt(blocks * length / n)
        starts = np.arange(0, n, -(-n // _MOST_STARTS))
        return cls(order, first, tuple(pairwise(ends)), length, starts, blocks, width)

    def block_sums(self, columns: np.ndarray) -> np.ndarray:
        """Return the sums of each block, ``(starts, columns)``, of values of the samples, ``(m, columns)``."""
        of_bars = np.add.reduceat(columns[self.order], self.first, axis=0)
        sums = np.empty_like(of_bars)
        for start, end in self.runs:
            run = of_bars[start:end]
            # A run shorter than a block is taken as often as it fits, and then in part.
            whole, rest = divmod(self.length, end - start)
            total = np.zeros((end - start + rest + 1, columns.shape[1]))
            np.cumsum(np.concatenate((run, run[:rest])), axis=0, out=total[1:])
            sums[start:end] = total[rest:-1] - total[: end - start] if rest else 0.0
            sums[start:end] += whole * run.sum(axis=0)
        return sums[self.starts]


def _correction(bars: int, length: int, look_ahead: int) -> float:
    """Return the factor of the width that corrects the variance and its uncertainty; see the module."""
    normal = NormalDist().inv_cdf((1 + SHARE) / 2)
    freedom = 1.5 * bars / length
    # The first terms of the expansion of Student's quantile around the normal one (Abramowitz and Stegun, 26.7.5).
    student = (
        normal
        + (normal**3 + normal) / (4 * freedom)
        + (5 * normal**5 + 16 * normal**3 + 3 * normal) / (96 * freedom**2)
    )
    return student / normal / math.sqrt(1 - look_ahead / (3 * length))


def _weights(plan: _Plan, seed: int) -> np.ndarray:
    """Return how often each resample takes each block, float32 ``(resamples, starts)``."""
    random = np.random.default_rng(seed)
    places = len(plan.starts)
    weights = np.empty((_RESAMPLES, places), dtype=np.float32)
    for begin in range(0, _RESAMPLES, _AT_ONCE):
        rows = min(_AT_ONCE, _RESAMPLES - begin)
        drawn = random.integers(0, places, (rows, plan.blocks)) + places * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * places)
        weights[begin : begin + rows] = counts.reshape(rows, places)
    return weights


_Scores = Callable[[np.ndarray], dict[str, np.ndarray]]


def _class_sums(truth: np.ndarray, probabilities: np.ndarray, k: int) -> tuple[np.ndarray, _Scores]:
    """Return what a resample adds up of each sample, and the function from sums to metrics."""
    labels = truth.astype(np.int64)
    columns = np.zeros((len(labels), k * k + 1))
    columns[np.arange(len(labels)), labels * k + probabilities.argmax(axis=1)] = 1.0
    columns[:, -1] = surprise(labels, probabilities)

    def scores(totals: np.ndarray) -> dict[str, np.ndarray]:
        counts = totals[:, :-1]
        log_loss = totals[:, -1] / counts.sum(axis=1)
        return {**confusion_scores(counts.reshape(-1, k, k)), "log_loss": log_loss}

    return columns, scores


def _value_sums(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, _Scores]:
    """Return what a resample adds up of each sample, and the function from sums to metrics.

    A resample keeps the ranks of all samples, where the coefficient would rank it anew: for small coefficients the two
    differ by less than what a resample tells (the influence of a sample on both is the same where nothing is related).
    """
    truth, predicted = truth.astype(np.float64), predicted.astype(np.float64)
    # Scaled, because squares of small returns would lose digits beside the counts.
    unit = float(np.abs(truth - truth.mean()).max()) or 1.0
    moved = truth != 0.0
    right = moved & (np.sign(predicted) == np.sign(truth))
    error, centred = (predicted - truth) / unit, (truth - truth.mean()) / unit
    one, other = (_centred_ranks(each) for each in (truth, predicted))
    columns = np.stack(
        [
            np.ones(len(truth)),
            np.abs(error),
            error * error,
            centred,
            centred * centred,
            moved,
            right,
            one,
            other,
            one * one,
            other * other,
            one * other,
        ],
        axis=1,
    )

    def scores(totals: np.ndarray) -> dict[str, np.ndarray]:
        n, absolute, squares, first, second, moves, rights, a, b, aa, bb, ab = totals.T
        spread = np.maximum(second - first * first / n, 0.0)
        varied = spread > 1e-12 * second
        together = (aa - a * a / n) * (bb - b * b / n)
        return {
            "rmse": unit * np.sqrt(squares / n),
            "mae": unit * absolute / n,
            "r2": np.where(varied, 1 - squares / np.where(varied, spread, 1.0), squares == 0),
            "directional_accuracy": np.divide(rights, moves, out=np.zeros(len(n)), where=moves > 0),
            "information_coefficient": np.divide(
                ab - a * b / n, np.sqrt(np.maximum(together, 0.0)), out=np.zeros(len(n)), where=together > 0
            ),
        }

    return columns, scores


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    ranked = ranks(values)
    return (ranked - ranked.mean()) / len(values)


def _interval(name: str, value: float, resampled: np.ndarray, width: float) -> Interval:
    low, high = (float(each) for each in np.quantile(resampled, [(1 - SHARE) / 2, (1 + SHARE) / 2]))
    centre, middle = value, value
    if name == "r2":
        middle = float(resampled.mean())
        centre = 2 * value - middle
    least, most = _BOUNDS[name]
    return Interval(
        value=value,
        low=min(value, max(centre + width * (low - middle), least)),
        high=max(value, min(centre + width * (high - middle), most)),
    )

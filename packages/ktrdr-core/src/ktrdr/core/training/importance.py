"""Permutation importance: how much worse a model's predictions get when the values of an input are shuffled.

The method is from Breiman, Random Forests (2001), section 10. It shows which inputs this model relies on, not which
inputs predict the market. Correlated inputs share their importance: single memberships of a fuzzy set seem to matter
little beside each other, so whole fuzzy sets are permuted as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.training.evaluation import accuracy, log_loss, rmse
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["JudgedSamples", "change_in_words", "permutation_importance", "relative_change"]

_Score = Callable[[np.ndarray, np.ndarray], float]
# Each score has the sign that makes a change for the worse positive.
_SCORES: Mapping[OutputKind, Mapping[str, tuple[_Score, int]]] = {
    "classification": {"log_loss": (log_loss, 1), "accuracy": (accuracy, -1)},
    "regression": {"rmse": (rmse, 1)},
}

_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSamples:
    """Samples of one symbol that a model is evaluated on.

    Attributes:
        features: float32 ``(n, columns)``, normalized features on consecutive base bars of the symbol.
        rows: int64 ``(m,)`` ascending rows of ``features``; for a window, its last row.
        labels: int64 ``(m,)`` class numbers, or float ``(m,)`` values, of ``rows``.
    """

    features: np.ndarray
    rows: np.ndarray
    labels: np.ndarray


def permutation_importance(
    predict: Callable[[np.ndarray], np.ndarray],
    samples: Sequence[JudgedSamples],
    columns: Sequence[FeatureColumn],
    output: OutputKind,
    *,
    window: int = 1,
    repeats: int = 5,
    seed: int = 0,
    max_samples: int = 10_000,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> dict[str, Any]:
    """Permute one input after the other, and measure how much worse the predictions get.

    The values of a column on the rows that samples use are exchanged among those rows, within each symbol. A row that
    several windows share has the same new value in all of them. For a model with a window of ``window`` rows, blocks of
    that many consecutive rows are exchanged, so that the values within a window stay realistic and only belong to
    another time. All columns of a group move together. Each repeat uses one permutation for every input.

    Args:
        predict: function like :meth:`ktrdr.core.plugins.Predictor.predict`: from float32 ``(n, columns)``, consecutive
            bars of one symbol, to ``(n, classes)`` probabilities or ``(n,)`` values.
        samples: samples of each symbol, usually the validation part.
        columns: columns of the features, in order.
        output: kind of output of the model.
        window: number of rows that one prediction uses.
        repeats: number of permutations of each input, at least 1.
        seed: seed of the permutations.
        max_samples: maximum number of samples; of more, the latest of each symbol are used, in proportion.
        progress: receives events of the step ``importance``, counted in inputs.
        cancellation: checked before every prediction.

    Returns:
        - ``samples``, ``repeats``, ``seed``
        - ``scores``: scores of the model on these samples: ``log_loss`` and ``accuracy``, or ``rmse``
        - ``features``: a map for each column, in order, of ``id`` and, for each score, the change for the worse (log
          loss and RMSE rise, accuracy falls) as ``mean`` and ``std``, the population standard deviation over the
          repeats. They are in the unit of the score, which for the RMSE of returns is a small number; for display, use
          :func:`relative_change`
        - ``groups``: the same for each fuzzy set (``kind: fuzzy_set``) with all its memberships, lags and timeframes,
          and for each indicator that is an input itself (``kind: raw_indicator``); ``columns`` are their feature ids

    Raises:
        ValueError: there is no sample.
    """
    parts = [_Part(part, window) for part in _latest(samples, max_samples)]
    if not parts:
        raise ValueError("there is no sample to evaluate the model on")
    run = _Run(predict, parts, _SCORES[output], window, repeats, seed, cancellation or Cancellation())
    groups = _groups(columns)
    inputs = [(position,) for position in range(len(columns))] + list(groups.values())
    changes: dict[tuple[int, ...], dict[str, dict[str, float]]] = {}
    for done, positions in enumerate(inputs, start=1):
        if positions not in changes:
            changes[positions] = run.change(positions)
        progress(ProgressEvent("importance", done, len(inputs), "inputs", fraction=done / len(inputs)))
    return {
        "samples": sum(len(part.rows) for part in parts),
        "repeats": repeats,
        "seed": seed,
        "scores": run.scores,
        "features": [{"id": column.id, **changes[(position,)]} for position, column in enumerate(columns)],
        "groups": [
            {"id": name, "kind": kind, "columns": [columns[position].id for position in positions]} | changes[positions]
            for (kind, name), positions in groups.items()
        ],
    }


def relative_change(importance: Mapping[str, Any], entry: Mapping[str, Any], score: str) -> tuple[float, float]:
    """Return mean and standard deviation of a change for the worse as fractions of the score.

    Args:
        importance: result of :func:`permutation_importance`.
        entry: one of its ``features`` or ``groups``.
        score: name of the score.

    Returns:
        Mean and standard deviation; both NaN if the score is 0 or absent.
    """
    base = abs(importance.get("scores", {}).get(score, 0.0))
    change = entry[score]
    return (change["mean"] / base, change["std"] / base) if base else (math.nan, math.nan)


def change_in_words(importance: Mapping[str, Any], entry: Mapping[str, Any], score: str) -> str:
    """Return a change for the worse in percent of the score, such as ``+1.25% ± 0.07%``, with three digits.

    It is in the unit of the score if the score is 0.
    """
    mean, std = relative_change(importance, entry, score)
    if math.isnan(mean):
        return f"{entry[score]['mean']:+.3g} ± {entry[score]['std']:.3g}"
    # A mean far below the deviation is what rounding leaves of 0: its digits say nothing.
    first = abs(mean) if abs(mean) > _LEAST_SHARE * std else std
    places = max(0, min(9, 2 - math.floor(math.log10(100 * first)))) if first else 0
    # Zero is added so that it has no minus sign.
    return f"{round(100 * mean, places) + 0.0:+,.{places}f}% ± {100 * std:,.{places}f}%"


def _groups(columns: Sequence[FeatureColumn]) -> dict[tuple[str, str], tuple[int, ...]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for position, column in enumerate(columns):
        key = ("fuzzy_set", column.fuzzy_set) if column.fuzzy_set else ("raw_indicator", column.indicator)
        groups.setdefault(key, []).append(position)
    return {key: tuple(positions) for key, positions in groups.items()}


def _latest(samples: Sequence[JudgedSamples], most: int) -> Iterator[JudgedSamples]:
    total = sum(len(part.rows) for part in samples)
    for part in samples:
        keep = len(part.rows) if total <= most else -(-len(part.rows) * most // total)
        if keep:
            yield JudgedSamples(part.features, part.rows[-keep:], part.labels[-keep:])


class _Part:
    """Copy of the rows that the samples of one symbol use."""

    def __init__(self, samples: JudgedSamples, window: int) -> None:
        first = int(samples.rows[0]) - window + 1
        self.features = samples.features[first : int(samples.rows[-1]) + 1].copy()
        self.rows = samples.rows - first
        self.labels = samples.labels
        # Rows between samples may be NaN; they are not permuted.
        self.used = np.unique((self.rows[:, None] - np.arange(window)).ravel())

    def permute(self, positions: tuple[int, ...], order: np.ndarray) -> np.ndarray:
        """Permute the columns' values on the rows in use by ``order``, and return the previous columns."""
        kept = self.features[:, positions]
        permuted = kept.copy()
        permuted[self.used] = kept[self.used[order]]
        self.features[:, positions] = permuted
        return kept


class _Run:
    """Scores of the model with and without permuted columns."""

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        parts: Sequence[_Part],
        scores: Mapping[str, tuple[_Score, int]],
        window: int,
        repeats: int,
        seed: int,
        cancellation: Cancellation,
    ) -> None:
        self._predict, self._parts, self._cancellation = predict, parts, cancellation
        self._scores = scores
        self._labels = np.concatenate([part.labels for part in parts])
        self._orders = [
            [_block_permutation(len(part.used), window, random) for part in parts]
            for random in (np.random.default_rng((seed, repeat)) for repeat in range(repeats))
        ]
        self.scores = self._score()

    def change(self, positions: tuple[int, ...]) -> dict[str, dict[str, float]]:
        """Return, by score, mean and standard deviation of the change for the worse from permuting ``positions``."""
        changes = []
        for orders in self._orders:
            kept = [part.permute(positions, order) for part, order in zip(self._parts, orders, strict=True)]
            changes.append(self._score())
            for part, values in zip(self._parts, kept, strict=True):
                part.features[:, positions] = values
        result = {}
        for name, (_, sign) in self._scores.items():
            costs = np.array([sign * (scores[name] - self.scores[name]) for scores in changes])
            result[name] = {"mean": float(costs.mean()), "std": float(costs.std())}
        return result

    def _score(self) -> dict[str, float]:
        outputs = []
        for part in self._parts:
            self._cancellation.raise_if_requested()
            outputs.append(self._predict(part.features)[part.rows])
        together = np.concatenate(outputs)
        if np.isnan(together).any():
            raise ValueError("the model has no prediction for some of the samples")
        return {name: score(self._labels, together) for name, (score, _) in self._scores.items()}


def _block_permutation(n: int, length: int, random: np.random.Generator) -> np.ndarray:
    """Return the numbers below ``n`` in blocks of ``length`` consecutive numbers, with the blocks in random order."""
    starts = np.arange(0, n, length)
    random.shuffle(starts)
    blocks = starts[:, None] + np.arange(length)
    return blocks[blocks < n]

"""How much worse a model gets when it is told nonsense in the place of an input: permutation importance.

Breiman, Random Forests (2001), section 10. It says what this model relies on, not what is true of the market. Inputs
that say much the same share their importance: single memberships of a fuzzy set seem to matter little beside each
other, which is why whole fuzzy sets are permuted too.
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
# Each with the sign that makes the change for the worse positive.
_SCORES: Mapping[OutputKind, Mapping[str, tuple[_Score, int]]] = {
    "classification": {"log_loss": (log_loss, 1), "accuracy": (accuracy, -1)},
    "regression": {"rmse": (rmse, 1)},
}


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSamples:
    """Samples of one symbol that a model is judged on.

    Attributes:
        features: float32 ``(n, columns)``, consecutive base bars of the symbol, as the model sees them.
        rows: int64 ``(m,)`` ascending rows of ``features``; of a window, the last.
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
    """Permute one input after the other and see how much worse the predictions get.

    What is permuted: the values that a column has on the rows samples look at are exchanged among those rows, within
    each symbol. A row that several windows share has its one new value in all of them. For a model that looks at
    ``window`` rows, blocks of that many consecutive rows change places as wholes, so that what happens within a window
    stays like what happens in the market, and only belongs to another time. All columns of a group move together. Each
    repeat has one permutation, the same for every input.

    Args:
        predict: as :meth:`ktrdr.core.plugins.Predictor.predict`: float32 ``(n, columns)``, consecutive bars of one
            symbol, to ``(n, classes)`` probabilities or ``(n,)`` values.
        samples: per symbol; usually the validation part.
        columns: of the features, in order.
        output: of the model.
        window: rows one prediction looks at.
        repeats: permutations of each input, at least 1.
        seed: of the permutations.
        max_samples: if there are more, the latest of each symbol are used, in proportion.
        progress: gets the step ``importance``, counted in inputs.
        cancellation: looked at before every prediction.

    Returns:
        - ``samples``, ``repeats``, ``seed``
        - ``scores``: of the model on these samples: ``log_loss`` and ``accuracy``, or ``rmse``
        - ``features``: per column, in order, a map of ``id`` and, for each of the scores, the change for the worse
          (log loss and RMSE rise, accuracy falls) as ``mean`` and ``std``, the population standard deviation over the
          repeats. They are in the unit of the score, which for the RMSE of returns is a small number: for a person
          they are shown as a share of the score, :func:`relative_change`
        - ``groups``: the same for each fuzzy set (``kind: fuzzy_set``) with all its memberships, lags and timeframes,
          and for each indicator that is an input itself (``kind: raw_indicator``); ``columns`` are their feature ids

    Raises:
        ValueError: there is no sample.
    """
    parts = [_Part(part, window) for part in _latest(samples, max_samples)]
    if not parts:
        raise ValueError("there is no sample to judge the model by")
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
    """Return mean and standard deviation of a change for the worse as shares of the score itself.

    Args:
        importance: as :func:`permutation_importance` returns it.
        entry: one of its ``features`` or ``groups``.
        score: name of the score.

    Returns:
        Both NaN where the score is 0, of which nothing is a share, or is not told.
    """
    of = abs(importance.get("scores", {}).get(score, 0.0))
    change = entry[score]
    return (change["mean"] / of, change["std"] / of) if of else (math.nan, math.nan)


def change_in_words(importance: Mapping[str, Any], entry: Mapping[str, Any], score: str) -> str:
    """Return a change for the worse in percent of the score, such as ``+1.25% ± 0.07%``: three digits, however
    small it is. In the unit of the score where that is 0."""
    mean, std = relative_change(importance, entry, score)
    if math.isnan(mean):
        return f"{entry[score]['mean']:+.3g} ± {entry[score]['std']:.3g}"
    first = abs(mean) or std
    places = max(0, min(9, 2 - math.floor(math.log10(100 * first)))) if first else 0
    return f"{100 * mean:+,.{places}f}% ± {100 * std:,.{places}f}%"


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
    """A copy of the rows that one symbol's samples look at."""

    def __init__(self, samples: JudgedSamples, window: int) -> None:
        first = int(samples.rows[0]) - window + 1
        self.features = samples.features[first : int(samples.rows[-1]) + 1].copy()
        self.rows = samples.rows - first
        self.labels = samples.labels
        # Rows between samples may have no value; they stay as they are.
        self.seen = np.unique((self.rows[:, None] - np.arange(window)).ravel())

    def permute(self, positions: tuple[int, ...], order: np.ndarray) -> np.ndarray:
        """Put the columns' values on the seen rows into ``order``; return what the columns were."""
        kept = self.features[:, positions]
        permuted = kept.copy()
        permuted[self.seen] = kept[self.seen[order]]
        self.features[:, positions] = permuted
        return kept


class _Run:
    """Scores with and without what a column says."""

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
            [_block_permutation(len(part.seen), window, random) for part in parts]
            for random in (np.random.default_rng((seed, repeat)) for repeat in range(repeats))
        ]
        self.scores = self._score()

    def change(self, positions: tuple[int, ...]) -> dict[str, dict[str, float]]:
        """Return mean and standard deviation of what permuting the columns at ``positions`` costs, per score."""
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
    """Return the numbers below ``n`` in blocks of ``length`` consecutive ones, the blocks in random order."""
    starts = np.arange(0, n, length)
    random.shuffle(starts)
    blocks = starts[:, None] + np.arange(length)
    return blocks[blocks < n]

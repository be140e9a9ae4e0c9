"""Loss and accuracy over a part of the data, of all members of a stack at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ktrdr.ml.torch.layout import BLOCK_VALUES
from ktrdr.ml.torch.losses import Loss
from ktrdr.ml.torch.samples import Matrix, Samples, gather
from ktrdr.ml.torch.scratch import Scratch

__all__ = ["PartLosses", "block_rows"]

# Whole blocks, and powers of two for what is left: with larger ones much of the last block would be padding.
_MOST_ROWS, _FEWEST_ROWS = 1024, 32
# Values of a layer, of all members of a block: larger tensors leave the caches, and get fresh memory from the system.
_TOGETHER = 1 << 17

Forward = Callable[[Any, slice], Any]
"""From features ``(members, n, ..., inputs)`` of a slice of the members to scores ``(members, n, outputs)``."""


def block_rows(width: int, window: int) -> int:
    """Return the number of samples to evaluate at once, so that the values of a layer take about 4 MiB."""
    return max(BLOCK_VALUES // (width * window), 64)


class _Block:
    """Samples of neighbouring members, as many of each, padded with copies of the first one, which do not count."""

    def __init__(self, members: slice, parts: Sequence[tuple[Matrix, Samples]], start: int, count: int) -> None:
        self.members = members
        chosen = parts[members]
        at = slice(start, start + count)
        self._matrices = [matrix for matrix, _ in chosen]
        self._starts = torch.stack([_filled(part.starts[at], count) for _, part in chosen])
        self.labels = torch.stack([_filled(part.labels[at], count) for _, part in chosen])
        self.counted = torch.zeros(self._starts.shape, dtype=torch.bool, device=self._starts.device)
        weights = torch.zeros(self._starts.shape, dtype=torch.float64)
        for number, (_, part) in enumerate(chosen):
            own = slice(0, min(count, len(part) - start))
            self.counted[number, own] = True
            weights[number, own] = 1.0 if part.weights is None else part.weights[at].cpu().double()
        self.weights = weights
        self.weight = weights.sum(1).tolist()

    def features(self, width: int, scratch: Scratch) -> Any:
        return gather(self._matrices, self._starts, width, scratch)


def _filled(values: Any, count: int) -> Any:
    missing = count - len(values)
    return torch.cat([values, values[:1].expand(missing)]) if missing else values


class PartLosses:
    """Judges networks by samples that stay the same from epoch to epoch.

    The number of rows that are computed together depends only on the member's own number of samples, because the last
    bits of a matrix product depend on it.

    Args:
        parts: features and samples of each member, none of them empty.
        loss: of a sample.
        classifies: whether there is an accuracy.
        inputs: number of features that the networks take.
        width: largest number of values per sample, in a layer of the network.
        window: number of rows of a sample.
        ask: called before every block; it may raise.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Matrix, Samples]],
        *,
        loss: Loss,
        classifies: bool,
        inputs: int,
        width: int,
        window: int,
        ask: Callable[[], None],
    ) -> None:
        self._loss, self._classifies, self._ask, self._inputs = loss, classifies, ask, inputs
        self._scratch = Scratch(parts[0][1].starts.device)
        self._sizes = [len(part) for _, part in parts]
        rows = min(_power_of_two(block_rows(width, window) // 2 + 1), _MOST_ROWS)
        values = width * window
        self._blocks = [_Block(members, parts, start, count) for members, start, count in self._cut(rows, values)]

    def _cut(self, rows: int, values: int) -> Iterator[tuple[slice, int, int]]:
        """Yield members, first sample and number of samples of each block: whole ones, then what is left."""
        for start in range(0, max(self._sizes), rows):
            counts = [min(rows, max(_power_of_two(size - start), _FEWEST_ROWS)) for size in self._sizes]
            first = 0
            for number in range(1, len(counts) + 1):
                begun = self._sizes[first] > start
                fits = (number - first + 1) * counts[first] * values <= _TOGETHER
                alike = number < len(counts) and (counts[number], self._sizes[number] > start) == (counts[first], begun)
                if alike and fits:
                    continue
                if begun:
                    yield slice(first, number), start, counts[first]
                first = number

    @torch.no_grad()
    def judge(self, forward: Forward) -> list[tuple[float, float]]:
        """Return each member's mean loss, and its share of correct predictions, which is 0 for a regression."""
        total, weight, correct = ([0.0] * len(self._sizes) for _ in range(3))
        for block in self._blocks:
            self._ask()
            scores = forward(block.features(self._inputs, self._scratch), block.members)
            losses = self._loss(scores, block.labels).cpu().double()
            sums = torch.where(block.weights > 0, losses * block.weights, 0.0).sum(1).tolist()
            right = [0] * len(sums)
            if self._classifies:
                right = ((scores.argmax(-1) == block.labels) & block.counted).sum(1).tolist()
            for number, (loss, share, hits) in enumerate(
                zip(sums, block.weight, right, strict=True), block.members.start
            ):
                total[number] += loss
                weight[number] += share
                correct[number] += hits
        return [
            (loss / share, hits / size)
            for loss, share, hits, size in zip(total, weight, correct, self._sizes, strict=True)
        ]


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below ``number``."""
    return 1 << max(number - 1, 0).bit_length()

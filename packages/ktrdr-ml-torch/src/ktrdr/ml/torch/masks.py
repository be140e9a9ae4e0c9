"""Dropout masks of a member, drawn for some batches at once from its own generator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

__all__ = ["Masks"]

# Values of a draw: more would take more memory, and a single batch costs a call.
_VALUES, _BATCHES = 1 << 20, 16
# Sixteen random bits decide about a value: `bernoulli_` takes five times as long.
_STEPS = 1 << 16
_PER_DRAW = 4


class Masks:
    """The masks of one member. How many batches are drawn at once depends only on the member itself.

    Args:
        share: of values that are set to 0, in steps of 1/65,536.
        generator: of the member.
        samples: of a batch.
        values: of a sample, in all layers with dropout together.
    """

    def __init__(self, share: float, generator: Any, samples: int, values: int) -> None:
        kept = min(max(round((1.0 - share) * _STEPS), 1), _STEPS)
        self._largest = kept - _STEPS // 2 - 1
        self.scale = _STEPS / kept
        self._generator, self._shape = generator, (samples, values)
        self.batches = min(max(_VALUES // (samples * values), 1), _BATCHES)
        self._first = -1
        self._start: Any = None
        self._kept: Any = None

    def end_of_draw(self, batch: int) -> int:
        """Return the first batch that is not drawn together with ``batch``."""
        return (batch // self.batches + 1) * self.batches

    def kept(self, first: int, last: int) -> Any:
        """Return bool ``(batches, samples, values)`` of some batches of an epoch, which must be of one draw."""
        begin = first - first % self.batches
        if begin != self._first:
            self._first, self._start = begin, self._generator.get_state()
            self._kept = self._draw()
        return self._kept[first - begin : last - begin]

    def _draw(self) -> Any:
        shape = (self.batches, *self._shape)
        size = math.prod(shape)
        drawn = torch.empty(-(-size // _PER_DRAW), dtype=torch.int64, device=self._generator.device)
        bits = drawn.random_(-(2**63), None, generator=self._generator).view(torch.int16)
        return _not_above(bits[:size], self._largest).view(shape)

    def state_at(self, batch: int) -> Any:
        """Return the state from which :meth:`resume` goes on with ``batch`` of the present epoch."""
        drawn = self._first >= 0 and self._first <= batch < self._first + self.batches
        return self._start if drawn else self._generator.get_state()

    def resume(self, state: Any, batch: int) -> None:
        """Continue with ``batch`` of an epoch, from the state that :meth:`state_at` returned."""
        self._generator.set_state(state)
        if batch % self.batches:
            self.kept(batch, batch)

    def end_epoch(self) -> None:
        """Forget the masks of the present epoch: the next one draws others."""
        self._first = -1


def _not_above(bits: Any, largest: int) -> Any:
    """Return ``bits <= largest``; on the CPU numpy compares small integers six times as fast as torch."""
    if bits.device.type != "cpu":
        return bits <= largest
    return torch.from_numpy(np.less_equal(bits.numpy(), largest))

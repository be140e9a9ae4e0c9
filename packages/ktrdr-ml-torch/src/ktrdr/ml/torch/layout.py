"""Tensors of one network as a row of numbers, so that those of a stack of networks are the rows of one tensor.

Widths are padded with zeros to multiples of eight. Kernels of matrix products then add up the terms of a member in the
same order, whatever the size of its stack: without padding that was not so for 44 of 343 combinations of widths and
batches, on a CPU with AVX2. No tensor that leaves the stack contains padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["BLOCK_VALUES", "Layout", "Place", "padded"]

BLOCK_VALUES = 1 << 20
"""Number of values, 4 MiB, that are gathered or computed at once: few calls, and little memory."""

_MULTIPLE = 8


def padded(width: int) -> int:
    """Return the smallest multiple of eight that is not below ``width``."""
    return -(-width // _MULTIPLE) * _MULTIPLE


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor of a network, and its form in the stack.

    Attributes:
        name: in the network.
        shape: in the network.
        form: in the stack, without the axis of the members; not smaller than ``shape``, which stands at its beginning.
        transposed: whether the stack has the transposed matrix.
    """

    name: str
    shape: tuple[int, ...]
    form: tuple[int, ...]
    transposed: bool = False


class Layout:
    """The order of the tensors of one network in a row of numbers.

    Attributes:
        size: length of a row.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._places: dict[str, tuple[Place, slice]] = {}
        start = 0
        for place in places:
            stop = start + math.prod(place.form)
            self._places[place.name] = (place, slice(start, stop))
            start = stop
        self.size = start

    def row(self, tensors: Mapping[str, Any]) -> Any:
        """Return float32 ``(size,)`` on the CPU, of the tensors of one network; other tensors are left out."""
        row = torch.zeros(self.size)
        views = self.views(row.unsqueeze(0))
        for name, (place, _) in self._places.items():
            self._inner(views[name][0], place).copy_(tensors[name].detach())
        return row

    def tensors(self, row: Any) -> dict[str, Any]:
        """Return copies of the tensors in one row, without padding, contiguous."""
        views = self.views(row.unsqueeze(0))
        return {
            name: self._inner(views[name][0].detach(), place).clone(memory_format=torch.contiguous_format)
            for name, (place, _) in self._places.items()
        }

    def views(self, rows: Any) -> dict[str, Any]:
        """Return views ``(members, *form)`` of the tensors in ``rows``, ``(members, size)``."""
        return {name: rows[:, at].view(len(rows), *place.form) for name, (place, at) in self._places.items()}

    def columns(self, prefix: str) -> slice:
        """Return the numbers of the tensors whose name begins with ``prefix``; they must be neighbours."""
        found = [at for name, (_, at) in self._places.items() if name.startswith(prefix)]
        return slice(found[0].start, found[-1].stop) if found else slice(0, 0)

    @staticmethod
    def _inner(form: Any, place: Place) -> Any:
        """Return the part of ``form`` that is the tensor, as a view with its shape."""
        turned = form.T if place.transposed else form
        # A vector of the network is a matrix of one row in the stack.
        turned = turned.squeeze(0) if turned.ndim > len(place.shape) else turned
        return turned[tuple(slice(length) for length in place.shape)]

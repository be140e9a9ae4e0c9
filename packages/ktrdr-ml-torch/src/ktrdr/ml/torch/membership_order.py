"""Constraints on learned memberships, so that their names stay meaningful.

Within a fuzzy input the functions keep their order in the strategy, and at least a tenth of the distance between
neighbours; neighbours that overlap in the strategy still overlap; and the outermost functions still cover the training
values that they cover in the strategy. After a step that violates a constraint, functions are moved and widened until
it holds. Such constraints are those of J. Valente de Oliveira, *Semantic constraints for membership function
optimization*, IEEE Trans. SMC A 29 (1999) 128-138.

The position of a function is where its degree is 1: the middle of its top, or the end of a shoulder; that of a sigmoid
is where its degree is 1/2. All arithmetic is function by function, with kernels whose vectorized part and remainder
agree, so that the constraints of a network do not depend on the other networks of its stack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ktrdr.ml.torch.memberships import Memberships

__all__ = ["MembershipOrder", "MembershipStack"]

_LEAST_SHARE_OF_DISTANCE = 0.1
# Neighbours must overlap at a degree of 1/4, or of half the degree at which they cross in the strategy if that is less.
# Degrees are represented by log((1 - degree) / degree), which distinguishes degrees close to 0.
_ODDS = math.log(3)
_NO_DEGREE = 200.0
_HALVINGS = 60
# Tolerance for rounding in a constraint that holds exactly.
_SLACK = 1e-5


class MembershipStack:
    """The memberships of a stack of networks, as those of one network with the fuzzy inputs of all.

    Args:
        memberships: of one network, for everything that the members have in common.
        tensors: views by name, ``(members, 1, k)`` and ``(members, 1, k, 3)``, which :meth:`add` changes in place.
    """

    def __init__(self, memberships: Memberships, tensors: Mapping[str, Any]) -> None:
        self.kinds = memberships.kinds
        self._tensors = {
            (kind, name): tensors[f"{kind}_{name}"].detach() for kind in self.kinds for name in ("place", "logs")
        }
        members = len(self._tensors[self.kinds[0], "place"])
        self._signs = {kind: memberships.tensor(kind, "signs").repeat(members, 1) for kind in self.kinds}
        self.counts = memberships.counts * members
        # Functions are ordered by kind, then by member; `order` gives their numbers by member, as in the strategy.
        sizes = [len(memberships.tensor(kind, "signs")) for kind in self.kinds]
        numbers, start = [], 0
        for size in sizes:
            numbers.append(start + torch.arange(members * size).view(members, size))
            start += members * size
        self.order = torch.cat(numbers, 1)[:, memberships.order.cpu()].flatten().to(memberships.order.device)

    def tensor(self, kind: str, name: str) -> Any:
        """Return ``place``, ``logs`` or ``signs`` of the functions of one kind, ``(functions, ...)``, to read."""
        return self._signs[kind] if name == "signs" else self._tensors[kind, name].flatten(0, 2)

    def add(self, kind: str, name: str, change: Any) -> None:
        """Add ``change`` to ``place`` or ``logs`` of the functions of one kind."""
        tensor = self._tensors[kind, name]
        tensor.add_(change.view_as(tensor))


class MembershipOrder:
    """Enforces the constraints that follow from the initial ``memberships``.

    Args:
        memberships: with the functions of the strategy.
        lowest: of each fuzzy input, the minimum of the standardized training values.
        highest: likewise, the maximum.
    """

    def __init__(self, memberships: MembershipStack, lowest: Sequence[float], highest: Sequence[float]) -> None:
        self._memberships = memberships
        self._inverse = torch.argsort(memberships.order)
        device = memberships.order.device
        middle = self._middles()
        self._grid, self._cells = _sorted_grid(memberships.counts, middle.tolist(), device)
        one = torch.ones(self._grid.shape, device=device)
        self._before = torch.ones(one.shape[1], one.shape[1], dtype=torch.bool, device=device).tril()
        pairs = self._grid[:, 1:] != self._grid[:, :-1]
        middles = middle[self._grid]
        distances = _LEAST_SHARE_OF_DISTANCE * (middles[:, 1:] - middles[:, :-1])
        self._margins = torch.cat([torch.zeros_like(one[:, :1]), distances.cumsum(1)], 1)
        self._left_odds, self._right_odds = _ODDS * one, _ODDS * one
        odds = self._declared_odds(pairs)
        self._pairs = pairs & (odds < _NO_DEGREE)
        asked = torch.where(odds > 0, odds + torch.log(2 + torch.exp(-odds)), odds).clamp(min=_ODDS)
        self._left_odds[:, 1:] = asked
        self._right_odds[:, :-1] = torch.where(pairs, asked, _ODDS)
        # Padding cells of a row repeat its last function, so they add no constraint.
        last = torch.tensor([count - 1 for count in memberships.counts], device=device)
        left, right = self._reached()
        least, most = (torch.tensor(side, device=device) for side in (lowest, highest))
        self._lower = torch.maximum(least, left[:, 0])
        self._upper = torch.minimum(most, right.gather(1, last.unsqueeze(1)).squeeze(1))
        self._last = last.unsqueeze(1)

    @torch.no_grad()
    def restore(self, memberships: MembershipStack) -> None:
        """Move and widen the functions, which are those of the same fuzzy inputs, so that all constraints hold."""
        self._memberships = memberships
        middle = self._middles()
        apart = middle[self._grid] - self._margins
        # The mean of the running maximum from the left and the running minimum from the right; equal if ordered.
        up = torch.where(self._before, apart.unsqueeze(1), -math.inf).amax(2)
        down = torch.where(self._before.T, apart.unsqueeze(1), math.inf).amin(2)
        self._move((up + down) / 2 - apart)
        left, right = self._widenings()
        self._widen(left, right)

    def _widenings(self) -> tuple[Any, Any]:
        """Return the logarithms of the factors by which the sides of each cell's function must be widened."""
        core_left, core_right, reach_left, reach_right = self._sides()
        need = core_left[:, 1:] - core_right[:, :-1]
        have = reach_right[:, :-1] + reach_left[:, 1:]
        between = torch.where(self._pairs, _excess(need, have), 0.0)
        nothing = torch.zeros_like(core_left[:, :1])
        left, right = torch.cat([nothing, between], 1), torch.cat([between, nothing], 1)
        left[:, 0] = torch.maximum(left[:, 0], _excess(core_left[:, 0] - self._lower, reach_left[:, 0]))
        top = self._upper.unsqueeze(1) - core_right.gather(1, self._last)
        outer = _excess(top, reach_right.gather(1, self._last))
        right.scatter_(1, self._last, torch.maximum(right.gather(1, self._last), outer))
        return left, right

    def _reached(self) -> tuple[Any, Any]:
        """Return the interval in which each cell's function has its required degree."""
        core_left, core_right, reach_left, reach_right = self._sides()
        return core_left - reach_left, core_right + reach_right

    def _sides(self) -> tuple[Any, Any, Any, Any]:
        odds = torch.stack([self._left_odds, self._right_odds])
        flat = odds.flatten(1)[:, self._cells]
        cores, reaches = self._extents(flat)
        return cores[0][self._grid], cores[1][self._grid], reaches[0][self._grid], reaches[1][self._grid]

    def _declared_odds(self, pairs: Any) -> Any:
        """Return the odds at which neighbours cross: 0 for degrees of 1/2 or more, :data:`_NO_DEGREE` if never."""
        low = torch.zeros(pairs.shape, device=pairs.device)
        high = torch.full_like(low, _NO_DEGREE)

        def overlap(odds: Any) -> Any:
            self._left_odds[:, 1:], self._right_odds[:, :-1] = odds, odds
            core_left, core_right, reach_left, reach_right = self._sides()
            return core_left[:, 1:] - core_right[:, :-1] <= (reach_right[:, :-1] + reach_left[:, 1:]) * (1 + _SLACK)

        at_half, ever = overlap(low), overlap(high)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            crossed = overlap(middle)
            low, high = torch.where(crossed, low, middle), torch.where(crossed, middle, high)
        return torch.where(at_half, 0.0, torch.where(ever, high.clamp(max=_NO_DEGREE - 1), _NO_DEGREE))

    def _middles(self) -> Any:
        """Return the position of every function, in the order of the strategy."""
        memberships = self._memberships
        found = []
        for kind in memberships.kinds:
            place, logs, signs = (memberships.tensor(kind, name) for name in ("place", "logs", "signs"))
            found.append(_middle(place, logs, signs) if kind == "trapezoidal" else place)
        return torch.cat(found)[memberships.order]

    def _extents(self, odds: Any) -> tuple[Any, Any]:
        """Return the ends of every function's core, and how far beyond them its degrees reach ``odds``.

        Both are ``(2, functions)``, in the order of the strategy.
        """
        memberships = self._memberships
        by_kind = odds[:, self._inverse]
        cores, reaches, start = [], [], 0
        for kind in memberships.kinds:
            place, logs, signs = (memberships.tensor(kind, name) for name in ("place", "logs", "signs"))
            stop = start + len(place)
            core, reach = _EXTENTS[kind](place, logs.exp() * signs.abs(), signs, by_kind[:, start:stop])
            cores.append(core)
            reaches.append(reach)
            start = stop
        order = memberships.order
        return torch.cat(cores, 1)[:, order], torch.cat(reaches, 1)[:, order]

    def _move(self, cells: Any) -> None:
        self._add("place", cells.flatten()[self._cells][self._inverse], lambda _, shift: shift)

    def _widen(self, left: Any, right: Any) -> None:
        sides = torch.stack([left.flatten()[self._cells], right.flatten()[self._cells]], 1)[self._inverse]
        self._add("logs", sides, _widened)

    def _add(self, name: str, values: Any, change: Any) -> None:
        start = 0
        for kind in self._memberships.kinds:
            stop = start + len(self._memberships.tensor(kind, "signs"))
            self._memberships.add(kind, name, change(kind, values[start:stop]))
            start = stop


def _sorted_grid(counts: Sequence[int], middles: Sequence[float], device: Any) -> tuple[Any, Any]:
    """Return a grid of the functions' numbers, and the cell of every function in the flattened grid.

    The grid has a row per fuzzy input, sorted by the functions' middles; shorter rows repeat their last function.
    """
    width, start = max(counts), 0
    grid, cells = [], [0] * sum(counts)
    for row, count in enumerate(counts):
        numbers = sorted(range(start, start + count), key=middles.__getitem__)
        for column, number in enumerate(numbers):
            cells[number] = row * width + column
        grid.append(numbers + numbers[-1:] * (width - count))
        start += count
    return torch.tensor(grid, device=device), torch.tensor(cells, device=device)


def _excess(need: Any, have: Any) -> Any:
    """Return the logarithm of ``need / have`` where ``need`` is larger, else 0."""
    short = need > have * (1 + _SLACK)
    return torch.where(short, (need / have.clamp(min=1e-30)).clamp(min=1.0, max=1e30).log(), 0.0)


def _widened(kind: str, sides: Any) -> Any:
    """Return the change of the logarithms ``(k, 3)`` that widens functions by ``sides`` ``(k, 2)``."""
    nothing = torch.zeros_like(sides[:, :1])
    if kind == "trapezoidal":
        return torch.cat([sides[:, :1], nothing, sides[:, 1:]], 1)
    both = sides.amax(1, keepdim=True)
    return torch.cat([-both if kind == "sigmoid" else both, nothing, nothing], 1)


def _middle(place: Any, logs: Any, signs: Any) -> Any:
    # A shoulder has no middle: its position is its end.
    share = 0.5 + 0.5 * (signs[:, 0] == 0).float() - 0.5 * (signs[:, 2] == 0).float()
    return place + share * logs[:, 1].exp() * signs[:, 1].abs()


def _trapezoidal(place: Any, widths: Any, signs: Any, odds: Any) -> tuple[Any, Any]:
    left, top, right = widths.unbind(1)
    reach = torch.stack([left, right]) * (torch.tanh(odds * 0.5) * 0.5 + 0.5)
    shoulders = torch.stack([signs[:, 0] == 0, signs[:, 2] == 0])
    return torch.stack([place, place + top]), torch.where(shoulders, math.inf, reach)


def _gaussian(place: Any, widths: Any, _signs: Any, odds: Any) -> tuple[Any, Any]:
    return torch.stack([place, place]), widths[:, 0] * (2 * (odds + torch.log1p(torch.exp(-odds)))).sqrt()


def _sigmoid(place: Any, widths: Any, signs: Any, odds: Any) -> tuple[Any, Any]:
    beyond = torch.stack([signs[:, 0] < 0, signs[:, 0] > 0])
    return torch.stack([place, place]), torch.where(beyond, math.inf, odds / widths[:, 0].clamp(min=1e-30))


def _bell(place: Any, widths: Any, _signs: Any, odds: Any) -> tuple[Any, Any]:
    return torch.stack([place, place]), widths[:, 0] * (odds / (2 * widths[:, 1].clamp(min=1e-30))).exp()


_EXTENTS = {"trapezoidal": _trapezoidal, "gaussian": _gaussian, "sigmoid": _sigmoid, "bell": _bell}

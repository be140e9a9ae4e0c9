"""Membership functions as a layer, which starts with those of the strategy and may be trained.

The functions are those of :mod:`ktrdr.core.fuzzy.membership`. Widths are stored as logarithms and corners as distances
from a neighbour, so that no step of an optimizer can change the order of corners or make a width negative. A side
without width is a shoulder and remains one. All values are in standardized units of the input, so that one learning
rate suits both an RSI and a MACD.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ktrdr.ml.torch.model_description import FuzzyVariable

__all__ = ["Memberships", "layer_type"]

_KINDS = ("trapezoidal", "gaussian", "sigmoid", "bell")
# Lower bound of a distance whose logarithm is taken.
_TINY = 1e-30


class Memberships(nn.Module):
    """Logarithms of the degrees of all memberships of all fuzzy inputs; their sums do not underflow as products do.

    Each kind of function has three tensors over its functions: ``place`` ``(k,)``, ``logs`` ``(k, 3)``, the logarithms
    of up to three widths or slopes, and ``signs`` ``(k, 3)``: 0 for a size of 0, -1 for a falling slope. Signs, columns
    and order are derived from the description and not stored, so that a file cannot contain indices out of range.
    """

    order: Any

    def __init__(self, variables: Sequence[FuzzyVariable], *, learn: bool) -> None:
        super().__init__()
        self.counts = [len(variable.functions) for variable in variables]
        flat = [
            (layer_type(kind), variable.column, _corners(kind, parameters))
            for variable in variables
            for _, kind, parameters in variable.functions
        ]
        self._given = {kind: [(column, corners) for k, column, corners in flat if k == kind] for kind in _KINDS}
        self.kinds = [kind for kind in _KINDS if self._given[kind]]
        positions = [number for kind in self.kinds for number, (k, _, _) in enumerate(flat) if k == kind]
        self._order = sorted(range(len(flat)), key=positions.__getitem__)
        self.register_buffer("order", None, persistent=False)
        for kind in self.kinds:
            k = len(self._given[kind])
            self.register_buffer(f"{kind}_columns", None, persistent=False)
            self.register_buffer(f"{kind}_signs", None, persistent=False)
            for name, shape in (("place", (k,)), ("logs", (k, 3))):
                tensor = torch.empty(*shape)
                if learn:
                    self.register_parameter(f"{kind}_{name}", nn.Parameter(tensor))
                else:
                    self.register_buffer(f"{kind}_{name}", tensor)

    @torch.no_grad()
    def start(self, center: Sequence[float], scale: Sequence[float]) -> None:
        """Set the functions of the strategy, for inputs standardized as ``(x - center) / scale`` per column."""
        self.settle()
        for kind in self.kinds:
            places, logs = [], []
            for column, (place, sizes) in self._given[kind]:
                places.append((place - center[column]) / scale[column])
                # A slope is per unit of the input, a width in units of it; the exponent of a bell has no unit.
                units = {"sigmoid": (1 / scale[column], 1, 1), "bell": (scale[column], 1, 1)}.get(
                    kind, (scale[column],) * 3
                )
                scaled = [size / unit for size, unit in zip(sizes, units, strict=True)]
                logs.append([math.log(max(abs(size), _TINY)) if size else 0.0 for size in scaled])
            self.tensor(kind, "place").copy_(torch.tensor(places))
            self.tensor(kind, "logs").copy_(torch.tensor(logs))

    def settle(self) -> None:
        """Create the tensors that are neither learned nor stored, on the CPU."""
        self.order = torch.tensor(self._order)
        for kind in self.kinds:
            setattr(self, f"{kind}_columns", torch.tensor([column for column, _ in self._given[kind]]))
            signs = [
                [math.copysign(1.0, size) if size else 0.0 for size in sizes] for _, (_, sizes) in self._given[kind]
            ]
            setattr(self, f"{kind}_signs", torch.tensor(signs))

    def forward(self, z: Any) -> Sequence[Any]:
        """Return logarithms of degrees ``(n, memberships)`` of each fuzzy input, of standardized ``(n, features)``.

        The logarithm of a degree of 0 is minus infinity, with gradient 0.
        """
        return self.log_degrees(z, self.tensor)

    def log_degrees(self, z: Any, tensor: Callable[[str, str], Any]) -> Sequence[Any]:
        """Return what :meth:`forward` does, of functions that may differ between the members of a stack.

        Args:
            z: standardized ``(..., n, features)``.
            tensor: returns ``place`` ``(..., 1, k)`` and ``logs`` ``(..., 1, k, 3)`` of the functions of one kind.
        """
        degrees = []
        for kind in self.kinds:
            sizes = tensor(kind, "logs").exp() * self.tensor(kind, "signs")
            distance = z.index_select(-1, self.tensor(kind, "columns")) - tensor(kind, "place")
            degrees.append(_LOG_DEGREES[kind](distance, sizes))
        return torch.cat(degrees, -1).index_select(-1, self.order).split(self.counts, -1)

    @torch.no_grad()
    def functions(self, center: Sequence[float], scale: Sequence[float]) -> list[tuple[str, tuple[float, ...]]]:
        """Return the present ``(type, parameters)`` of every function, in units of the inputs.

        They are in the order of the strategy. A trapezoidal function without a top is returned as a triangular one.
        """
        found: list[tuple[str, tuple[float, ...]]] = []
        for kind in self.kinds:
            places, columns = self.tensor(kind, "place").tolist(), self.tensor(kind, "columns").tolist()
            # On the CPU: not every device has float64.
            sizes = (self.tensor(kind, "logs").cpu().double().exp() * self.tensor(kind, "signs").cpu()).tolist()
            for place, column, (one, two, three) in zip(places, columns, sizes, strict=True):
                unit, at = scale[column], center[column] + place * scale[column]
                match kind:
                    case "trapezoidal":
                        corners = (at - one * unit, at, at + two * unit, at + (two + three) * unit)
                        found.append((kind, corners) if two else ("triangular", (*corners[:2], corners[3])))
                    case "gaussian":
                        found.append((kind, (at, one * unit)))
                    case "sigmoid":
                        found.append((kind, (at, one / unit)))
                    case _:
                        found.append((kind, (one * unit, two, at)))
        return [found[position] for position in self.order.tolist()]

    @torch.no_grad()
    def places_and_sizes(self) -> tuple[Any, Any]:
        """Return places ``(memberships,)`` and sizes ``(memberships, 3)`` in standardized units, on the CPU.

        They are in the order of the strategy, and the numbers that :meth:`log_degrees` computes with.
        """
        places = torch.cat([self.tensor(kind, "place").cpu() for kind in self.kinds])
        sizes = [self.tensor(kind, "logs").cpu().exp() * self.tensor(kind, "signs").cpu() for kind in self.kinds]
        order = self.order.cpu()
        return places[order], torch.cat(sizes)[order]

    def tensor(self, kind: str, name: str) -> Any:
        """Return ``place``, ``logs``, ``signs`` or ``columns`` of the functions of one kind."""
        return getattr(self, f"{kind}_{name}")


def layer_type(kind: str) -> str:
    """Return the type of function that computes a type of the grammar: a triangle is a trapezoid without a top."""
    return "trapezoidal" if kind == "triangular" else kind


def _corners(kind: str, parameters: Sequence[float]) -> tuple[float, tuple[float, float, float]]:
    """Return the place of a function and up to three sizes."""
    match kind:
        case "triangular":
            a, b, c = parameters
            return b, (b - a, 0.0, c - b)
        case "trapezoidal":
            a, b, c, d = parameters
            return b, (b - a, c - b, d - c)
        case "gaussian":
            mean, sigma = parameters
            return mean, (sigma, 0.0, 0.0)
        case "sigmoid":
            center, slope = parameters
            return center, (slope, 0.0, 0.0)
        case _:
            width, slope, center = parameters
            return center, (width, slope, 0.0)


def _trapezoidal(distance: Any, sizes: Any) -> Any:
    left, top, right = sizes.unbind(-1)
    one = torch.ones((), dtype=distance.dtype, device=distance.device)
    # Without a ramp the divisor is 1: the branch is not used, but its gradient must not be NaN.
    rising = torch.where(left > 0, 1 + distance / torch.where(left > 0, left, one), one)
    falling = torch.where(right > 0, 1 - (distance - top) / torch.where(right > 0, right, one), one)
    degrees = torch.minimum(rising, falling).clamp(max=1.0)
    # Likewise for the logarithm outside the support.
    inside = degrees > 0
    return torch.where(inside, torch.where(inside, degrees, one).log(), -math.inf)


def _gaussian(distance: Any, sizes: Any) -> Any:
    return -0.5 * (distance / sizes[..., 0]).square()


def _sigmoid(distance: Any, sizes: Any) -> Any:
    return functional.logsigmoid(distance * sizes[..., 0])


def _bell(distance: Any, sizes: Any) -> Any:
    # 1 / (1 + |z|^(2 slope)), without a logarithm of 0.
    return functional.logsigmoid(-2 * sizes[..., 1] * (distance / sizes[..., 0]).abs().clamp(min=1e-12).log())


_LOG_DEGREES = {"trapezoidal": _trapezoidal, "gaussian": _gaussian, "sigmoid": _sigmoid, "bell": _bell}

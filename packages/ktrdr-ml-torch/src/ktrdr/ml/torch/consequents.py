"""Least-squares solution of the consequents of an ANFIS.

With its memberships fixed, an :class:`~ktrdr.ml.torch.anfis.Anfis` is linear in its consequents: scores are ``A B``,
where a row of ``A`` is the outer product of the firing strengths and the standardized inputs with a 1. Jang (1993)
solves for ``B`` by least squares. Here a step goes to the minimum of a quadratic upper bound of the loss:

    ``B <- B - (c A'WA / n + r I)^-1 (A'W g / n + r (B - B0))``

``g`` is the gradient of the samples' losses with respect to their scores, ``W`` the weights of the samples, and ``c`` a
bound of the curvature of the losses. For the squared error this is the least-squares solution, in one step. For the
cross entropy it is the step of D. Boehning, *Multinomial logistic regression algorithm*, Ann. Inst. Statist. Math. 44
(1992) 197-200: no step increases the loss with its penalty ``r/2 |B - B0|^2``. ``B0`` is the prediction without inputs:
the logarithms of the classes' frequencies, or the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ktrdr.core.plugins.contract import OutputKind
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.layout import BLOCK_VALUES
from ktrdr.ml.torch.losses import Loss
from ktrdr.ml.torch.samples import Matrix, Samples

__all__ = ["RIDGES", "ConsequentSolver", "solver_bytes"]

RIDGES = tuple(10.0**power for power in range(2, -9, -1))
"""Values of ``r`` that are tried, relative to the mean of the diagonal of the matrix, the largest first."""

_LARGE_RIDGE = 1e-3
"""The relative value of ``r`` that is used without validation samples if the matrix is not factored."""

# Lower bound of the share of free samples, for as many coefficients as samples.
_LEAST_FREEDOM = 1e-6
# Up to this number of coefficients per output the matrix is built and factored: 32 MiB.
_MOST_FACTORED = 2_048
_CONJUGATE_STEPS = 32
# With more coefficients each solution takes many passes over the samples, so only every third ridge is tried.
_EVERY = 3
# The matrix, its copies with a ridge, and the factor.
_MATRICES = 5


def solver_bytes(network: Anfis) -> int:
    """Return the bytes that the least squares of a network take at most, beyond blocks of samples."""
    return 8 * _MATRICES * min(network.consequents.numel() // network.outputs, _MOST_FACTORED) ** 2


class ConsequentSolver:
    """Solves for the consequents of ``network`` in float64, by blocks of samples.

    Args:
        network: on its device; its memberships may change between steps.
        matrix: the features.
        samples: the training part.
        loss: of the training.
        settings: of the training; ``weight_decay`` is added to ``r``.
        output: classification or regression.
        ask: called before every block; it may raise.

    Attributes:
        ridge: ``r``, once chosen.
        exact: whether one step gives the solution while memberships stay fixed: the quadratic function is the loss.
    """

    def __init__(
        self,
        network: Anfis,
        matrix: Matrix,
        samples: Samples,
        *,
        loss: Loss,
        settings: Mapping[str, Any],
        output: OutputKind,
        ask: Callable[[], None],
    ) -> None:
        self._network, self._matrix, self._samples = network, matrix, samples
        self._loss, self._ask = loss, ask
        self._curvature = _curvature(settings)
        self._decay = settings["weight_decay"]
        device = network.consequents.device
        # Apple GPUs have no float64.
        self._device = torch.device("cpu") if device.type == "mps" else device
        rules, features = network.centers.shape
        self._coefficients = rules * (features + 1)
        self.exact = settings["loss"] == "mse" and self._coefficients <= _MOST_FACTORED
        self._base = torch.zeros(rules, features + 1, network.outputs, dtype=torch.float64, device=self._device)
        if output == "classification":
            self._base[:, -1] = _log_frequencies(samples, network.outputs).to(self._device)
        self._base = self._base.view(self._coefficients, network.outputs)
        self._gram: Any = None
        self._factor: Any = None
        self.ridge = math.nan

    @torch.no_grad()
    def start(self, judge: Callable[[], float], *, validates: bool) -> None:
        """Take the first step, with the best ridge.

        Args:
            judge: returns the loss of the validation samples, by which the ridge is chosen; without validation samples
                that of the training samples, which generalized cross-validation corrects: G. H. Golub, M. Heath, G.
                Wahba, Technometrics 21 (1979) 215-223.
            validates: whether there are validation samples.
        """
        self._set(self._base)
        gram, gradient = self._equations(self._base)
        unit = max(float(gram.diagonal().mean() if gram.ndim == 2 else gram.mean()), 1e-30)
        best, chosen, found = math.inf, RIDGES[0] * unit + self._decay, self._base
        for relative in self._ridges(validates):
            self._factor, self.ridge = None, relative * unit + self._decay
            candidate = self._base - self._solve(gram, gradient)
            self._set(candidate)
            loss = judge() if validates or gram.ndim == 1 else judge() / self._freedom() ** 2
            if loss < best:
                best, chosen, found = loss, self.ridge, candidate
        self._factor, self.ridge = None, chosen
        self._set(found)

    def _ridges(self, validates: bool) -> tuple[float, ...]:
        if self._coefficients <= _MOST_FACTORED:
            return RIDGES
        return RIDGES[::_EVERY] if validates else (_LARGE_RIDGE,)

    def _freedom(self) -> float:
        """Return the share of degrees of freedom that remain: 1 minus the trace of the hat matrix per sample."""
        weights = self._samples.weights
        samples = len(self._samples) if weights is None else int((weights > 0).sum())
        spent = self._coefficients - self.ridge * float(torch.cholesky_inverse(self._factor).diagonal().sum())
        return max(1 - spent / samples, _LEAST_FREEDOM)

    @torch.no_grad()
    def step(self, *, moved: bool) -> bool:
        """Take a step from the present consequents; ``moved``: memberships have changed since the last step.

        Returns False if the equations cannot be solved, because memberships are no longer finite.
        """
        if moved:
            self._gram = self._factor = None
        now = self._network.consequents.to(self._device, torch.float64).view_as(self._base)
        gram, gradient = self._equations(now)
        change = self._solve(gram, gradient + self.ridge * (now - self._base))
        self._set(now - change)
        return bool(torch.isfinite(change).all())

    def _set(self, consequents: Any) -> None:
        self._network.consequents.copy_(consequents.view_as(self._network.consequents))

    def _equations(self, consequents: Any) -> tuple[Any, Any]:
        """Return the matrix without ridge, or only its diagonal if it is large, and the gradient."""
        total = len(self._samples)
        known, factored = self._gram is not None, self._coefficients <= _MOST_FACTORED
        shape = (self._coefficients,) * (2 if factored else 1)
        gram = self._gram if known else torch.zeros(shape, dtype=torch.float64, device=self._device)
        gradient = torch.zeros_like(consequents)
        for at, firing, inputs in self._blocks():
            weights = None if self._samples.weights is None else self._samples.weights[at].to(self._device).double()
            labels = self._samples.labels[at].to(self._device)
            scores = _scores(firing, inputs, consequents)
            gradient += _transposed(firing, inputs, _gradient(self._loss, scores, labels, weights))
            if known:
                continue
            weighted = firing if weights is None else firing * weights.unsqueeze(1)
            if factored:
                gram += _design(weighted, inputs).T @ _design(firing, inputs)
            else:
                gram += ((weighted * firing).T @ inputs.square()).flatten()
        if not known:
            gram *= self._curvature / total
            self._gram = gram
        return gram, gradient / total

    def _solve(self, gram: Any, right: Any) -> Any:
        if gram.ndim == 2:
            if self._factor is None:
                ridge = self.ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
                self._factor, failed = torch.linalg.cholesky_ex(gram + ridge)
                if bool(failed):
                    return torch.full_like(right, math.nan)
            return torch.cholesky_solve(right, self._factor)
        return self._conjugate_gradients(gram + self.ridge, right)

    def _conjugate_gradients(self, diagonal: Any, right: Any) -> Any:
        """Return the approximate solution by conjugate gradients, preconditioned by the diagonal, column by column."""
        scale = diagonal.unsqueeze(1)
        answer, residual = torch.zeros_like(right), right.clone()
        direction = residual / scale
        product = (residual * direction).sum(0)
        for _ in range(_CONJUGATE_STEPS):
            image = self._times(direction)
            length = product / (direction * image).sum(0).clamp(min=1e-300)
            answer += length * direction
            residual -= length * image
            scaled = residual / scale
            before, product = product, (residual * scaled).sum(0)
            direction = scaled + product / before.clamp(min=1e-300) * direction
        return answer

    def _times(self, vectors: Any) -> Any:
        """Return the product of the matrix, including the ridge, with ``(coefficients, outputs)``."""
        image = torch.zeros_like(vectors)
        for at, firing, inputs in self._blocks():
            scores = _scores(firing, inputs, vectors)
            if self._samples.weights is not None:
                scores *= self._samples.weights[at].to(self._device).double().unsqueeze(1)
            image += _transposed(firing, inputs, scores)
        return image * (self._curvature / len(self._samples)) + self.ridge * vectors

    def _blocks(self) -> Iterator[tuple[slice, Any, Any]]:
        """Yield, for blocks of samples, their slice, their firing strengths and their standardized inputs with a 1."""
        rows = max(BLOCK_VALUES // self._coefficients, 16)
        for start in range(0, len(self._samples), rows):
            self._ask()
            at = slice(start, start + rows)
            x = self._matrix.gather(self._samples.starts[at])
            firing = self._network.firing(x).to(self._device).double()
            z = self._network.standardized(x).to(self._device).double()
            yield at, firing, torch.cat([z, torch.ones_like(z[:, :1])], 1)


def _design(firing: Any, inputs: Any) -> Any:
    """Return ``A``, ``(n, rules * (features + 1))``."""
    return (firing.unsqueeze(2) * inputs.unsqueeze(1)).flatten(1)


def _scores(firing: Any, inputs: Any, consequents: Any) -> Any:
    """Return ``A`` times ``consequents``, ``(n, outputs)``, without computing ``A``."""
    rules, width = firing.shape[1], inputs.shape[1]
    linear = (firing @ consequents.view(rules, -1)).view(len(firing), width, -1)
    return (linear * inputs.unsqueeze(2)).sum(1)


def _transposed(firing: Any, inputs: Any, values: Any) -> Any:
    """Return ``A`` transposed times ``values`` ``(n, outputs)``, without computing ``A``."""
    outer = (inputs.unsqueeze(2) * values.unsqueeze(1)).flatten(1)
    return (firing.T @ outer).view(-1, values.shape[1])


def _gradient(loss: Loss, scores: Any, labels: Any, weights: Any) -> Any:
    """Return the gradient of the samples' weighted losses with respect to their scores, ``(n, outputs)``."""
    with torch.enable_grad():
        scores = scores.requires_grad_(True)
        targets = labels.double() if labels.is_floating_point() else labels
        losses = loss(scores, targets)
        (gradient,) = torch.autograd.grad((losses if weights is None else losses * weights).sum(), scores)
    return gradient


def _curvature(settings: Mapping[str, Any]) -> float:
    """Return a bound of the second derivatives of the loss with respect to the scores of one sample."""
    match settings["loss"]:
        case "mse":
            return 2.0
        case "huber":
            return 1.0
        case "cross_entropy":
            return 0.5
        case _:
            # The bound is not tight for a large gamma.
            return 0.5 * (1 + settings["focal_gamma"])


def _log_frequencies(samples: Samples, classes: int) -> Any:
    """Return float64 ``(classes,)``; a class without samples counts as half a sample."""
    labels = samples.labels.cpu()
    weights = torch.ones(len(labels)) if samples.weights is None else samples.weights.cpu()
    counts = torch.bincount(labels, weights.double(), minlength=classes).clamp(min=0.5)
    return (counts / counts.sum()).log()

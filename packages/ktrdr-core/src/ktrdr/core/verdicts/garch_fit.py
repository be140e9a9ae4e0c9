"""The fit of GARCH(1, 1): how the variance of returns follows from the returns before.

``h[t] = v (1 - alpha - beta) + alpha e[t-1]^2 + beta h[t-1]`` with ``h[0] = v``, where ``e`` are the returns less their
mean and ``v`` is their variance: T. Bollerslev, "Generalized Autoregressive Conditional Heteroskedasticity" (Journal
of Econometrics, 1986), with the variance targeting of R. F. Engle and J. Mezrich, "GARCH for Groups" (Risk, 1996).
``alpha`` and ``beta`` minimize the mean of ``ln h + e^2 / h``, the Gaussian quasi-likelihood, by the method of scoring
with the damping of D. W. Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters" (1963).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["GarchFit", "fit_garch"]

# With fewer returns the estimates would be noise, and the variance is taken to be constant.
_FEWEST_RETURNS = 100
# Returns that differ by less than this are equal but for the rounding of logarithms.
_SMALLEST_DEVIATION = 1e-12
_LARGEST_PERSISTENCE = 0.9999
# Logits beyond this change the parameters by less than 1e-5.
_LARGEST_LOGIT = 12.0
_STARTS = [(persistence, alpha) for persistence in (0.5, 0.8, 0.9, 0.96, 0.985, 0.996) for alpha in (0.02, 0.06, 0.16)]
_MOST_STEPS = 100
_SMALLEST_GAIN = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class GarchFit:
    """A fitted GARCH(1, 1).

    Attributes:
        alpha: weight of the last squared deviation.
        beta: weight of the last variance. ``alpha + beta`` is below 1; both are 0 if the variance is constant.
        variance: the variance of the returns, to which that of each bar returns.
        variances: float64 ``(n,)``: variance of each return, given those before it.
    """

    alpha: float
    beta: float
    variance: float
    variances: np.ndarray


def fit_garch(returns: np.ndarray) -> GarchFit:
    """Return the GARCH(1, 1) of a series; 17,520 returns take a few hundredths of a second.

    Args:
        returns: float64 ``(n,)`` log returns. Fewer than 100 have a constant variance.

    Returns:
        The fit.
    """
    deviations = returns - returns.mean() if len(returns) else returns
    squares = np.square(deviations)
    variance = float(squares.mean()) if len(returns) else 0.0
    if len(returns) < _FEWEST_RETURNS or variance <= _SMALLEST_DEVIATION**2:
        return GarchFit(0.0, 0.0, variance, np.full(len(returns), variance))
    alpha, beta = _estimate(squares / variance)
    return GarchFit(alpha, beta, variance, variance * _relative_variances(squares / variance, alpha, beta))


def _estimate(squares: np.ndarray) -> tuple[float, float]:
    """Return ``alpha`` and ``beta`` of squared deviations, float64 ``(n,)`` with mean 1."""

    def at(logits: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        return _loss(squares, logits)

    starts = [_logits_of(persistence, alpha / persistence) for persistence, alpha in _STARTS]
    alpha, beta, _ = _weights(_descend(at, min(starts, key=lambda logits: at(logits)[0])))
    return alpha, beta


def _descend(at: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]], logits: np.ndarray) -> np.ndarray:
    """Return where the loss is smallest near ``logits``; ``at`` returns loss, gradient and information."""
    loss, gradient, information = at(logits)
    damping = 1e-3
    for _ in range(_MOST_STEPS):
        # The small constant keeps a parameter in place on which the loss does not depend.
        damped = information + damping * np.diag(np.diag(information)) + 1e-12 * np.eye(len(logits))
        there = np.clip(logits - np.linalg.solve(damped, gradient), -_LARGEST_LOGIT, _LARGEST_LOGIT)
        found = at(there)
        if found[0] < loss:
            gained = loss - found[0]
            logits, (loss, gradient, information) = there, found
            damping = max(damping / 10, 1e-9)
            if gained < _SMALLEST_GAIN:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 10
    return logits


def _loss(squares: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean of ``ln h + e^2 / h``, its gradient and its information in the logits."""
    alpha, beta, slopes = _weights(logits)
    after = _decaying_sums(squares - 1.0, beta)
    variances = np.maximum(1.0 + alpha * after, 1.0 - alpha - beta)
    # Derivatives of the logarithm of each variance by alpha and by beta, then by the logits.
    by_weight = np.stack((after, alpha * _decaying_sums(after, beta))) / variances
    # Not by `@`: its last bits depend on the processor and its threads, and the worlds of a verdict on these.
    by_logit = np.einsum("ij,jk->ik", slopes, by_weight)
    ratio = squares / variances
    loss = float((np.log(variances) + ratio).mean())
    gradient = np.einsum("ij,j->i", by_logit, 1.0 - ratio) / len(squares)
    return loss, gradient, np.einsum("ij,kj->ik", by_logit, by_logit) / len(squares)


def _logits_of(persistence: float, share: float) -> np.ndarray:
    values = np.array([persistence / _LARGEST_PERSISTENCE, share])
    return np.log(values / (1.0 - values))


def _weights(logits: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Return ``alpha``, ``beta`` and their derivatives by the logits of ``alpha + beta`` and of alpha's share of it."""
    whole, share = (float(value) for value in 1.0 / (1.0 + np.exp(-logits)))
    persistence = _LARGEST_PERSISTENCE * whole
    by_whole, by_share = persistence * (1.0 - whole), persistence * share * (1.0 - share)
    slopes = np.array([[by_whole * share, by_whole * (1.0 - share)], [by_share, -by_share]])
    return persistence * share, persistence * (1.0 - share), slopes


def _relative_variances(squares: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.maximum(1.0 + alpha * _decaying_sums(squares - 1.0, beta), 1.0 - alpha - beta)


def _decaying_sums(values: np.ndarray, kept: float) -> np.ndarray:
    """Return ``s[t] = values[t-1] + kept s[t-1]`` with ``s[0] = 0``, float64 ``(n,)``.

    Each step doubles how far back the sums reach, until what lies further back counts no more.
    """
    sums = np.concatenate(([0.0], values[:-1]))
    reach, weight = 1, kept
    while reach < len(sums) and weight > 1e-18:
        sums[reach:] += weight * sums[:-reach]
        reach, weight = 2 * reach, weight * weight
    return sums

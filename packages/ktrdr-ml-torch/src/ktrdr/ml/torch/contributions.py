"""Explanations of predictions: contributions of features, and rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ktrdr.core.plugins import Rule
from ktrdr.ml.torch.model_description import Description

__all__ = ["STEPS", "contributions", "rules"]

STEPS = 32
"""Number of points between the average sample and a sample at which gradients are computed."""

_NODES, _SHARES = np.polynomial.legendre.leggauss(STEPS)


def contributions(network: Any, samples: Any, average: Any, answer: Callable[[Any], Any]) -> Any:
    """Return the contributions of the features to the predictions, ``(m, features, outputs)``.

    Integrated gradients (M. Sundararajan, A. Taly, Q. Yan, *Axiomatic attribution for deep networks*, 2017) along the
    straight line from the average training sample, by Gauss-Legendre quadrature.

    Args:
        network: in evaluation mode.
        samples: ``(m, features)`` or ``(m, window, features)``.
        average: ``(features,)``.
        answer: function from scores to predictions.
    """
    way = samples - average
    shape = (-1, *[1] * (samples.ndim - 1))
    nodes = torch.tensor((_NODES + 1) / 2, dtype=samples.dtype, device=samples.device).view(shape)
    shares = torch.tensor(_SHARES / 2, dtype=samples.dtype, device=samples.device).view(shape)
    points = (average + nodes * way.unsqueeze(1)).flatten(0, 1).requires_grad_(True)
    # Recurrent layers of cuDNN have no gradient in evaluation mode; those of torch have.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        answers = answer(network(points)).view(len(points), -1)
        found = []
        for number in range(answers.shape[1]):
            (gradient,) = torch.autograd.grad(answers[:, number].sum(), points, retain_graph=True)
            found.append((gradient.view(len(samples), STEPS, *samples.shape[1:]) * shares).sum(1) * way)
    stacked = torch.stack(found, -1)
    return stacked.sum(1) if stacked.ndim == 4 else stacked


@torch.no_grad()
def rules(description: Description, network: Any, answer: Callable[[Any], Any]) -> list[Rule]:
    """Return the rules of an :class:`~ktrdr.ml.torch.anfis.Anfis`, the largest weight first.

    The output of a rule is linear in the inputs: it is given at the center of the rule.
    """
    scores = network.rule_scores()
    answers = answer(scores.cpu().double()).view(len(scores), -1).tolist()
    names = description.classes or ("value",)
    # The text of a rule contains the functions of memberships that training has changed.
    meanings = _meanings(description, network.learned_functions())
    found = []
    place = " (where every input is average)" if network.centers is None else ""
    for combination, weight, values in zip(network.combinations(), network.shares.tolist(), answers, strict=True):
        conditions = tuple(
            (variable.name, variable.functions[number][0])
            for variable, number in zip(description.fuzzy_variables, combination, strict=True)
        )
        outputs = dict(zip(names, values, strict=True))
        found.append(Rule(conditions, weight, outputs, _text(conditions, outputs, meanings) + place))
    return sorted(found, key=lambda rule: -rule.weight)


def _meanings(description: Description, learned: Sequence[tuple[str, Sequence[float]]]) -> dict[tuple[str, str], str]:
    names = [(variable.name, name) for variable in description.fuzzy_variables for name, _, _ in variable.functions]
    texts = (f" ({kind} {', '.join(f'{number:.4g}' for number in parameters)})" for kind, parameters in learned)
    return dict(zip(names, texts, strict=bool(learned)))


def _text(
    conditions: tuple[tuple[str, str], ...], outputs: dict[str, float], meanings: dict[tuple[str, str], str]
) -> str:
    when = " and ".join(f"{name} is {term}{meanings.get((name, term), '')}" for name, term in conditions)
    if "value" in outputs and len(outputs) == 1:
        return f"if {when} then {outputs['value']:+.6g}"
    then = ", ".join(f"{name} {value:.0%}" for name, value in sorted(outputs.items(), key=lambda item: -item[1]))
    return f"if {when} then {then}"
